"""The runs that a worker holds now: their leases, cancel requests, and handing them back."""

import logging
import threading
from collections.abc import Generator
from contextlib import contextmanager

from integrations.database import RunClaim
from integrations.errors import LeaseLost, TemporaryError
from orchestration.warm.internals import FINISHED_STATUSES
from orchestration.warm.interrupt import Interrupt, Reason
from orchestration.warm.runs import Runtime
from orchestration.warm.stuck import abandon

log = logging.getLogger(__name__)


class ActiveRuns:
    """Thread-safe."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._changed = threading.Condition()
        self._held: dict[str, tuple[RunClaim, Interrupt]] = {}
        self._canceling: set[str] = set()
        self._look = threading.Event()
        self._closed = False
        threading.Thread(target=self._cancel_forever, name="cancels", daemon=True).start()

    def __len__(self) -> int:
        return len(self._held)

    @contextmanager
    def holding(self, claim: RunClaim, interrupt: Interrupt) -> Generator[None]:
        """Count a run as held in this block."""
        with self._changed:
            self._held[claim.run_id] = (claim, interrupt)
        try:
            yield
        finally:
            with self._changed:
                # It may be held anew by another thread of this process, once this one's lease was lost.
                if self._held.get(claim.run_id, (None,))[0] is claim:
                    self._held.pop(claim.run_id)
                    self._canceling.discard(claim.run_id)
                self._changed.notify_all()

    def wait_idle(self, seconds: float) -> bool:
        """Wait until nothing is held, at most so long."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._held, timeout=seconds)

    def extend_leases(self, lease_s: float) -> None:
        """Extend all leases; a run whose lease was lost is stopped and writes nothing more."""
        held = self._snapshot()
        tokens = {run_id: claim.token for run_id, (claim, _) in held.items()}
        for run_id in self._runtime.database.runs.heartbeat(tokens, lease_s=lease_s):
            if not held[run_id][1].ending:
                log.warning("a lease was lost", extra={"run_id": run_id})
                self._runtime.instance.warm_storage.leave(run_id, lost=True)
                held[run_id][1].request(Reason.LOST)

    def abandon_stuck(self, grace_s: float) -> bool:
        """Give up the runs whose threads do not stop; tell whether there were any."""
        found = False
        for run_id, (claim, interrupt) in self._snapshot().items():
            if interrupt.reason in {None, Reason.CANCEL} and not interrupt.ending and interrupt.stuck(grace_s):
                abandon(self._runtime, claim, interrupt)
                with self._changed:
                    self._held.pop(run_id, None)
                    self._changed.notify_all()
                found = True
        return found

    def look_at_cancels(self) -> None:
        """Look, in another thread and soon, which runs shall be canceled."""
        self._look.set()

    def close(self) -> None:
        """End the thread that looks at cancel requests."""
        self._closed = True
        self._look.set()

    def hand_back(self) -> None:
        """Stop what still executes and let other workers go on with it from the last committed op."""
        for run_id, (claim, interrupt) in self._snapshot().items():
            storage = self._runtime.instance.warm_storage
            try:
                self._runtime.instance.report_engine_event(
                    str(Reason.DRAIN).capitalize(), job_name=claim.job, run_id=run_id
                )
                storage.flush(run_id)
                storage.leave(run_id, lost=True)
                interrupt.request(Reason.DRAIN)
                self._runtime.database.runs.release(claim)
            except (LeaseLost, TemporaryError) as error:
                interrupt.request(Reason.DRAIN)
                log.warning("a run is left to its lease", extra={"run_id": run_id, "error": str(error)})
        self.wait_idle(5.0)

    def _snapshot(self) -> dict[str, tuple[RunClaim, Interrupt]]:
        with self._changed:
            return dict(self._held)

    def _cancel_forever(self) -> None:
        while True:
            self._look.wait()
            self._look.clear()
            if self._closed:
                return
            try:
                self._cancel_requested()
            except Exception:  # outermost loop of this thread
                log.exception("cancel requests could not be read; the next heartbeat looks again")

    def _cancel_requested(self) -> None:
        held = self._snapshot()
        wanted = set(held) - self._canceling
        if not wanted:
            return
        for run_id in self._runtime.database.runs.cancels(wanted):
            run = self._runtime.instance.get_run_by_id(run_id)
            if run is None:
                continue  # being created: the next heartbeat looks again
            # Dagster ends an interrupted run as canceled only where it was told so before, by whom it executes with.
            ending = held[run_id][1].ending
            if not ending and run.status.value != "CANCELING" and run.status not in FINISHED_STATUSES:
                self._runtime.instance.report_run_canceling(run)
            self._canceling.add(run_id)
            held[run_id][1].request(Reason.CANCEL)
