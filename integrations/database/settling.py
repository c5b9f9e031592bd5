"""What is written when a message is answered: its transcript entries, its outbox rows, the news for the gateways."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from integrations.database.callbacks import tell
from integrations.database.catalogue import close_proposal
from integrations.database.conversation import append_entry, touch_conversation
from integrations.database.engine import ORDINARY, in_turn, notify_all
from integrations.database.outbox import enqueue
from integrations.database.records import ClaimedMessage
from integrations.database.run_tables import run_queue
from integrations.database.tables import inbox
from integrations.errors import LeaseLost, NotFound
from integrations.messages import Address, MessageStatus, OutboundMessage


def check_fence(connection: sa.Connection, run_id: str, token: int) -> None:
    """Raise `LeaseLost` unless the run is still held under `token`; holds its row until commit."""
    held = connection.scalar(
        sa.select(run_queue.c.token).where(run_queue.c.run_id == run_id).with_for_update(read=True)
    )
    if held != token:
        raise LeaseLost(f"run {run_id} is no longer this worker's")


def decide(connection: sa.Connection, proposal: str | None) -> None:
    """Close the proposal that this message acts on, if any. Raises `NotFound` where it was decided before."""
    if proposal is not None and not close_proposal(connection, proposal):
        raise NotFound("this proposal was decided before, or has expired")


def record_utterance(connection: sa.Connection, claimed: ClaimedMessage, principal_id: str, run_id: str | None) -> None:
    """Add what the sender said to the transcript; takes the conversation's turn."""
    message = claimed.message
    in_turn(connection, message.address.tenant, message.address.channel, message.address.conversation)
    touch_conversation(connection, message.address, direct=message.direct, principal_id=principal_id)
    text = message.text or "/" + " ".join([message.command or "", *_shown(message.args)]).strip()
    body: dict[str, object] = {
        "text": text,
        "attachments": [a.model_dump() for a in message.attachments],
    }
    append_entry(
        connection,
        message.address,
        "user",
        body,
        claimed.message_id,
        run_id=run_id,
        principal_id=principal_id,
    )


def _shown(args: dict[str, object]) -> list[str]:
    return [f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in args.items()]


@dataclass(frozen=True, slots=True)
class Asked:
    """The message that is answered: where it was said, the platform's id of it (or of what was pressed), by whom."""

    message_id: str
    address: Address
    ref: str | None
    account: str
    event_id: str
    callback_url: str | None = None

    @classmethod
    def of(cls, claimed: ClaimedMessage) -> "Asked":
        """Return what a claimed message asked."""
        message = claimed.message
        ref = message.ref or message.subject
        return cls(claimed.message_id, message.address, ref, message.account, message.event_id, message.callback_url)


ASKED = (
    inbox.c.id,
    inbox.c.tenant,
    inbox.c.channel,
    inbox.c.conversation,
    inbox.c.account,
    inbox.c.event_id,
    sa.func.coalesce(inbox.c.body["ref"].astext, inbox.c.body["subject"].astext).label("ref"),
    inbox.c.body["callback_url"].astext.label("callback_url"),
)
"""The columns of `asked`."""


def asked(row: Any) -> Asked:
    """Return what a row of the inbox asked."""
    address = Address(tenant=row.tenant, channel=row.channel, conversation=row.conversation)
    return Asked(row.id, address, row.ref, row.account, row.event_id, row.callback_url)


def write_answer(
    connection: sa.Connection,
    question: Asked,
    replies: Sequence[OutboundMessage],
    status: MessageStatus,
    run_id: str | None,
) -> None:
    """Queue the replies, add them to the transcript, and tell the gateways and the next message's worker.

    Each reply is bound to the message that asked and to its account, unless it says otherwise itself.
    """
    message_id, address = question.message_id, question.address
    in_turn(connection, address.tenant, address.channel, address.conversation)
    last = 0
    for part, reply in enumerate(replies):
        whole = reply.model_copy(
            update={
                "message_id": message_id,
                "run_id": run_id or reply.run_id,
                "in_reply_to": reply.in_reply_to or question.ref,
                "asked": reply.asked or question.account,
            }
        )
        last = enqueue(connection, whole, f"{message_id}:{part}") or last
    tell(connection, question.callback_url, message_id, address.tenant, status.value, run_id=run_id, replies=replies)
    settled = {
        "message_id": message_id,
        "tenant": address.tenant,
        "channel": address.channel,
        "conversation": address.conversation,
        "status": status.value,
        "transcript_id": last,
    }
    notify_all(connection, ("runbell_settled", json.dumps(settled)), ("runbell_inbox", ORDINARY))
