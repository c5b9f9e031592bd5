"""What callers asked to be told: one outbox row per change of a run's state, in the transaction that changes it."""

import json
import uuid
from collections.abc import Sequence

import sqlalchemy as sa

from integrations.database.outbox import queue
from integrations.messages import Address, OutboundMessage, run_id_for, utc_now

CHANNEL = "callback"
"""The channel of these rows; a conversation is the address to call."""


def tell(
    connection: sa.Connection,
    url: str | None,
    message_id: str,
    tenant: str,
    status: str,
    *,
    run_id: str | None = None,
    replies: Sequence[OutboundMessage] = (),
) -> None:
    """Queue the news that a message's run is `status` now, where somebody asked for it with an address."""
    if url is None:
        return
    address = Address(channel=CHANNEL, conversation=url, tenant=tenant)
    told = {
        "type": f"run.{status}",
        "timestamp": utc_now().isoformat(),
        "data": {
            "message_id": message_id,
            "run_id": run_id or run_id_for(message_id),
            "status": status,
            "replies": [{"text": reply.text} for reply in replies],
        },
    }
    text = json.dumps(told, ensure_ascii=False)
    queue(connection, OutboundMessage(address=address, text=text, kind="notice"), f"callback-{uuid.uuid4()}")
