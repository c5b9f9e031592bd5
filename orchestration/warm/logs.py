"""Captured stdout and stderr of runs: per thread, streamed into `runbell.op_logs` while the run executes.

No file descriptors are redirected and nothing is forked, so runs in threads don't mix. What a thread that an op
started prints goes to the worker's own log.
"""

import io
import sys
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import IO, Any, TextIO

import sqlalchemy as sa

from integrations.database.run_tables import op_logs
from integrations.errors import Misconfigured, RunbellError
from orchestration.warm.commits import Row
from orchestration.warm.internals import (
    CapturedLogContext,
    CapturedLogMetadata,
    CapturedLogSubscription,
    ComputeIOType,
    ComputeLogManager,
    ConfigurableClassData,
)
from orchestration.warm.interrupt import shielded
from orchestration.warm.storage import WarmEventLogStorage
from orchestration.warm.unconfigured import Unconfigured

STREAM_BYTES = 10_000_000
"""Bytes that one stream of one run may hold; the rest is cut, with a note."""
CHUNK_BYTES = 32_768
PACE_S = 0.25
"""How long printed text may wait before it is on its way to the UI."""
END = "end"
_PACER = "op-logs"


class Capture:
    """What one run prints, on its way to the database."""

    def __init__(self, log_key: Sequence[str], append: Callable[[Row], None]) -> None:
        self._run_id, self._key = log_key[0], log_key[-1]
        self._append = append
        self._lock = threading.Lock()
        self._buffers: dict[str, bytearray] = {"stdout": bytearray(), "stderr": bytearray()}
        self._seqs: dict[str, int] = {}
        self._sizes: dict[str, int] = {"stdout": 0, "stderr": 0}
        self._sent_at = time.monotonic()

    def write(self, stream: str, data: bytes) -> None:
        """Take bytes; they reach the database soon."""
        with self._lock:
            room = STREAM_BYTES - self._sizes[stream]
            if room < 0:
                return
            self._sizes[stream] += len(data)
            if len(data) > room:
                data = data[:room] + b"\n[the rest was cut]\n"
            self._buffers[stream] += data
            due = len(self._buffers[stream]) >= CHUNK_BYTES or time.monotonic() - self._sent_at > PACE_S
        if due:
            self.send()

    def send(self) -> None:
        """Hand on what was gathered."""
        with shielded(), self._lock:
            self._sent_at = time.monotonic()
            for stream, buffer in self._buffers.items():
                if buffer:
                    self._put(stream, bytes(buffer))
                    buffer.clear()

    def end(self) -> None:
        """Hand on the rest, and that this is all."""
        self.send()
        self._put(END, b"")

    def _put(self, stream: str, data: bytes) -> None:
        seq = self._seqs[stream] = self._seqs.get(stream, -1) + 1
        values = {"run_id": self._run_id, "key": self._key, "stream": stream, "seq": seq, "data": data}
        self._append(Row("log", self._run_id, values))


class _PerThread(threading.local):
    capture: Capture | None = None


_here = _PerThread()
_live: set[Capture] = set()


class _Stream(io.TextIOBase):
    """Stands in for sys.stdout or sys.stderr: a captured thread's text goes to its run, other text on."""

    def __init__(self, name: str, beneath: TextIO) -> None:
        self._name = name
        self._beneath = beneath

    def write(self, text: str, /) -> int:
        if (capture := _here.capture) is None:
            return self._beneath.write(text)
        capture.write(self._name, text.encode("utf-8", "backslashreplace"))
        return len(text)

    def flush(self) -> None:
        if _here.capture is None:
            self._beneath.flush()

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return False

    def fileno(self) -> int:
        return self._beneath.fileno()

    @property
    def encoding(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride] - a property serves readers
        return "utf-8"


def install() -> None:
    """Put the streams in place, and send what was printed every quarter of a second. Idempotent."""
    if not isinstance(sys.stdout, _Stream):
        sys.stdout = _Stream("stdout", sys.stdout)
    if not isinstance(sys.stderr, _Stream):
        sys.stderr = _Stream("stderr", sys.stderr)
    if not any(thread.name == _PACER for thread in threading.enumerate()):
        threading.Thread(target=_pace, name=_PACER, daemon=True).start()


def _pace() -> None:
    while True:
        time.sleep(PACE_S)
        for capture in list(_live):
            try:
                capture.send()
            except RunbellError:  # the run itself will meet the same fault
                _live.discard(capture)


class OpLogs(Unconfigured, ComputeLogManager[Any]):
    """Keeps and serves what runs print."""

    def __init__(self, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(inst_data)
        self._subscriptions: list[CapturedLogSubscription] = []
        self._poller: threading.Thread | None = None
        self._lock = threading.Lock()

    @property
    def _storage(self) -> WarmEventLogStorage:
        storage = self._instance.event_log_storage
        if not isinstance(storage, WarmEventLogStorage):
            raise Misconfigured("dagster.yaml must name WarmEventLogStorage: captured logs lie in the same database")
        return storage

    @contextmanager
    def capture_logs(self, log_key: Sequence[str]) -> Generator[CapturedLogContext]:
        """Capture what the calling thread prints in this block."""
        before, capture = _here.capture, Capture(log_key, self._storage.append)
        _here.capture = capture
        _live.add(capture)
        try:
            yield CapturedLogContext(log_key=log_key)
        finally:
            _here.capture = before
            _live.discard(capture)
            with shielded():
                capture.end()

    @contextmanager
    def open_log_stream(self, log_key: Sequence[str], io_type: ComputeIOType) -> Generator[IO[bytes] | None]:
        """Offer no stream: pipes and other writers print through the op's own streams."""
        del log_key, io_type
        yield None

    def is_capture_complete(self, log_key: Sequence[str]) -> bool:
        """Tell whether nothing more will come."""
        query = sa.select(op_logs.c.seq).where(_of(log_key), op_logs.c.stream == END)
        with self._storage.engine.connect() as connection:
            return connection.execute(query).first() is not None

    def get_log_data_for_type(
        self, log_key: Sequence[str], io_type: ComputeIOType, offset: int, max_bytes: int | None
    ) -> tuple[bytes | None, int]:
        """Return what was printed from the offset on, and the offset after it."""
        whole = sa.func.string_agg(op_logs.c.data, sa.text("''::bytea order by seq"))
        part = sa.func.substring(whole, offset + 1, STREAM_BYTES * 2 if max_bytes is None else max_bytes)
        query = sa.select(part).where(_of(log_key), op_logs.c.stream == io_type.value)
        with self._storage.engine.connect() as connection:
            data = bytes(connection.scalar(query) or b"")
        return (data or None), offset + len(data)

    def get_log_metadata(self, log_key: Sequence[str]) -> CapturedLogMetadata:
        """Tell where the logs are."""
        place = f"PostgreSQL runbell.op_logs, run {log_key[0]}"
        return CapturedLogMetadata(stdout_location=place, stderr_location=place)

    def get_log_keys_for_log_key_prefix(
        self, log_key_prefix: Sequence[str], io_type: ComputeIOType
    ) -> Sequence[list[str]]:
        """Return the keys of a run that have something of this kind."""
        query = sa.select(op_logs.c.key).distinct()
        query = query.where(op_logs.c.run_id == log_key_prefix[0], op_logs.c.stream == io_type.value)
        with self._storage.engine.connect() as connection:
            keys = connection.scalars(query.order_by(op_logs.c.key)).all()
        return [[*log_key_prefix, key] for key in keys]

    def delete_logs(self, log_key: Sequence[str] | None = None, prefix: Sequence[str] | None = None) -> None:
        """Remove the logs of a key, or of all keys of a run."""
        where = _of(log_key) if log_key else op_logs.c.run_id == (prefix or [""])[0]
        with self._storage.engine.connect() as connection:
            connection.execute(sa.delete(op_logs).where(where))

    def subscribe(self, log_key: Sequence[str], cursor: str | None = None) -> CapturedLogSubscription:
        """Follow logs; they are looked for twice a second until they are complete."""
        subscription = CapturedLogSubscription(self, log_key, cursor)
        with self._lock:
            self._subscriptions.append(subscription)
            if self._poller is None:
                self._poller = threading.Thread(target=self._poll, name="op-log-followers", daemon=True)
                self._poller.start()
        return subscription

    def unsubscribe(self, subscription: CapturedLogSubscription) -> None:
        """Stop following."""
        with self._lock:
            if subscription in self._subscriptions:
                self._subscriptions.remove(subscription)

    def _poll(self) -> None:
        while True:
            time.sleep(0.5)
            with self._lock:
                followed = list(self._subscriptions)
                if not followed:
                    self._poller = None
                    return
            for subscription in followed:
                # Ask first: what comes between the answer and the fetch is fetched.
                complete = self.is_capture_complete(subscription.log_key)
                subscription.fetch()
                if complete:
                    subscription.complete()
                    self.unsubscribe(subscription)


def _of(log_key: Sequence[str]) -> sa.ColumnElement[bool]:
    return sa.and_(op_logs.c.run_id == log_key[0], op_logs.c.key == log_key[-1])
