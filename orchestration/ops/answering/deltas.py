"""The text of answers on its way to live views: what all answers of a process say meanwhile goes out together.

One thread publishes for all of them, at most every 50 ms: a transaction and a NOTIFY per answer and piece would keep
PostgreSQL, gateways and this process busy. The pieces that may leave are divided among the answers under way. An
answer's first words and its end wait for nobody.
"""

import logging
import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self
from weakref import WeakKeyDictionary

from integrations.database import Database
from integrations.database.progress import Said
from integrations.errors import RunbellError
from orchestration.ops.answering.values import Heard

GAP_S = 0.05
PIECES_PER_S = 200
PATIENCE_S = 5.0
_log = logging.getLogger("runbell.assistant")
_lock = threading.Lock()
_broadcasts: "WeakKeyDictionary[Database, Broadcast]" = WeakKeyDictionary()


class Deltas:
    """Publishes one answer's text as deltas: the first at once, then every 50 ms at most, more seldom beside many.

    A live view is never worth a failed answer: when the database refuses a delta it is logged and dropped.
    With `again`, an earlier attempt has said something, which is taken back.
    """

    def __init__(self, database: Database, heard: Heard, *, again: bool = False) -> None:
        with _lock:
            self._broadcast = _broadcasts.setdefault(database, Broadcast(database))
        self.message_id = heard.message_id
        self.taken_back = again
        self.pending = ""
        self.closed = False
        self.due_at = 0.0
        self.first = True
        self._address = heard.address
        self._said = ""

    def __enter__(self) -> Self:
        self._broadcast.begin(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._broadcast.end(self)

    def say(self, text: str) -> None:
        """Show this text soon; never blocks on the database."""
        with self._broadcast.changed:
            if not self.pending and (self.urgent or self._broadcast.idle):
                self._broadcast.changed.notify_all()
            self._said += text
            self.pending += text

    def finish(self, text: str) -> None:
        """Show the whole text: what is missing is added, and what differs in more than its margins taken back first."""
        with self._broadcast.changed:
            if text.startswith(said := self._said.strip()):
                self.pending += text[len(said) :]
            else:
                self.taken_back, self.pending = True, text
            self._said = text
            self._broadcast.changed.notify_all()

    @property
    def urgent(self) -> bool:
        """Whether it waits for no round."""
        return self.first or self.closed or self.taken_back

    def take(self) -> list[Said]:
        """Return what is to be published, and forget it."""
        said: list[Said] = [(self.message_id, self._address, {"type": "reset"})] if self.taken_back else []
        if self.pending:
            self.first = False
            said.append((self.message_id, self._address, {"type": "delta", "text": self.pending}))
        self.taken_back, self.pending = False, ""
        return said


class Broadcast:
    """Publishes the deltas of all answers under way, from a thread that lives as long as there are any."""

    def __init__(self, database: Database) -> None:
        self._progress = database.progress
        self._open: dict[Deltas, None] = {}
        self._thread: threading.Thread | None = None
        self._round_at = 0.0
        self.changed = threading.Condition()
        self.idle = False
        """Whether its thread waits until somebody says something."""

    def begin(self, deltas: Deltas) -> None:
        """Publish for this answer, too."""
        with self.changed:
            self._open[deltas] = None
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="deltas", daemon=True)
                self._thread.start()

    def end(self, deltas: Deltas) -> None:
        """Return when all of it is published; a database that hangs holds nobody up for long."""
        with self.changed:
            deltas.closed = True
            self.changed.notify_all()
            self.changed.wait_for(lambda: deltas not in self._open, timeout=PATIENCE_S)

    def _run(self) -> None:
        while True:
            with self.changed:
                due = self._due()
                if not due and not self._open:
                    self._thread = None
                    return
                begun = [deltas.message_id for deltas in due if deltas.first and deltas.pending]
                said = [one for deltas in due for one in deltas.take()]
            self._publish(said, begun)
            with self.changed:
                self._left(due)

    def _due(self) -> list[Deltas]:
        """Wait until an answer has something to say and its turn has come."""
        while self._open:
            now = time.monotonic()
            waiting = [one for one in self._open if one.pending or one.taken_back or one.closed]
            due = [one for one in waiting if one.closed or one.due_at <= now]
            if due and (self._round_at <= now or any(one.urgent for one in due)):
                return due
            self.idle = not waiting
            turn_at = max(self._round_at, min((one.due_at for one in waiting), default=0.0))
            self.changed.wait(PATIENCE_S if self.idle else min(turn_at - now, GAP_S))
            self.idle = False
        return []

    def _left(self, due: Sequence[Deltas]) -> None:
        """Let go of those that have ended, and say when it is the others' turn again."""
        now, gap_s = time.monotonic(), max(GAP_S, len(self._open) / PIECES_PER_S)
        self._round_at = now + GAP_S
        for deltas in due:
            deltas.due_at = now + gap_s
            if deltas.closed and not deltas.pending and not deltas.taken_back:
                self._open.pop(deltas, None)
        self.changed.notify_all()

    def _publish(self, said: Sequence[Said], begun: Sequence[str]) -> None:
        try:
            if said:
                self._progress.publish_all(said, begun=begun)
        except RunbellError as error:
            _log.warning("deltas were dropped: %s", error, extra={"messages": len(said)})
        except Exception:  # noqa: BLE001 - the thread must outlive one bad text
            if len(said) == 1:
                _log.exception("a delta was dropped", extra={"message_id": said[0][0]})
            else:  # what can't be stored harms its own message only
                for one in said:
                    self._publish([one], [one[0]] if one[0] in begun else [])
