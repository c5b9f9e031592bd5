"""Op `receive`: fetch the message that this run answers."""

from dataclasses import replace

import dagster as dg

from integrations.database import Database, MessageView
from integrations.errors import NotFound
from integrations.messages import utc_now
from integrations.settings import Settings
from orchestration.commands.language import language_of
from orchestration.commands.model_choice import still_allowed
from orchestration.ops.answering.scopes import conversation_url
from orchestration.ops.answering.values import Heard

MOST_CHARACTERS = 12_000
"""Of a longer message only the beginning is considered: no context holds more, and the answer says so."""


class ReceiveConfig(dg.Config):
    """Which message to answer."""

    message_id: str


@dg.op(description="Fetch the message.")
def receive(
    context: dg.OpExecutionContext,
    config: ReceiveConfig,
    database: dg.ResourceParam[Database],
    settings: dg.ResourceParam[Settings],
) -> Heard:
    """Return the message, cut to what can be considered."""
    view = database.inbox.get(config.message_id)
    if view is None:
        raise NotFound(f"there is no message {config.message_id}; it may have been removed by the retention")
    known = database.transcript.known(view.address)
    model = still_allowed(known.model if known else None, settings, view.address.tenant)
    heard = replace(heard_of(view, direct=known is None or known.direct), model=model)
    context.add_output_metadata(
        {
            "message_id": heard.message_id,
            "channel": heard.address.channel,
            "characters": heard.characters,
            "language": heard.language,
            "conversation": dg.MetadataValue.url(conversation_url(settings, heard.address)),
        }
    )
    return heard


def heard_of(view: MessageView, *, direct: bool) -> Heard:
    """Return what the assistant needs of a message."""
    return Heard(
        message_id=view.message_id,
        address=view.address,
        principal_id=view.principal_id or "",
        direct=direct,
        text=view.text[:MOST_CHARACTERS],
        characters=len(view.text),
        language=language_of(view.text),
        accepted_at=view.receipt.accepted_at or utc_now(),
        traceparent=view.traceparent,
    )
