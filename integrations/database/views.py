"""Reading one message with its replies and receipt."""

import sqlalchemy as sa

from integrations.database.conversation import entry
from integrations.database.records import MessageView
from integrations.database.tables import inbox, transcript
from integrations.messages import Address, MessageStatus, Receipt


def message_view(connection: sa.Connection, message_id: str) -> MessageView | None:
    """Return all that is known of a message, or None."""
    row = connection.execute(sa.select(inbox).where(inbox.c.id == message_id)).first()
    if row is None:
        return None
    replies = connection.execute(
        sa.select(transcript)
        .where(transcript.c.message_id == message_id, transcript.c.role == "assistant")
        .where(
            transcript.c.tenant == row.tenant,
            transcript.c.channel == row.channel,
            transcript.c.conversation == row.conversation,
        )
        .order_by(transcript.c.id)
        .limit(50)
    )
    stages = {name: getattr(row, name) for name in Receipt.model_fields}
    return MessageView(
        message_id=row.id,
        address=Address(tenant=row.tenant, channel=row.channel, conversation=row.conversation),
        event_id=row.event_id,
        principal_id=row.principal_id,
        account=row.account,
        text=row.body.get("text") or "",
        status=MessageStatus(row.state),
        run_id=row.run_id,
        error=row.error,
        receipt=Receipt(**stages),
        replies=tuple(entry(reply) for reply in replies),
        traceparent=row.traceparent,
    )
