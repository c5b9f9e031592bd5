"""How long a run may still take: the time limit that `@command` gives, and what its ops have used of it."""

import time
from collections.abc import Generator, Iterable
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta

import dagster as dg

from integrations.durations import show_duration
from orchestration.warm.internals import EventLogEntry
from orchestration.warm.interrupt import OP_LIMIT, Interrupt

_SHORTEST = 0.001


class Budget:
    """The time of one run. Waiting, for people, events or a retry, costs nothing."""

    def __init__(self, limit: timedelta | None) -> None:
        self._limit = limit
        self._used_s = 0.0

    def used_before(self, entries: Iterable[EventLogEntry]) -> None:
        """Count what the ops took that succeeded before this attempt."""
        for entry in entries:
            event = entry.dagster_event
            if event is not None and event.event_type is dg.DagsterEventType.STEP_SUCCESS:
                self._used_s += event.step_success_data.duration_ms / 1000

    def limiting(self, interrupt: Interrupt, op_timeout_s: float) -> AbstractContextManager[None]:
        """Stop the op of this block when its own time is over, or the run's; at once where that is over already."""
        left_s = None if self._limit is None else max(self._limit.total_seconds() - self._used_s, _SHORTEST)
        if self._limit is None or left_s is None:
            return interrupt.limited(op_timeout_s)
        if 0 < op_timeout_s < left_s:
            return self._measured(interrupt, op_timeout_s, OP_LIMIT)
        limit = show_duration(self._limit)
        told = f"The run took longer than {limit}, the time_limit of its command; waiting does not count."
        return self._measured(interrupt, left_s, told)

    @contextmanager
    def _measured(self, interrupt: Interrupt, seconds: float, told: str) -> Generator[None]:
        began = time.monotonic()
        try:
            with interrupt.limited(seconds, told):
                if seconds <= _SHORTEST:
                    interrupt.expire(began + 1)
                yield
        finally:
            self._used_s += time.monotonic() - began
