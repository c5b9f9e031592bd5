"""Whose memory a message belongs to, and where its conversation is seen."""

from urllib.parse import urlencode

from integrations.memory.values import Scope
from integrations.messages import Address
from integrations.settings import Settings
from orchestration.ops.answering.values import Heard


def scope_of(heard: Heard) -> Scope:
    """Return the boundary of recollections: the person in a direct conversation, else the group."""
    address = heard.address
    if heard.direct:
        return Scope.principal(address.tenant, heard.principal_id)
    return Scope.conversation(address.tenant, address.channel, address.conversation)


def conversation_url(settings: Settings, address: Address) -> str:
    """Return the page of a conversation in the web chat."""
    query = {"conversation": address.conversation, "channel": address.channel}
    return f"{settings.gateway_url}/?{urlencode(query)}"
