"""Whose memory a message belongs to, and where its conversation is seen."""

from urllib.parse import urlencode

from integrations.memory.values import Scope
from integrations.messages import Address
from integrations.settings import Settings
from orchestration.ops.answering.values import Heard


def scope_of(heard: Heard) -> Scope:
    """Return the boundary of recollections: the person in a direct conversation, else the group."""
    return scope_at(heard.address, heard.principal_id, direct=heard.direct)


def scope_at(address: Address, principal_id: str, *, direct: bool) -> Scope:
    """Return the boundary of recollections of a place: of the person where it is a direct conversation."""
    if direct:
        return Scope.principal(address.tenant, principal_id)
    return Scope.conversation(address.tenant, address.channel, address.conversation)


def conversation_url(settings: Settings, address: Address) -> str:
    """Return the page of a conversation in the web chat."""
    query = {"conversation": address.conversation, "channel": address.channel}
    return f"{settings.gateway_url}/?{urlencode(query)}"
