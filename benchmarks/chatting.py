"""People at the chat socket: one who says commands, and one who listens to long answers and counts their words."""

import asyncio
import json
import secrets
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from websockets.asyncio.client import ClientConnection, connect

PATIENCE_S = 120


class Chatter:
    """One conversation over one socket; one message at a time."""

    def __init__(self, url: str, token: str, conversation: str) -> None:
        self._url = f"{url}?conversation={conversation}&channel=terminal"
        self._token = token
        self._answered: dict[str, asyncio.Future[tuple[str, str]]] = {}
        self._ids: dict[str, str] = {}
        self._early: dict[str, str] = {}
        self._socket: ClientConnection
        self._reading: asyncio.Task[None]
        self.conversation = conversation

    async def __aenter__(self) -> Self:
        self._socket = await connect(self._url, proxy=None, max_size=4_000_000, open_timeout=60)
        await self._socket.send(json.dumps({"type": "hello", "token": self._token, "after": 0}))
        ready = asyncio.Event()
        self._reading = asyncio.create_task(self._read(ready))
        await asyncio.wait_for(ready.wait(), PATIENCE_S)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reading.cancel()
        with suppress(asyncio.CancelledError):
            await self._reading
        await self._socket.close()

    async def ask(self, text: str) -> tuple[str, str]:
        """Say something; return the message's id and its answer."""
        event_id = secrets.token_hex(8)
        future = self._answered[event_id] = asyncio.get_running_loop().create_future()
        await self._socket.send(json.dumps({"type": "message", "event_id": event_id, "text": text}))
        return await asyncio.wait_for(future, PATIENCE_S)

    async def _read(self, ready: asyncio.Event) -> None:
        async for data in self._socket:
            frame = json.loads(data)
            match frame["type"]:
                case "ready":
                    ready.set()
                case "accepted":
                    self._ids[frame["message_id"]] = frame["event_id"]
                    if (text := self._early.pop(frame["message_id"], None)) is not None:
                        self._answer(frame["message_id"], text)
                case "problem":
                    raise SystemExit(f"{self.conversation}: {frame}")
                case "entry" if frame["role"] == "assistant" and frame["message_id"] in self._ids:
                    self._answer(frame["message_id"], frame["text"])
                case "entry" if frame["role"] == "assistant":  # the answer may overtake what tells its message's id
                    self._early[frame["message_id"]] = frame["text"]
                case _:
                    self._hear(frame)

    def _answer(self, message_id: str, text: str) -> None:
        self._answered.pop(self._ids.pop(message_id)).set_result((message_id, text))

    def _hear(self, frame: dict[str, Any]) -> None:
        """Nothing but answers matters here."""


class Session(Chatter):
    """Asks for a long answer, and for the next one as soon as it has come."""

    def __init__(self, url: str, token: str, conversation: str, words: int) -> None:
        super().__init__(url, token, conversation)
        self._words = words
        self._growing: dict[str, str] = {}
        self._seq: dict[str, int] = {}
        self.streams = asyncio.Event()
        self.words_heard = 0
        self.answers = 0
        self.wrong: list[str] = []

    async def speak(self, stop: asyncio.Event, *, after_s: float) -> None:
        """Ask until told to stop; each word must have come once, in order, while it was said and in the answer."""
        await asyncio.sleep(after_s)
        while not stop.is_set():
            topic = f"{self.conversation}-{self.answers}"
            message_id, answer = await self.ask(f"Please recite {topic}")
            self.answers += 1
            expected = [f"{topic}-{number}" for number in range(self._words)]
            for name, text in (("streamed", self._growing.pop(message_id, "")), ("answered", answer)):
                if text.split()[: self._words] != expected or text.count(f"{topic}-") != self._words:
                    self.wrong.append(f"{topic} {name}: {text[:2000]}")

    def _hear(self, frame: dict[str, Any]) -> None:
        if frame["type"] == "snapshot":
            self._seq[frame["message_id"]] = frame["seq"]
            self._grow(frame["message_id"], frame["partial"], whole=True)
        elif frame["type"] == "progress":
            message_id, seq, body = frame["message_id"], frame["seq"], frame["body"]
            if seq <= self._seq.get(message_id, 0):
                self.wrong.append(f"{self.conversation}: progress {seq} after {self._seq[message_id]}")
            self._seq[message_id] = seq
            if body["type"] in ("delta", "reset"):
                self._grow(message_id, body.get("text", ""), whole=body["type"] == "reset")

    def _grow(self, message_id: str, text: str, *, whole: bool = False) -> None:
        before = self._growing.get(message_id, "")
        now = self._growing[message_id] = text if whole else before + text
        self.words_heard += max(now.count(" ") - before.count(" "), 0)
        if now:
            self.streams.set()
