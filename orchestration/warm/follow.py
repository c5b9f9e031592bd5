"""What the outside sees while a run executes: progress for live views, and one span per op."""

import logging
import time
from contextlib import ExitStack

from integrations.database import Database, RunClaim
from integrations.errors import Unavailable
from integrations.telemetry import span
from orchestration.warm.internals import DagsterEvent

log = logging.getLogger(__name__)


class Follower:
    """Turns a run's events into progress and spans; never stands in the run's way."""

    def __init__(self, database: Database, claim: RunClaim) -> None:
        self._database = database
        self._claim = claim
        self._started: dict[str, float] = {}
        self._op_span = ExitStack()
        self.failures: list[DagsterEvent] = []

    def begin(self, url: str, *, resumed: bool) -> None:
        """Tell that the run executes."""
        if resumed:
            self._publish({"type": "reset"})
        self._publish({"type": "run", "run_id": self._claim.run_id, "url": url, "job": self._claim.job})

    def see(self, event: DagsterEvent) -> None:
        """Take note of one event."""
        if event.step_key is None:
            return
        if event.is_step_start or event.is_step_restarted:
            if event.is_step_restarted:
                self._publish({"type": "reset"})
            self._started[event.step_key] = time.monotonic()
            self._op_span.enter_context(span(f"op {event.step_key}", run_id=self._claim.run_id))
            self._op(event.step_key, "started")
        elif event.is_step_up_for_retry:
            self._op_span.close()
        elif event.is_step_success:
            self._ended(event.step_key, "succeeded")
        elif event.is_step_failure:
            self.failures.append(event)
            self._ended(event.step_key, "failed")
        elif event.is_step_skipped:
            self._op(event.step_key, "skipped")

    def close(self) -> None:
        """End what is still open."""
        self._op_span.close()

    def _ended(self, op: str, state: str) -> None:
        self._op_span.close()
        started = self._started.pop(op, None)
        self._op(op, state, None if started is None else round((time.monotonic() - started) * 1000, 1))

    def _op(self, op: str, state: str, ms: float | None = None) -> None:
        body: dict[str, object] = {"type": "op", "op": op, "state": state}
        self._publish(body if ms is None else body | {"ms": ms})

    def _publish(self, body: dict[str, object]) -> None:
        message_id, address = self._claim.message_id, self._claim.address
        if message_id is None or address is None:
            return
        try:
            self._database.progress.publish(message_id, address, body)
        except Unavailable as error:
            log.warning("progress is not shown", extra={"run_id": self._claim.run_id, "error": str(error)})
