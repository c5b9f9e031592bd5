"""People, a message that waits for an approval, and words said to it, for the tests of approvals."""

import itertools
from datetime import timedelta

import sqlalchemy as sa

from integrations.approvals.policy import Policy
from integrations.approvals.values import Answer, Approval, NewApproval, Verdict
from integrations.database import Database
from integrations.database.approvals import Word
from integrations.database.tables import principals
from integrations.messages import Address, InboundMessage, Principal

EVENTS = itertools.count()
HERE = Address(channel="telegram", conversation="ada")
OFFICE = Address(channel="slack", conversation="C-office")
MANAGERS = Policy(approvers=("role:manager",), conversation=OFFICE)


def person(database: Database, name: str, *roles: str, channel: str = "slack") -> Principal:
    return database.principals.resolve("default", channel, name, name=name.title(), roles=("user", *roles))


def held(
    database: Database, policy: Policy = MANAGERS, *, by: Principal | None = None, text: str = "/refund order=7"
) -> Approval:
    """Let a message wait for its approval."""
    requester = by or person(database, "ada")
    message = InboundMessage(address=HERE, event_id=f"a{next(EVENTS)}", account="ada", text=text, ref=f"m-{text}")
    database.inbox.receive([message])
    (claimed,) = database.inbox.claim("w1")
    wanted = NewApproval(
        subject="refund",
        args={"order": "7"},
        shown=text,
        policy=policy,
        requester_id=requester.id,
        requester_name=requester.name,
        tenant="default",
        origin=HERE,
        message_id=claimed.message_id,
    )
    return database.inbox.hold(claimed, wanted, database.principals.now)


def say(
    database: Database, approval: Approval, who: Principal, verdict: Verdict = "approve", reason: str = ""
) -> Answer:
    return database.approvals.decide(Word(approval.id, who, verdict, reason, via="slack"))


def now(database: Database, approval: Approval) -> Approval:
    found = database.approvals.get(approval.id, "default")
    assert found is not None
    return found


def set_roles(database: Database, who: Principal, *roles: str) -> None:
    with database.engine.begin() as connection:
        connection.execute(sa.update(principals).where(principals.c.id == who.id).values(roles=list(roles)))


def let_pass(database: Database, approval: Approval, time: timedelta) -> None:
    """Make an approval so much older."""
    seconds = time.total_seconds()
    with database.engine.begin() as connection:
        connection.execute(
            sa.text(
                "update runbell.approvals set created_at = created_at - make_interval(secs => :s),"
                " expires_at = expires_at - make_interval(secs => :s), next_at = next_at - make_interval(secs => :s)"
                " where id = :id"
            ),
            {"s": seconds, "id": approval.id},
        )


def shown(database: Database, place: Address = OFFICE) -> list[str]:
    """Return all that was queued for a conversation, oldest first."""
    items = database.outbox.find(["queued", "sending", "sent"])
    return [item.message.text for item in reversed(items) if item.message.address == place]
