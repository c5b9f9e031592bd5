"""Reading one message with its replies and receipt."""

from typing import Any

import sqlalchemy as sa

from integrations.approvals import words
from integrations.approvals.values import Approval
from integrations.database import approving
from integrations.database.approval_tables import approvals
from integrations.database.conversation import entry
from integrations.database.records import MessageView
from integrations.database.tables import inbox, progress, transcript
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
    waits_for, approval = _waiting(connection, row) if row.state == MessageStatus.WAITING else ("", None)
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
        waits_for=waits_for,
        approval=approval,
    )


def _waiting(connection: sa.Connection, row: Any) -> tuple[str, Approval | None]:
    """Return why a message waits: for an approval before or inside its run, or for what the run itself said last."""
    pending = connection.execute(
        sa.select(approvals)
        .where(approvals.c.message_id == row.id, approvals.c.state == "pending")
        .order_by(approvals.c.seq.desc())
        .limit(1)
    ).first()
    if pending is not None:
        approval = approving.whole(connection, pending)
        return words.whom(approval), approval
    told = connection.scalar(
        sa.select(progress.c.body["text"].astext)
        .where(progress.c.message_id == row.id, progress.c.body["type"].astext == "status")
        .order_by(progress.c.seq.desc())
        .limit(1)
    )
    return told or "", None
