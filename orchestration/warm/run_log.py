"""Python logging of ops, kept apart per thread: Dagster hangs each run's handler on shared loggers, where runs mix."""

import logging
import threading
from collections.abc import Sequence

from orchestration.warm import parking
from orchestration.warm.internals import DagsterEvent, DagsterLogHandler, DagsterLogManager


class _PerThread(threading.local):
    def __init__(self) -> None:
        self.handlers: list[DagsterLogHandler] = []


_here = _PerThread()


class _Router(logging.Handler):
    """Hangs on a shared logger once and for all; hands a record to the run of the thread that logs it."""

    def handle(self, record: logging.LogRecord) -> bool:
        if not _here.handlers:
            return False
        return bool(_here.handlers[-1].handle(record))


_router = _Router()
_lock = threading.Lock()


class RunLogManager(DagsterLogManager):
    """A run's `context.log`; captures the managed loggers from its own thread only."""

    def __init__(
        self,
        dagster_handler: DagsterLogHandler,
        level: int = logging.NOTSET,
        managed_loggers: Sequence[logging.Logger] | None = None,
    ) -> None:
        super().__init__(dagster_handler, level=level, managed_loggers=managed_loggers)
        self._mine = dagster_handler
        self._watched = list(managed_loggers or [])

    def begin_python_log_capture(self) -> None:
        """Take what this thread logs through the managed loggers."""
        with _lock:
            for logger in self._watched:
                if _router not in logger.handlers:
                    logger.addHandler(_router)
        _here.handlers.append(self._mine)

    def end_python_log_capture(self) -> None:
        """Stop taking it."""
        if self._mine in _here.handlers:
            _here.handlers.remove(self._mine)

    def log_dagster_event(
        self, level: str | int, msg: str, dagster_event: DagsterEvent, batch_metadata: object = None
    ) -> None:
        """Store an event of the run, but not that an op or a run was cut off which has only left to wait."""
        if not parking.muted(dagster_event):
            super().log_dagster_event(level, msg, dagster_event, batch_metadata)  # type: ignore[arg-type] # handed on

    def with_tags(self, **new_tags: str) -> "RunLogManager":
        """Return a logger that also adds these tags to every record."""
        return RunLogManager(self._mine.with_tags(**new_tags), self.level, self._watched)
