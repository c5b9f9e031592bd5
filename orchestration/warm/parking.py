"""What the ops of a run wait for: an op that must wait leaves its attempt, other ops go on, and then the run parks.

A parked run is a row: it stays STARTED in Dagster, and no worker and no thread holds it. Its time, an event or a
cancel request makes any worker resume it; the op that waited runs again from its start and finds what it waited for.
"""

# pyright: reportPrivateUsage=false
# ActiveExecution has no public word for "not now".

import math
import threading
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import dagster as dg

from integrations.approvals.policy import Policy
from integrations.approvals.values import Approval, NewApproval
from integrations.approvals.words import approvers, pointless
from integrations.database import MessageView, RunClaim, Wait
from integrations.database.approvals import Approvals
from integrations.database.approving import EVENT
from integrations.database.awaiting import SETTLED
from integrations.database.engine import outages_met
from integrations.database.events import Events
from integrations.database.sent import SentMessages
from integrations.errors import NotFound, PermanentError
from orchestration.warm.instance import WarmInstance
from orchestration.warm.internals import ActiveExecution, DagsterEvent
from orchestration.warm.interrupt import shielded, sleep

SHORT_S = 1.0
"""A shorter wait keeps its thread: parking costs more."""
LATE_S = 30.0
"""How long after its end a run looks itself whether its approval has ended."""
AGAIN_S = 2.0
"""How long a run waits that has met the database away."""


class Expired(PermanentError):
    """What an op waited for did not come in time."""


class Denied(PermanentError):
    """What an op asked to be approved was denied, or is void; nothing may be done."""


class Waiting(dg.DagsterError):
    """Leaves an op that must wait; not for authors to catch. Dagster's errors pass by retry policies."""


class Waits:
    """The waits of one run, in the thread that executes it."""

    def __init__(self, events: Events, approvals: Approvals, sent: SentMessages, claim: RunClaim) -> None:
        self._events = events
        self._approvals = approvals
        self._sent = sent
        self._claim = claim
        self._deadlines = dict(_deadlines(claim.parked))
        self._step: str | None = None
        self._open: dict[str, Wait] = {}
        self._outages = outages_met()
        self.asked = False
        """Whether the op that executes now has asked to wait: how it ends doesn't count."""
        self.parked: list[Wait] = []
        """What the run waits for, once it has left."""

    @contextmanager
    def at(self, step: str) -> Generator[None]:
        """Let the op that executes in this block wait."""
        self._step, self.asked = step, False
        self._outages = outages_met()
        _current.waits = self
        try:
            yield
        finally:
            self._step = _current.waits = None

    def until(self, when: datetime) -> None:
        """Return once it is `when`."""
        left = (when - datetime.now(UTC)).total_seconds()
        if left <= SHORT_S:
            sleep(max(left, 0.0))
            return
        self._leave(Wait(self._here, f"`{self._here}` waits until {_instant(when)}", when))

    def event(self, name: str, key: str | None, timeout: timedelta) -> dict[str, Any]:
        """Return the body of an event; without a key, of one that is addressed to this run. Raises `Expired`."""
        step, key = self._here, key or self._claim.run_id
        with shielded():
            body = self._events.take(self._claim, step, name, key)
        if body is not None:
            return body
        now = datetime.now(UTC)
        until = self._deadlines.get((step, name, key), now + timeout)
        if until <= now:
            raise Expired(f"The event {name!r} (key {key!r}) did not come until {_instant(until)}.")
        reason = f"`{step}` waits for the event {name!r} (key {key!r}) until {_instant(until)}"
        self._leave(Wait(step, reason, until, name, key))
        raise AssertionError  # it has left

    def message(self, message_id: str, what: str, timeout: timedelta) -> MessageView:
        """Return a message that this run has sent once it is settled, or as it is once the time-out is over.

        Raises `NotFound` where it is there no longer.
        """
        step = self._here
        with shielded():
            view = self._sent.awaited(self._claim, step, message_id)
        if view is None:
            raise NotFound(f"the message that started {what} is there no longer")
        now = datetime.now(UTC)
        until = self._deadlines.get((step, SETTLED, message_id), now + timeout)
        if not view.status.settled and until > now:
            self._leave(Wait(step, f"`{step}` waits for {what} until {_instant(until)}", until, SETTLED, message_id))
        return view

    def approval(self, question: str, shown: str, details: dict[str, object], policy: Policy) -> Approval:
        """Return the approval of what this op is about to do. Raises `Denied`, `Expired`."""
        step, claim = self._here, self._claim
        requester = self._approvals.look_up(claim.principal_id) if claim.principal_id else None
        wanted = NewApproval(
            subject=question,
            args=details,
            shown=shown,
            policy=policy,
            requester_id=claim.principal_id or "",
            requester_name=requester.name if requester else claim.job,
            tenant=claim.tenant,
            origin=claim.address,
            message_id=claim.message_id,
            run_id=claim.run_id,
            step=step,
        )
        with shielded():
            if self._approvals.is_pointless(wanted):
                raise Denied(pointless(wanted))
            found = self._approvals.of_step(claim, wanted)
        if found.state == "pending":
            # Whoever looks after approvals ends it at its time, which wakes the run; this is the net beneath.
            until = max(found.expires_at, datetime.now(UTC)) + timedelta(seconds=LATE_S)
            reason = (
                f"`{step}` waits for approval {found.id} by {approvers(found)} until "
                f"{_instant(found.expires_at)}: {question}"
            )
            self._leave(Wait(step, reason, until, EVENT, found.id))
        return _granted(found)

    def excuse(self) -> bool:
        """Tell whether the op that executes failed while the database was away: it is tried again, as after a crash."""
        if not self.asked and self.met_outage:
            self._open[self._here] = _again(f"`{self._here}` is tried again: the database was away", self._here)
            self.asked = True
        return self.asked

    @property
    def met_outage(self) -> bool:
        """Whether the calling thread has found the database away since the run, or its present op, began."""
        return outages_met() > self._outages

    def leave_for_outage(self) -> None:
        """Let the run be resumed a little later."""
        self.parked = [*self._open.values(), _again("the run goes on in a moment: the database was away")]

    def set_aside(self, active: ActiveExecution, step: str) -> None:
        """Take an op that asked to wait out of this execution; the run's next resumption tries it anew."""
        active._in_flight.remove(step)  # noqa: SLF001 - see above
        active._waiting_to_retry[step] = math.inf  # noqa: SLF001
        self.asked = False

    def due(self, active: ActiveExecution) -> list[Wait]:
        """Return what the run waits for where nothing of it can execute for a while, else nothing."""
        pools = active._instance_concurrency_context  # noqa: SLF001
        if active.sleep_interval() <= SHORT_S or (pools is not None and pools.has_pending_claims()):
            return []
        return [*self._open.values(), *self._retries(active)]

    def leave_run(self, instance: dg.DagsterInstance) -> None:
        """Let Dagster end the execution, but not the run."""
        if isinstance(instance, WarmInstance):
            instance.parked.add(self._claim.run_id)
        _current.left = True

    def close(self, instance: WarmInstance) -> None:
        """Clean up once the execution has ended, whichever way."""
        instance.parked.discard(self._claim.run_id)
        _current.left = False

    def _retries(self, active: ActiveExecution) -> list[Wait]:
        instants = active._waiting_to_retry.items()  # noqa: SLF001
        found = [(step, datetime.fromtimestamp(at, UTC)) for step, at in instants if at != math.inf]
        return [Wait(step, f"`{step}` is tried again at {_instant(at)}", at) for step, at in found]

    @property
    def _here(self) -> str:
        assert self._step is not None
        return self._step

    def _leave(self, wait: Wait) -> None:
        self._open[wait.step] = wait
        self.asked = True
        raise Waiting(wait.reason)


def _granted(found: Approval) -> Approval:
    who = ", ".join(one.name for one in found.decisions if one.verdict == "deny")
    reasons = "; ".join(one.reason for one in found.decisions if one.verdict == "deny" and one.reason)
    if found.state == "expired":
        raise Expired(f"Nobody decided approval {found.id} until {_instant(found.expires_at)}: {found.subject}")
    if found.state == "denied":
        raise Denied(f"{who} denied approval {found.id}: {found.subject}" + (f" ({reasons})" if reasons else ""))
    if found.state != "approved":
        raise Denied(f"Approval {found.id} is void ({found.why}): {found.subject}")
    return found


class _Current(threading.local):
    waits: Waits | None = None
    left: bool = False


_current = _Current()


def here() -> Waits | None:
    """Return the waits of the op that the calling thread executes; None outside of warm workers."""
    return _current.waits


def muted(event: DagsterEvent) -> bool:
    """Tell whether Dagster's word is wrong: an op that leaves to wait has not failed, a parked run was not cut off.

    Nor has an op failed that met the database away.
    """
    waits = _current.waits
    failed = event.is_step_failure or event.is_step_up_for_retry
    asked = waits is not None and (waits.excuse() if failed else waits.asked)
    return asked or (_current.left and event.is_engine_event)


def _again(reason: str, step: str = "") -> Wait:
    return Wait(step, reason, datetime.now(UTC) + timedelta(seconds=AGAIN_S))


def _deadlines(parked: dict[str, object] | None) -> Generator[tuple[tuple[str, str, str], datetime]]:
    waits = cast("list[dict[str, str | None]]", (parked or {}).get("waits") or [])
    for wait in waits:
        step, event, key, until = (wait.get(name) for name in ("step", "event", "key", "until"))
        if step and event and key and until:
            yield (step, event, key), datetime.fromisoformat(until)


def _instant(when: datetime) -> str:
    return when.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
