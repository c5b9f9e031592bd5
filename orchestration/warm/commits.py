"""Group commit: rows of all runs of a process, gathered for at most some milliseconds, stored in one transaction.

Order is kept. `flush` returns once everything that was added before is stored; whoever flushes first writes for all
who wait. A batch is one transaction: all of it is stored or nothing.
"""

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

from integrations.errors import LeaseLost, Unavailable

T = TypeVar("T")
log = logging.getLogger(__name__)

DELAY_S = 0.02
"""How long a row may wait for company."""
MAX_PENDING = 20_000
"""Rows that may wait; beyond, `add` blocks until they are stored."""

REMEMBERED = 10_000
"""Runs that are known to be refused or broken; the threads of older ones have long ended."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row for one of the tables that take part."""

    table: Literal["created", "event", "run", "output", "log", "message", "finished", "progress"]
    run_id: str
    values: Mapping[str, object]
    token: int | None = None
    """The lease under which it was written; None for a run that this process does not hold."""


class Write(Protocol):
    """Stores rows in one transaction and returns the runs whose rows it refused, their leases being lost.

    With `again`, an earlier attempt may have been stored without our hearing of it.
    """

    def __call__(self, batch: list[Row], *, again: bool = False) -> set[str]:
        """Raise `Unavailable` where the database is away."""
        ...


class _Lease(threading.local):
    run_id = ""
    token = 0


class GroupCommit:
    """Gathers rows and stores them with `write`, retrying while the database is away."""

    def __init__(self, write: Write, *, delay_s: float = DELAY_S, patience_s: float = 60.0) -> None:
        self._write = write
        self._delay_s = delay_s
        self._patience_s = patience_s
        self._state = threading.Lock()
        self._news = threading.Condition(self._state)
        self._done = threading.Condition(self._state)
        self._pending: list[Row] = []
        self._last: dict[str, int] = {}
        self._added = 0
        self._stored = 0
        self._writing = False
        self._refused: dict[str, None] = {}
        self._tokens: dict[str, int] = {}
        self._here = _Lease()
        self._broken: dict[str, Exception] = {}
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._pace, name="group-commit", daemon=True)
        self._thread.start()

    def add(self, row: Row) -> None:
        """Take a row that shall be stored within the delay. Raises `LeaseLost` where its run's lease is gone."""
        with self._state:
            self._check(row.run_id)
            full = len(self._pending) >= MAX_PENDING
            # Under the lease of now: it may be another's, or this process's next, when the row is written.
            token = self._tokens.get(row.run_id)
            self._pending.append(row if token is None else Row(row.table, row.run_id, row.values, token))
            self._added += 1
            self._last[row.run_id] = self._added
            if len(self._pending) == 1:
                self._news.notify()
        if full:
            self.flush()

    def flush(self, run_id: str | None = None) -> None:
        """Block until all that was added, by this run if one is given, is stored.

        Raises `Unavailable`, or `LeaseLost` for `run_id`.
        """
        with self._state:
            target = self._added if run_id is None else self._last.get(run_id, 0)
        while not self._reached(target):
            self._lead()
        if run_id is not None:
            with self._state:
                self._check(run_id)

    def refuse(self, run_id: str) -> None:
        """Store nothing more of this run; what is being stored in this moment may still be."""
        with self._state:
            if not self._outlived(run_id):
                self._refuse(run_id)
                self._tokens.pop(run_id, None)

    def admit(self, run_id: str, token: int) -> None:
        """Take rows of this run from the calling thread, under the token of its lease.

        What an earlier lease left, and what its thread still brings, is not stored any more.
        """
        with self._state:
            self._here.run_id, self._here.token = run_id, token
            self._tokens[run_id] = token
            self._refused.pop(run_id, None)
            self._broken.pop(run_id, None)

    def release(self, run_id: str) -> None:
        """Forget the lease of a run that has ended or parked."""
        with self._state:
            self._tokens.pop(run_id, None)

    def holds(self, run_id: str) -> bool:
        """Tell whether the run's rows are written under a lease."""
        return run_id in self._tokens

    def close(self) -> None:
        """Store what is left and stop."""
        self.flush()
        self.end()

    def end(self) -> None:
        """Stop."""
        self._closing.set()
        with self._state:
            self._news.notify()
        self._thread.join(timeout=10)

    def _refuse(self, run_id: str) -> None:
        _remember(self._refused, run_id, None)

    def _check(self, run_id: str) -> None:
        if run_id in self._refused or self._outlived(run_id):
            raise LeaseLost(f"run {run_id} is no longer this worker's")
        if error := self._broken.get(run_id):
            raise error

    def _reached(self, target: int) -> bool:
        with self._state:
            while self._writing and self._stored < target:
                self._done.wait()
            return self._stored >= target

    def _lead(self) -> None:
        """Store everything that is pending, unless somebody else is at it."""
        with self._state:
            if self._writing:
                return
            self._writing = True
            batch, self._pending = self._pending, []
            wanted = [row for row in batch if row.run_id not in self._refused and not self._left_over(row)]
        stored = False
        try:
            self._persist(wanted)
            stored = True
        finally:
            with self._state:
                self._writing = False
                if stored:
                    self._count(batch)
                else:
                    self._pending = batch + self._pending
                self._done.notify_all()

    def _left_over(self, row: Row) -> bool:
        """Tell whether this process has claimed the row's run anew since."""
        return row.token is not None and self._tokens.get(row.run_id, row.token) != row.token

    def _outlived(self, run_id: str) -> bool:
        """Tell whether this process has claimed the run anew since the calling thread did."""
        here = self._here
        return here.run_id == run_id and self._tokens.get(run_id, here.token) != here.token

    def _count(self, batch: list[Row]) -> None:
        self._stored += len(batch)
        for row in batch:
            if self._last.get(row.run_id, self._added) <= self._stored:
                self._last.pop(row.run_id, None)

    def _persist(self, batch: list[Row]) -> None:
        try:
            refused = self._patiently(batch) if batch else set()
        except Unavailable:
            raise
        except Exception as error:  # a row that the database can't hold must not keep the others away
            if len(batch) > 1:
                middle = len(batch) // 2
                self._persist(batch[:middle])
                self._persist(batch[middle:])
                return
            log.exception("a row can't be stored", extra={"run_id": batch[0].run_id, "table": batch[0].table})
            with self._state:
                _remember(self._broken, batch[0].run_id, error)
            return
        with self._state:
            for row in batch:
                if row.run_id in refused and not self._left_over(row):
                    self._refuse(row.run_id)

    def _patiently(self, batch: list[Row]) -> set[str]:
        waited = 0.0
        while True:
            try:
                return self._write(batch, again=waited > 0)
            except Unavailable as error:
                if waited >= self._patience_s or self._closing.is_set():
                    raise
                pause = max(min(waited, 2.0), 0.1)
                log.warning("events wait for the database", extra={"rows": len(batch), "error": str(error)})
                self._closing.wait(pause)
                waited += pause

    def _pace(self) -> None:
        while not self._closing.is_set():
            with self._state:
                while not self._pending and not self._closing.is_set():
                    self._news.wait()
            self._closing.wait(self._delay_s)
            try:
                self.flush()
            except Exception:  # outermost loop of this thread; a run that flushes sees the error itself
                log.exception("events could not be stored yet")
                self._closing.wait(1.0)


def _remember(known: dict[str, T], run_id: str, what: T) -> None:
    known[run_id] = what
    while len(known) > REMEMBERED:
        del known[next(iter(known))]
