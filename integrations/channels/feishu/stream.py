"""CardKit: one card whose text grows as if it were typed, then becomes the whole answer.

POST cardkit/v1/cards, sent as a message, PUT …/elements/:id/content with the whole text so far and a sequence that
only grows, then the streaming mode off and the final card. Ten operations per second and card.
"""

import itertools
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from integrations.channels.feishu.api import Api
from integrations.channels.feishu.cards import ELEMENT, growing, write
from integrations.messages import Delivery, OutboundMessage

Post = Callable[[str], Awaitable[str]]
Build = Callable[[OutboundMessage], Mapping[str, Any]]
_EPOCH = 1_760_000_000  # Sequences are 32-bit; seconds since 2025 grow beyond each earlier attempt to end a card.


class CardStream:
    """One growing answer."""

    def __init__(self, api: Api, card_id: str, platform_id: str, build: Build, *, sequence: int = 1) -> None:
        self._api = api
        self._path = f"/cardkit/v1/cards/{card_id}"
        self._platform_id = platform_id
        self._build = build
        self._sequence = itertools.count(sequence)
        self.handle = f"{card_id} {platform_id}"

    @classmethod
    def inherited(cls, api: Api, handle: str, build: Build) -> "CardStream":
        """Return a stream that a process, now gone, has begun; sequences go on beyond what that one can have used."""
        card_id, _, platform_id = handle.partition(" ")
        return cls(api, card_id, platform_id, build, sequence=int(time.time() - _EPOCH))

    @classmethod
    async def open(cls, api: Api, message: OutboundMessage, *, post: Post, build: Build) -> "CardStream":
        """Make a card and send it."""
        body = {"type": "card_json", "data": write(growing(message.text))}
        card_id = str((await api.call("POST", "/cardkit/v1/cards", json=body))["card_id"])
        platform_id = await post(write({"type": "card", "data": {"card_id": card_id}}))
        return cls(api, card_id, platform_id, build)

    async def update(self, text: str) -> None:
        """Show the text so far; Feishu types what is new where the old text is its beginning."""
        await self._put(f"/elements/{ELEMENT}/content", {"content": text or "…"})

    async def finish(self, message: OutboundMessage) -> Delivery:
        """Stop typing and show the final card, with its buttons."""
        settings = write({"config": {"streaming_mode": False}})
        body = {"settings": settings, "sequence": next(self._sequence)}
        await self._api.call("PATCH", f"{self._path}/settings", json=body)
        await self._put("", {"card": {"type": "card_json", "data": write(self._build(message))}})
        return Delivery(state="sent", platform_id=self._platform_id)

    async def _put(self, path: str, body: Mapping[str, object]) -> None:
        await self._api.call("PUT", self._path + path, json={**body, "sequence": next(self._sequence)})
