"""What the outside sees while a run executes: progress for live views, and one span per op."""

import logging
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import cast

import dagster as dg

from integrations.database import RunClaim
from integrations.database.progress import Progress, Said
from integrations.errors import Unavailable
from integrations.messages import Address
from integrations.telemetry import span
from orchestration.warm.commits import GroupCommit, Row
from orchestration.warm.internals import DagsterEvent

log = logging.getLogger(__name__)

_START = dg.DagsterEventType.STEP_START.value
_RESTARTED = dg.DagsterEventType.STEP_RESTARTED.value
_RETRY = dg.DagsterEventType.STEP_UP_FOR_RETRY.value
_SUCCESS = dg.DagsterEventType.STEP_SUCCESS.value
_FAILURE = dg.DagsterEventType.STEP_FAILURE.value
_SKIPPED = dg.DagsterEventType.STEP_SKIPPED.value
_SHOWN = ("command", "language", "progress")
"""What a run's card needs of the command that was asked for."""


class Live:
    """Progress of all messages of a worker, gathered for some milliseconds: quick ops share one statement."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._commits = GroupCommit(self._write, patience_s=0.0)

    def publish(self, message_id: str, address: Address, body: dict[str, object]) -> None:
        """Show a message's progress soon, in order."""
        self._commits.add(Row("progress", message_id, {"said": (message_id, address, body)}))

    def flush(self, message_id: str) -> None:
        """Block until all of a message is shown. Raises `Unavailable`."""
        self._commits.flush(message_id)

    def close(self) -> None:
        """Show what is left, where that can be, and stop."""
        with suppress(Unavailable):
            self._commits.flush()
        self._commits.end()

    def _write(self, batch: list[Row], *, again: bool = False) -> set[str]:
        del again
        self._progress.publish_all([cast("Said", row.values["said"]) for row in batch])
        return set()


class Follower:
    """Turns a run's events into progress and spans; never stands in the run's way."""

    def __init__(self, live: Live, claim: RunClaim) -> None:
        self._live = live
        self._claim = claim
        self._started: dict[str, float] = {}
        self._op_span = ExitStack()
        self.failures: list[DagsterEvent] = []

    def begin(self, url: str, *, resumed: bool) -> None:
        """Tell that the run executes."""
        if resumed:
            self._publish({"type": "reset"}, at_once=True)
        told: dict[str, object] = {"type": "run", "run_id": self._claim.run_id, "url": url, "job": self._claim.job}
        asked = cast("dict[str, object]", (self._claim.request or {}).get("asked") or {})
        self._publish(told | {key: asked[key] for key in _SHOWN if key in asked})

    def waits(self, reason: str) -> None:
        """Tell that the run leaves its worker until something has come."""
        self._publish({"type": "status", "status": "waiting", "text": reason}, at_once=True)

    def see(self, event: DagsterEvent) -> None:
        """Take note of one event."""
        if event.step_key is None:
            return
        kind = event.event_type_value  # its properties make an enum's member each
        if kind in {_START, _RESTARTED}:
            if kind == _RESTARTED:
                self._publish({"type": "reset"}, at_once=True)  # before the op's own words
            self._started[event.step_key] = time.monotonic()
            self._op_span.enter_context(span(f"op {event.step_key}", run_id=self._claim.run_id))
            self._op(event.step_key, "started")
        elif kind == _RETRY:
            self._op_span.close()
        elif kind == _SUCCESS:
            self._ended(event.step_key, "succeeded")
        elif kind == _FAILURE:
            self.failures.append(event)
            self._ended(event.step_key, "failed")
        elif kind == _SKIPPED:
            self._op(event.step_key, "skipped")

    def close(self) -> None:
        """End what is still open; the end of a message comes after its last op."""
        self._op_span.close()
        self._guarded(lambda message_id, _: self._live.flush(message_id))

    def _ended(self, op: str, state: str) -> None:
        self._op_span.close()
        started = self._started.pop(op, None)
        self._op(op, state, None if started is None else round((time.monotonic() - started) * 1000, 1))

    def _op(self, op: str, state: str, ms: float | None = None) -> None:
        body: dict[str, object] = {"type": "op", "op": op, "state": state}
        self._publish(body if ms is None else body | {"ms": ms})

    def _publish(self, body: dict[str, object], *, at_once: bool = False) -> None:
        def publish(message_id: str, address: Address) -> None:
            self._live.publish(message_id, address, body)
            if at_once:
                self._live.flush(message_id)

        self._guarded(publish)

    def _guarded(self, show: Callable[[str, Address], None]) -> None:
        message_id, address = self._claim.message_id, self._claim.address
        if message_id is None or address is None:
            return
        try:
            show(message_id, address)
        except Unavailable as error:
            log.warning("progress is not shown", extra={"run_id": self._claim.run_id, "error": str(error)})
