"""Teams' own streaming, which only chats of two have: `typing` activities with the whole text so far.

At most one request a second, two minutes in all, sequence numbers from 1; the last is a message without a number.
learn.microsoft.com/microsoftteams/platform/bots/streaming-ux
"""

from collections.abc import Awaitable, Callable
from typing import Any

from integrations.errors import Rejected
from integrations.messages import Delivery, OutboundMessage

Json = dict[str, Any]
Post = Callable[[Json], Awaitable[Delivery]]


class TypedAnswer:
    """One answer that is being typed."""

    def __init__(
        self,
        post: Post,
        send: Callable[[OutboundMessage], Awaitable[Delivery]],
        build: Callable[[OutboundMessage], Json],
    ) -> None:
        self._post = post
        self._send = send
        self._build = build
        self._id: str | None = None
        self._sequence = 0

    @property
    def handle(self) -> str | None:
        """The stream's id."""
        return self._id

    async def update(self, text: str) -> None:
        """Show the whole text so far."""
        if not text.strip():
            return
        self._sequence += 1
        entity: Json = {"type": "streaminfo", "streamType": "streaming", "streamSequence": self._sequence}
        if self._id is not None:
            entity["streamId"] = self._id
        delivery = await self._post({"type": "typing", "text": text, "entities": [entity]})
        self._id = self._id or delivery.platform_id

    async def finish(self, message: OutboundMessage) -> Delivery:
        """End the stream with the final message; a stream that Teams has ended by itself leaves a new message."""
        if self._id is None:
            return await self._send(message)
        try:
            return await end(self._post, self._id, self._build(message))
        except Rejected:
            self._id = None
            return await self._send(message)


async def end(post: Post, stream_id: str, activity: Json) -> Delivery:
    """Put the final activity in the place of a stream; raises Rejected where Teams has ended it by itself."""
    entity = {"type": "streaminfo", "streamType": "final", "streamId": stream_id}
    delivery = await post({**activity, "entities": [entity]})
    return delivery if delivery.platform_id else delivery.model_copy(update={"platform_id": stream_id})
