"""The channels of people who ask us for their answers: web page, terminal and REST.

Their medium is the transcript. An answer is there in the transaction that settles its message, the database
tells every gateway, and sockets and waiting requests read it from there; so there is nothing left to send.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from integrations.channels import Capabilities, Channel, Receive
from integrations.messages import MAX_TEXT, Delivery, OutboundMessage
from integrations.settings import Settings

NAMES = ("web", "terminal", "rest")
CAPABILITIES = Capabilities(
    markdown=True,
    buttons=True,
    forms=True,
    secret_fields=True,
    files=True,
    pictures=True,
    streaming="none",
    max_text=MAX_TEXT,
    push="WebSocket",
)


@dataclass(frozen=True)
class Transcript:
    """A channel whose conversations live in the transcript alone."""

    name: str
    repeatable: bool = True
    capabilities: Capabilities = CAPABILITIES

    async def listen(self, receive: Receive) -> None:
        """Return at once: the gateway's own routes receive for these channels."""

    async def send(self, message: OutboundMessage) -> Delivery:  # noqa: ARG002 - the transcript holds it already
        """Confirm that it can be read, which it can since it was enqueued."""
        return Delivery(state="sent")


def connect(settings: Settings) -> Iterable[Channel]:  # noqa: ARG001 - always there
    """Return all three."""
    return [Transcript(name) for name in NAMES]
