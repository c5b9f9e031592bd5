"""A client of the chat socket that keeps what it is told, as the page does."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

Frame = dict[str, Any]


class Chat:
    """Frames in the order of arrival."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.frames: list[Frame] = []

    async def send(self, **frame: object) -> None:
        await self.socket.send(json.dumps(frame))

    async def say(self, text: str, event_id: str) -> str:
        """Send a message; its id once it is accepted."""
        await self.send(type="message", event_id=event_id, text=text)
        accepted = await self.until(lambda f: f["type"] == "accepted" and f["event_id"] == event_id)
        return str(accepted["message_id"])

    async def until(self, found: Callable[[Frame], bool], seconds: float = 40) -> Frame:
        """Read frames up to the one that is looked for."""
        try:
            async with asyncio.timeout(seconds):
                while True:
                    frame: Frame = json.loads(await self.socket.recv())
                    self.frames.append(frame)
                    if found(frame):
                        return frame
        except TimeoutError as error:
            raise AssertionError(f"not within {seconds} s, after {self.frames[-5:]}") from error

    async def settled(self, message_id: str) -> Frame:
        return await self.until(lambda f: f["type"] == "settled" and f["message_id"] == message_id)

    def of(self, kind: str) -> list[Frame]:
        return [frame for frame in self.frames if frame["type"] == kind]

    @property
    def last_entry(self) -> int:
        return max((frame["id"] for frame in self.of("entry")), default=0)


@asynccontextmanager
async def chatting(
    url: str,
    conversation: str,
    *,
    token: str | None,
    after: int = 0,
    channel: str = "web",
    headers: dict[str, str] | None = None,
) -> AsyncGenerator[Chat]:
    """Connect, say hello, and wait for `ready`."""
    address = f"{url}?conversation={conversation}&channel={channel}"
    async with connect(address, additional_headers=headers, proxy=None) as socket:
        chat = Chat(socket)
        hello: Frame = {"type": "hello", "after": after}
        await chat.send(**(hello | {"token": token} if token else hello))
        await chat.until(lambda frame: frame["type"] in {"ready", "problem"})
        yield chat
