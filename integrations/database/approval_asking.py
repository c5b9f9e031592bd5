"""Asking for an approval, within a transaction: the row, where its card is shown, and what takes its place."""

import secrets
from collections.abc import Callable

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import distinct_on

from integrations.approvals.policy import Policy
from integrations.approvals.values import Approval, NewApproval
from integrations.database import approving
from integrations.database.approval_tables import approvals
from integrations.database.tables import conversations
from integrations.errors import Forbidden
from integrations.messages import Address, Principal

MOST_ASKED = 10
"""Direct conversations in which one approval is asked."""
MOST_PEOPLE = 100
"""People, of those that wrote lately, among whom approvers are looked for."""
_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"
_LENGTH = 8
LookUp = Callable[[str], Principal | None]
"""Returns an enabled principal as they are now, with roles and groups."""


def ask(
    connection: sa.Connection, wanted: NewApproval, look_up: LookUp, first: Callable[[], None] = lambda: None
) -> Approval:
    """Return the approval that is wanted, within the caller's transaction; asked for now if it was not before.

    `first` is done before the cards are shown, once the turns of all conversations concerned are held.
    """
    row = connection.execute(
        sa.select(approvals)
        .where(approvals.c.anchor == wanted.anchor)
        .order_by(approvals.c.seq.desc())
        .limit(1)
        .with_for_update()
    ).first()
    if row is not None and row.digest == wanted.digest:
        return approving.whole(connection, row)
    if row is not None and row.state in {"pending", "approved"}:
        supersede(connection, approving.whole(connection, row), "other arguments are wanted now")
    made = _put(connection, wanted)
    asked_in = where_to_ask(connection, made, made.policy.rules(escalated=False), look_up)
    approving.in_turns(connection, [*asked_in, *([made.origin] if made.origin else [])])
    first()
    approving.ask_in(connection, made, asked_in)
    return made


def supersede(connection: sa.Connection, found: Approval, why: str) -> None:
    """Void an approval whose place another one, or nothing, takes; what waited for it is the caller's."""
    connection.execute(
        sa.update(approvals)
        .where(approvals.c.id == found.id)
        .values(state="voided", why=why, args=sa.null(), decided_at=sa.func.clock_timestamp())
    )
    voided = approving.read(connection, found.id)
    assert voided is not None
    approving.in_turns(connection, approving.places(connection, voided))
    approving.show(connection, voided)


def live_approvals(connection: sa.Connection, message_id: str) -> list[Approval]:
    """Return what a message waits for, or may still use; nobody else changes it until commit."""
    query = (
        sa.select(approvals)
        .where(approvals.c.anchor == f"message:{message_id}", approvals.c.state.in_(["pending", "approved"]))
        .where(approvals.c.used_at.is_(None))
        .with_for_update()
    )
    return [approving.whole(connection, row) for row in connection.execute(query).all()]


def use(connection: sa.Connection, approval_id: str) -> None:
    """Take what an approval allows, within the caller's transaction. Raises `Forbidden` where there is nothing left."""
    done = connection.execute(
        sa.update(approvals)
        .where(approvals.c.id == approval_id, approvals.c.state == "approved", approvals.c.used_at.is_(None))
        .values(used_at=sa.func.clock_timestamp(), args=sa.null())
    )
    if done.rowcount != 1:
        raise Forbidden(f"approval {approval_id} no longer holds")


def _put(connection: sa.Connection, wanted: NewApproval) -> Approval:
    approval_id = "".join(secrets.choice(_LETTERS) for _ in range(_LENGTH))
    now = approving.now(connection)
    row = connection.execute(
        sa.insert(approvals)
        .values(
            id=approval_id,
            tenant=wanted.tenant,
            anchor=wanted.anchor,
            digest=wanted.digest,
            subject=wanted.subject,
            args=approving.canonical(wanted.args),
            shown=wanted.shown,
            effect=wanted.effect,
            policy=wanted.policy.model_dump(mode="json"),
            requester_id=wanted.requester_id,
            requester_name=wanted.requester_name,
            origin=None if wanted.origin is None else wanted.origin.model_dump(mode="json"),
            language=wanted.language,
            message_id=wanted.message_id,
            run_id=wanted.run_id,
            step=wanted.step,
            created_at=now,
            expires_at=now + wanted.policy.lifetime,
            next_at=now + wanted.policy.lifetime,
        )
        .returning(approvals)
    ).one()
    made = approving.whole(connection, row)
    connection.execute(
        sa.update(approvals).where(approvals.c.id == made.id).values(next_at=approving.due_after(made, now, 0))
    )
    return made


def where_to_ask(
    connection: sa.Connection, approval: Approval, rules: tuple[str, ...], look_up: LookUp
) -> list[Address]:
    """Return where these people are asked: the policy's place, where it was wanted, or their direct conversations."""
    if approval.policy.conversation is not None:
        return [approval.policy.conversation]
    if approval.origin is not None and _is_group(connection, approval.origin):
        return [approval.origin]
    asked = Policy(approvers=rules)
    known = connection.scalars(
        sa.select(conversations.c.principal_id)
        .where(conversations.c.tenant == approval.tenant, conversations.c.direct, conversations.c.principal_id != "")
        .group_by(conversations.c.principal_id)
        .order_by(sa.func.max(conversations.c.active_at).desc())
        .limit(MOST_PEOPLE)
    ).all()
    people = [person for person in map(look_up, known) if person is not None and asked.admits(person, escalated=False)]
    others = {p.id for p in people if p.id != approval.requester_id or approval.policy.requester_may_approve}
    found = direct_places(connection, approval.tenant, others)
    return found or ([approval.origin] if approval.origin is not None else [])


def direct_places(connection: sa.Connection, tenant: str, principal_ids: set[str]) -> list[Address]:
    """Return the direct conversation in which each of these people was active last."""
    rows = connection.execute(
        sa.select(conversations)
        .where(
            conversations.c.tenant == tenant,
            conversations.c.direct,
            conversations.c.principal_id.in_(principal_ids),
            conversations.c.channel.not_in(["rest", "callback"]),
        )
        .ext(distinct_on(conversations.c.principal_id))
        .order_by(conversations.c.principal_id, conversations.c.active_at.desc())
        .limit(MOST_ASKED)
    )
    return [Address(tenant=tenant, channel=row.channel, conversation=row.conversation) for row in rows]


def _is_group(connection: sa.Connection, address: Address) -> bool:
    query = sa.select(conversations.c.direct).where(
        conversations.c.tenant == address.tenant,
        conversations.c.channel == address.channel,
        conversations.c.conversation == address.conversation,
    )
    return connection.scalar(query) is False
