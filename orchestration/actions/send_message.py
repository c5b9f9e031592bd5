"""Action `send_message`: post into this conversation, one's own direct ones, or any as an administrator."""

from pydantic import Field

from integrations.errors import Forbidden
from integrations.messages import MAX_TEXT, Address, OutboundMessage
from integrations.settings import Settings
from orchestration.actions import Arguments, Effect, Means, Occasion, Outcome


class Post(Arguments):
    """What to say and where; without a conversation it is said in this one."""

    text: str = Field(min_length=1, max_length=MAX_TEXT)
    channel: str | None = None
    conversation: str | None = None


class SendMessage:
    """Posts through the outbox, once for each key."""

    name = "send_message"
    summary = "Post a message into a conversation."
    arguments = Post

    def effect(self, args: Post, settings: Settings) -> Effect:  # noqa: ARG002 - the protocol's
        """It writes."""
        return "write"

    def preview(self, args: Post, settings: Settings) -> str:  # noqa: ARG002
        """Say where to, and how much."""
        where = f"{args.conversation} on {args.channel}" if args.conversation else "this conversation"
        return f"would post {len(args.text)} characters into {where}"

    def carry_out(self, args: Post, means: Means, occasion: Occasion) -> Outcome:
        """Queue it. Raises `Forbidden` where the principal may not post there."""
        here = occasion.address
        address = Address(
            channel=args.channel or here.channel,
            conversation=args.conversation or here.conversation,
            tenant=here.tenant,
        )
        if address != here and not _may(address, means, occasion):
            raise Forbidden("Messages go into this conversation or one's own direct ones; others are an admin's.")
        message = OutboundMessage(address=address, text=args.text, kind="post")
        fresh = means.database.outbox.post(message, key=occasion.key)
        told = "Queued" if fresh else "Was queued before"
        return Outcome(text=f"{told} for {address.conversation} on {address.channel}.", data={"fresh": fresh})


def _may(address: Address, means: Means, occasion: Occasion) -> bool:
    if "admin" in occasion.principal.roles:
        return True
    return means.database.transcript.owner(address) == (True, occasion.principal.id)


ACTION = SendMessage()
