"""Give up a run whose thread does not stop: it hangs in native code, where no exception can be raised.

The thread itself can't be ended: what it still writes is refused, and its worker takes nothing new and is replaced.
"""

import logging

from integrations.database import RunClaim
from integrations.messages import MessageStatus, OutboundMessage
from orchestration.warm.internals import FINISHED_STATUSES
from orchestration.warm.interrupt import Interrupt, Reason
from orchestration.warm.runs import Runtime

log = logging.getLogger(__name__)


def abandon(runtime: Runtime, claim: RunClaim, interrupt: Interrupt) -> None:
    """Mark the run as canceled or failed, answer its message, and leave the thread to itself. Raises `LeaseLost`."""
    storage, canceled = runtime.instance.warm_storage, interrupt.reason is Reason.CANCEL
    what = "was canceled" if canceled else f"failed: {_limit(interrupt)}"
    note = "Its thread hangs in native code and was given up; the worker is replaced."
    log.error("a thread does not stop", extra={"run_id": claim.run_id, "job": claim.job})
    run = runtime.instance.get_run_by_id(claim.run_id)
    if run is not None and run.status not in FINISHED_STATUSES:
        end = runtime.instance.report_run_canceled if canceled else runtime.instance.report_run_failed
        end(run, f"The run {what}. {note}")
    storage.flush(claim.run_id)
    storage.leave(claim.run_id, lost=True)
    interrupt.request(Reason.LOST)
    if claim.message_id is not None and claim.address is not None:
        sign, url = "⏹" if canceled else "⚠️", runtime.settings.run_url(claim.run_id)
        reply = OutboundMessage(address=claim.address, text=f"{sign} {claim.job} {what}. [Open the run]({url})")
        runtime.database.inbox.answer(
            claim.message_id,
            [reply],
            status=MessageStatus.FAILED,
            run_id=claim.run_id,
            error=what,
            fence=claim.token,
        )
    runtime.database.runs.finish(claim)


def _limit(interrupt: Interrupt) -> str:
    """Return the limit that was met, an op's own or that of the whole run, in the middle of a sentence."""
    told = interrupt.limit_told.rstrip(".")
    return told[:1].lower() + told[1:]
