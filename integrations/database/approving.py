"""What approvals are made of within a transaction: rows, cards, and the end of what waited for them.

`approvals` is the store over it. Whoever changes an approval holds first what waits for it (`hold_waiting`), then the
approval's own row, then the turns of all conversations that hear of it, in their order; so nobody waits in a circle.
"""

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from integrations.approvals import words
from integrations.approvals.policy import Policy
from integrations.approvals.values import Approval, Decision
from integrations.database.approval_tables import approvals, cards, decisions
from integrations.database.awaiting import hold_sender, wake_sender
from integrations.database.engine import in_turn, notify
from integrations.database.events import lock_event, put_event
from integrations.database.outbox import post_within
from integrations.database.run_tables import run_queue
from integrations.database.settling import ASKED, asked, write_answer
from integrations.database.tables import inbox
from integrations.messages import Address, MessageStatus, OutboundMessage

EVENT = "runbell.approval"
"""The event that wakes a run; its key is the approval's id. It only wakes: the approval's row says what was decided."""


def read(connection: sa.Connection, approval_id: str, *, lock: bool = False) -> Approval | None:
    """Return an approval with its decisions; with `lock`, nobody else changes it until commit."""
    query = sa.select(approvals).where(approvals.c.id == approval_id)
    row = connection.execute(query.with_for_update() if lock else query).first()
    return whole(connection, row) if row is not None else None


def whole(connection: sa.Connection, row: Any) -> Approval:
    """Return a row as an `Approval`, with what was said to it."""
    said = connection.execute(
        sa.select(decisions).where(decisions.c.approval_id == row.id).order_by(decisions.c.at)
    ).all()
    return Approval(
        id=row.id,
        tenant=row.tenant,
        subject=row.subject,
        shown=row.shown,
        effect=row.effect,
        policy=Policy.model_validate(row.policy),
        requester_id=row.requester_id,
        requester_name=row.requester_name,
        state=row.state,
        why=row.why,
        digest=row.digest,
        language=row.language,
        created_at=row.created_at,
        expires_at=row.expires_at,
        decided_at=row.decided_at,
        escalated=row.escalated_at is not None,
        message_id=row.message_id,
        run_id=row.run_id,
        step=row.step,
        origin=Address.model_validate(row.origin) if row.origin else None,
        args=row.args,
        revision=row.revision,
        delegates=tuple((to, by) for to, by in row.delegates),
        decisions=tuple(Decision(one.principal_id, one.name, one.verdict, one.reason, one.via, one.at) for one in said),
    )


def hold_waiting(connection: sa.Connection, approval: Approval) -> bool:
    """Lock what waits for the approval until commit; False where it waits no longer."""
    if approval.run_id is not None:
        lock_event(connection, approval.tenant, EVENT, approval.id)
        query = sa.select(run_queue.c.state).where(run_queue.c.run_id == approval.run_id).with_for_update()
        return connection.scalar(query) not in {None, "finished"}
    query = sa.select(inbox.c.state, *ASKED).where(inbox.c.id == approval.message_id).with_for_update()
    row = connection.execute(query).first()
    if row is None or row.state not in {"waiting", "received"}:
        return False
    hold_sender(connection, asked(row))
    return True


def close(connection: sa.Connection, approval: Approval, state: str, why: str) -> Approval:
    """End an approval and let what waits for it hear of it: go on, or be answered. Its cards are shown anew."""
    # What was approved still has to be used; of everything else the arguments are no longer wanted.
    kept: dict[str, object] = {} if state == "approved" else {"args": sa.null()}
    connection.execute(
        sa.update(approvals)
        .where(approvals.c.id == approval.id)
        .values(state=state, why=why[:500], decided_at=sa.func.clock_timestamp(), **kept)
    )
    closed = read(connection, approval.id)
    assert closed is not None
    in_turns(connection, [*places(connection, closed), *([closed.origin] if closed.origin else [])])
    show(connection, closed)
    if closed.run_id is not None:
        put_event(connection, closed.tenant, EVENT, closed.id, {"state": state})
    elif state == "approved":
        _go_on(connection, closed)
    else:
        _answer(connection, closed)
    if state == "approved" and closed.origin is not None and closed.origin not in places(connection, closed):
        notice = OutboundMessage(address=closed.origin, kind="notice", text=words.approved(closed))
        post_within(connection, notice, f"approval:{closed.id}:approved")
    return closed


def show(connection: sa.Connection, approval: Approval) -> None:
    """Show an approval as it stands now in the place of every card of it."""
    revision = connection.scalar(
        sa.update(approvals)
        .where(approvals.c.id == approval.id)
        .values(revision=approvals.c.revision + 1)
        .returning(approvals.c.revision)
    )
    for row in connection.execute(sa.select(cards).where(cards.c.approval_id == approval.id)).all():
        message = words.card(approval, _address(approval, row)).model_copy(update={"replaces": row.key})
        post_within(connection, message, f"{row.key}:{revision}")


def ask_in(connection: sa.Connection, approval: Approval, addresses: Iterable[Address]) -> None:
    """Show the card in these conversations too, unless it is there."""
    there = places(connection, approval)
    for number, address in enumerate((one for one in addresses if one not in there), len(there)):
        key = f"approval:{approval.id}:{number}"
        connection.execute(
            sa.insert(cards).values(
                approval_id=approval.id, channel=address.channel, conversation=address.conversation, key=key
            )
        )
        post_within(connection, words.card(approval, address), key)


def tell_requester(connection: sa.Connection, approval: Approval, ref: str | None) -> None:
    """Tell whoever asked whom it waits for, unless the card stands before their eyes."""
    if approval.origin is not None and approval.origin not in places(connection, approval):
        notice = OutboundMessage(address=approval.origin, kind="notice", text=words.waits(approval), in_reply_to=ref)
        post_within(connection, notice, f"approval:{approval.id}:waits")


def remind(connection: sa.Connection, approval: Approval, number: int) -> None:
    """Ask again where it was asked."""
    for place, address in enumerate(places(connection, approval)):
        message = OutboundMessage(address=address, kind="notice", text=words.reminder(approval))
        post_within(connection, message, f"approval:{approval.id}:reminder:{number}:{place}")


def places(connection: sa.Connection, approval: Approval) -> list[Address]:
    """Return the conversations in which it is shown."""
    rows = connection.execute(sa.select(cards).where(cards.c.approval_id == approval.id).order_by(cards.c.key)).all()
    return [_address(approval, row) for row in rows]


def in_turns(connection: sa.Connection, addresses: Iterable[Address]) -> None:
    """Take the turns of several conversations, in an order that all keep."""
    for tenant, channel, conversation in sorted({(a.tenant, a.channel, a.conversation) for a in addresses}):
        in_turn(connection, tenant, channel, conversation)


def now(connection: sa.Connection) -> datetime:
    """Return the database's instant, by which all approvals are judged."""
    return connection.execute(sa.select(sa.func.clock_timestamp())).scalar_one()


def due_after(approval: Approval, after: datetime, reminded: int) -> datetime:
    """Return when something is due next."""
    policy, instants = approval.policy, [approval.expires_at]
    if policy.remind_after is not None and reminded < MOST_REMINDERS:
        instants.append(approval.created_at + policy.remind_after * (reminded + 1))
    if policy.escalate_after is not None and policy.escalate_to and not approval.escalated:
        instants.append(approval.created_at + policy.escalate_after)
    return min(at for at in instants if at > after or at == approval.expires_at)


MOST_REMINDERS = 10


def _address(approval: Approval, row: Any) -> Address:
    return Address(channel=row.channel, conversation=row.conversation, tenant=approval.tenant)


def _go_on(connection: sa.Connection, approval: Approval) -> None:
    """Let the message that waited be routed once more; its turn comes before what was said since."""
    connection.execute(
        sa.update(inbox)
        .where(inbox.c.id == approval.message_id, inbox.c.state == "waiting")
        .values(
            state="received",
            attempts=0,
            lease_until=None,
            body=inbox.c.body.op("||")(sa.func.jsonb_build_object("approval", approval.id)),
        )
    )
    notify(connection, "runbell_inbox")


def _answer(connection: sa.Connection, approval: Approval) -> None:
    """Tell the requester that nothing will be run."""
    row = connection.execute(
        sa.update(inbox)
        .where(inbox.c.id == approval.message_id, inbox.c.state == "waiting")
        .values(state="failed", error=approval.state, replied_at=sa.func.clock_timestamp(), lease_until=None)
        .returning(*ASKED)
    ).first()
    if row is not None:
        reply = OutboundMessage(address=asked(row).address, text=words.ended(approval))
        wake_sender(connection, asked(row))
        write_answer(connection, asked(row), [reply], MessageStatus.FAILED, None)


def canonical(value: dict[str, object]) -> dict[str, object]:
    """Return arguments as the database gives them back."""
    return json.loads(json.dumps(value, ensure_ascii=False, default=str))
