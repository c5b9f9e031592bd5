"""The live chat over WebSocket, as `runbell chat` uses it: reconnects, catches up, and says nothing twice."""

import asyncio
import json
import random
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import cast
from urllib.parse import urlencode

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from integrations.errors import Unauthorized
from integrations.gateway.client import refuse_strangers
from integrations.security.tokens import read_token

Frame = Mapping[str, object]
UNAUTHORIZED = 4401
MOST_S = 10.0


class LiveChat:
    """One conversation. `after` is the largest transcript id that was shown; it grows as entries arrive."""

    def __init__(self, url: str, home: Path, conversation: str, *, after: int = 0) -> None:
        query = urlencode({"conversation": conversation, "channel": "terminal"})
        self._url = f"{url.replace('http', 'ws', 1)}/v1/chat?{query}"
        self._token = read_token(home)
        self._check = partial(refuse_strangers, url, home)
        self._unconfirmed: dict[str, str] = {}
        self._socket: ClientConnection | None = None
        self.after = after

    async def say(self, text: str) -> str:
        """Send a message, now or when the connection is back; return its event id."""
        event_id = str(uuid.uuid4())
        self._unconfirmed[event_id] = text
        if self._socket is not None:
            # Where that fails, it is sent again after the next hello.
            with suppress(ConnectionClosed):
                await self._send_message(self._socket, event_id, text)
        return event_id

    async def frames(self) -> AsyncIterator[Frame]:
        """Yield frames for ever, over as many connections as it takes; `{"type": "lost"}` tells of each loss.

        Raises Unauthorized where the token is refused, NotUp where another user's process has taken the port.
        """
        failures = 0
        while True:
            self._check()
            try:
                async with connect(self._url, proxy=None, max_size=4_000_000, open_timeout=10) as socket:
                    failures = 0
                    async for frame in self._converse(socket):
                        yield frame
            except ConnectionClosed as closed:
                if closed.rcvd is not None and closed.rcvd.code == UNAUTHORIZED:
                    raise Unauthorized("The gateway refuses the token of RUNBELL_HOME/token.") from closed
            except (OSError, TimeoutError, InvalidHandshake):
                pass
            finally:
                self._socket = None
            yield {"type": "lost", "attempt": failures}
            failures += 1
            await asyncio.sleep(min(MOST_S, 0.3 * 2 ** min(failures, 10)) * (0.5 + random.random() / 2))  # noqa: S311

    async def _converse(self, socket: ClientConnection) -> AsyncIterator[Frame]:
        await socket.send(json.dumps({"type": "hello", "token": self._token, "after": self.after}))
        async for data in socket:
            frame = cast("Frame", json.loads(data))
            if frame["type"] == "ready":
                for event_id, text in list(self._unconfirmed.items()):
                    await self._send_message(socket, event_id, text)
                self._socket = socket
            self._note(frame)
            yield frame

    def _note(self, frame: Frame) -> None:
        if frame["type"] == "entry":
            self.after = max(self.after, int(cast("int", frame["id"])))
        elif frame["type"] in ("accepted", "problem"):
            self._unconfirmed.pop(str(frame.get("event_id")), None)

    async def _send_message(self, socket: ClientConnection, event_id: str, text: str) -> None:
        await socket.send(json.dumps({"type": "message", "event_id": event_id, "text": text}, ensure_ascii=False))
