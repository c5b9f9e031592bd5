"""Waiting for authors of jobs: ops that wait for days without holding a worker. `warm/parking` does it.

    @dg.job
    def refund():
        order = ask()
        pay(order, wait_for_event("refund-approved", timedelta(days=3), key=order))

The run stays STARTED and its page says what it waits for; the ops before never run again. `send_event` of
`Database.events`, or `POST /v1/events/NAME`, ends the wait; an event that was sent before is found.

    @dg.job
    def refund():
        order = ask()
        pay(order, wait_for_approval("Refund this order?", Approval(approvers=["manager"]), details=order))

An approval is bound to its details: an op that wants others the next time asks anew.
"""

import functools
import json
import re
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg

from integrations.approvals.policy import Policy
from integrations.approvals.words import instant
from integrations.database import MessageView
from integrations.errors import InvalidInput
from orchestration.authoring import Approval
from orchestration.warm import parking
from orchestration.warm.parking import Denied, Expired

__all__ = [
    "Denied",
    "Expired",
    "await_approval",
    "await_event",
    "await_message",
    "sleep_until",
    "wait_for_approval",
    "wait_for_event",
    "wait_until",
]
MOST_SHOWN = 1_500
"""Characters of an approval's details that are shown."""


@dg.op(tags={"runbell/waits": "timer"}, description="Wait until an instant, without holding a worker; give it back.")
def wait_until(when: datetime) -> datetime:
    """Wait until `when`, which must name its time zone."""
    sleep_until(when)
    return when


def wait_for_event(name: str, timeout: timedelta, *, key: Any = None, start: Any = None) -> Any:  # noqa: ANN401 - outputs of ops, as Dagster hands them on
    """Wait in a job for an event, and give on its body (a dict); the op fails once the time-out is over.

    `key` is the output of an op (str) and tells which event is meant, say an order's number; without it the event
    must be addressed to this run: its key is the run id. `start` is an output that only has to be there before.
    """
    given = {"key": key, "start": start}
    return _event_op(name, timeout)(**{argument: value for argument, value in given.items() if value is not None})


def sleep_until(when: datetime) -> None:
    """Wait in an op's own code. The op leaves here and later runs again from its start, so wait first, then act."""
    if when.tzinfo is None:
        raise InvalidInput("The instant to wait for must name its time zone, as in datetime.now(UTC).")
    if (waits := parking.here()) is not None:
        waits.until(when)
    else:  # under another executor there is nothing to park
        time.sleep(max((when - datetime.now(UTC)).total_seconds(), 0.0))


def await_event(name: str, timeout: timedelta, key: str | None = None) -> dict[str, Any]:
    """Wait for an event in an op's own code, as `sleep_until` does; at most once per op and event.

    Raises `Expired` once the time-out, counted from the first attempt, is over.
    """
    if (waits := parking.here()) is None:
        raise InvalidInput("Events reach only runs of Runbell's workers, with the executor that Runbell chooses.")
    return waits.event(name, key, timeout)


def await_message(message_id: str, what: str, timeout: timedelta) -> MessageView | None:
    """Wait in an op's own code until a message that this run has sent is settled, as that of a command is.

    `what` says in the run's page what is waited for. Returns the message, not settled where the time-out, counted from
    the first attempt, is over; None under another executor, where nothing can wait. Raises `NotFound`.
    """
    waits = parking.here()
    return None if waits is None else waits.message(message_id, what, timeout)


def wait_for_approval(question: str, policy: Approval, *, details: Any = None, start: Any = None) -> Any:  # noqa: ANN401 - outputs of ops, as Dagster hands them on
    """Wait in a job until people have approved, and give on who did (see `await_approval`).

    The op fails where it is denied or expires, and its page says who decided and why. `details` is the output of an op
    (a dict or text): what is approved, exactly, and shown. `start` is an output that only has to be there before.
    """
    given = {"details": details, "start": start}
    return _approval_op(question, policy.model_dump_json())(
        **{name: value for name, value in given.items() if value is not None}
    )


def await_approval(
    question: str, policy: Approval, details: dict[str, object] | None = None, shown: str | None = None
) -> dict[str, Any]:
    """Wait for an approval in an op's own code, as `sleep_until` does; at most once per op.

    People see `shown` in the place of the details, which may hold what must not be shown.
    Returns `{"approval", "by": [{"name", "principal_id", "reason", "at"}]}`. Raises `Denied`, `Expired`.
    """
    if (waits := parking.here()) is None:
        raise InvalidInput("Approvals reach only runs of Runbell's workers, with the executor that Runbell chooses.")
    text = json.dumps(details, ensure_ascii=False, default=str)[:MOST_SHOWN] if details else ""
    asked = "\n".join(filter(None, [question, text if shown is None else shown]))
    found = waits.approval(question, asked, dict(details or {}), Policy.model_validate(policy))
    by = [
        {"name": one.name, "principal_id": one.principal_id, "reason": one.reason, "at": one.at.isoformat()}
        for one in found.said_yes
    ]
    said = "; ".join(f"{one.name} at {instant(one.at)} ({one.reason or 'no reason given'})" for one in found.said_yes)
    dg.OpExecutionContext.get().log.info(f"Approval {found.id} was given by {said}: {question}")
    return {"approval": found.id, "by": by}


@functools.cache
def _approval_op(question: str, rules: str) -> dg.OpDefinition:
    policy = Approval.model_validate_json(rules)
    slug = re.sub(r"\W+", "_", f"wait_for_approval_{question}")[:60].strip("_").lower()

    @dg.op(
        name=slug,
        description=f"Wait until it is approved, without holding a worker: {question}",
        ins={"details": dg.In(default_value=None), "start": dg.In(dg.Nothing)},
        out=dg.Out(dict),
        tags={"runbell/waits": "approval"},
    )
    def wait(context: dg.OpExecutionContext, details: Any) -> dict[str, Any]:  # noqa: ANN401 - whatever an op puts out
        exact = details if isinstance(details, dict) or details is None else {"details": details}
        given, metadata = approved(question, policy, exact)
        context.add_output_metadata(metadata)
        return given

    return wait


def approved(
    question: str, policy: Approval, details: dict[str, object] | None
) -> tuple[dict[str, Any], dict[str, str]]:
    """Wait as `await_approval` does, and return what it gives and how the op's page says it; else fail the op."""
    try:
        given = await_approval(question, policy, details)
    except (Denied, Expired) as error:
        raise dg.Failure(str(error), metadata={"question": question}, allow_retries=False) from error
    return given, {
        "approval": given["approval"],
        "approved_by": ", ".join(one["name"] for one in given["by"]),
        "approved_at": ", ".join(one["at"] for one in given["by"]),
        "reason": "; ".join(one["reason"] for one in given["by"] if one["reason"]) or "–",
    }


@functools.cache
def _event_op(name: str, timeout: timedelta) -> dg.OpDefinition:
    # Both are in the name: ops of one job that differ must be named differently.
    slug = re.sub(r"\W+", "_", f"wait_for_{name}_{_short(timeout)}")

    @dg.op(
        name=slug,
        description=f"Wait for the event {name!r}, at most {timeout}, without holding a worker; give on its body.",
        ins={"key": dg.In(str, default_value=""), "start": dg.In(dg.Nothing)},
        out=dg.Out(dict),
        tags={"runbell/waits": "event"},
    )
    def wait(key: str) -> dict[str, Any]:
        return await_event(name, timeout, key or None)

    return wait


def _short(timeout: timedelta) -> str:
    seconds = timeout.total_seconds()
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:g}s"
