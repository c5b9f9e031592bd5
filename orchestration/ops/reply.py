"""Op `reply`: write the answer and settle the message, in one transaction."""

import time

import dagster as dg

from integrations.database import Database
from integrations.messages import OutboundMessage
from integrations.settings import Settings
from orchestration.ops.answering.scopes import conversation_url
from orchestration.ops.answering.values import Deed, Heard


@dg.op(
    description="Write the answer to the outbox and settle the message.",
    # All earlier step events are committed before the answer can be seen.
    tags={"runbell/acts": "true"},
)
def reply(
    context: dg.OpExecutionContext,
    heard: Heard,
    deed: Deed,
    database: dg.ResourceParam[Database],
    settings: dg.ResourceParam[Settings],
) -> bool:
    """Return whether this run answered; false where the message was settled before, which changes nothing."""
    began = time.monotonic()
    message = OutboundMessage(
        address=heard.address,
        text=deed.text,
        choices=deed.choices,
        message_id=heard.message_id,
        run_id=context.run_id,
    )
    answered = database.inbox.answer(heard.message_id, [message], run_id=context.run_id)
    milliseconds = round((time.monotonic() - began) * 1000, 1)
    context.add_output_metadata(
        {
            "answered": answered,
            "characters": len(deed.text),
            "milliseconds": milliseconds,
            "conversation": dg.MetadataValue.url(conversation_url(settings, heard.address)),
            **({"model": deed.model} if deed.model else {}),
        }
    )
    return answered
