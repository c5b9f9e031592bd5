"""Discord's gateway: one connection that identifies, beats, takes events, and resumes where the last one ended.

We speak it ourselves over aiohttp: this is a tenth of discord.py (2.7.1), whose client keeps caches, counts events as
taken before anything is stored, and reconnects without saying so. Here an event counts once it is stored, and a
connection resumes after the last event before which all are (`session.py`); Discord sends the rest again. That a
smaller number than the last one heard may be given is not said in its documents [U]; where it may not, 4007 or 9 begin
a new session.
(docs.discord.com/developers/events/gateway, topics/opcodes-and-status-codes)
"""

import asyncio
import json
import logging
import random
from collections.abc import Awaitable, Callable

import aiohttp

from integrations.channels import addresses
from integrations.channels.discord.api import Api
from integrations.channels.discord.session import Session
from integrations.channels.frames import read_frame
from integrations.channels.lanes import Lanes
from integrations.channels.link import Alive
from integrations.channels.members import Json, table, text
from integrations.errors import InvalidInput, Misconfigured, RateLimited, RunbellError, Unavailable

logger = logging.getLogger(__name__)
DISPATCH, BEAT, IDENTIFY, RESUME, RECONNECT, INVALID, HELLO, BEATEN = 0, 1, 2, 6, 7, 9, 10, 11
GUILD_MESSAGES, DIRECT_MESSAGES, MESSAGE_CONTENT = 1 << 9, 1 << 12, 1 << 15
HOSTS = (".discord.gg",)
AGAIN = 4000
HELLO_SECONDS, SILENCE_SECONDS, CLOSE_SECONDS = 20.0, 120.0, 0.5
INVALID_SECONDS = (1.0, 5.0)
MAX_FRAME = 8 * 1024 * 1024
NEW_SESSION = frozenset({4007, 4009})
FINAL = {
    4004: "Discord refuses bot_token: copy it from the application's Bot page.",
    4010: "The bot is in so many servers that Discord wants several connections, which Runbell does not hold.",
    4011: "The bot is in so many servers that Discord wants several connections, which Runbell does not hold.",
    4012: "Discord no longer speaks this version of its gateway: update Runbell.",
    4013: "Discord does not know the intents that were asked for: update Runbell.",
    4014: "The application may not read contents: switch on Bot → Privileged Gateway Intents → Message Content Intent, "
    "or set message_content = false.",
}
Handle = Callable[[str, Json], Awaitable[None]]
"""Store what an event says; TemporaryError brings it again over the next connection."""


async def converse(api: Api, session: Session, intents: int, handle: Handle, alive: Alive) -> None:
    """Hold one connection until it ends; raises Misconfigured where Discord refuses for good."""
    await asyncio.to_thread(session.load)
    url = await _address(api, session)
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=HELLO_SECONDS)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, trust_env=True) as http,
            http.ws_connect(
                url,
                max_msg_size=MAX_FRAME,
                timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_SECONDS),  # pyright: ignore[reportCallIssue] - attrs
            ) as socket,
        ):
            talk = _Talk(socket, session, handle, alive)
            await talk.run(api.token, intents)
    except aiohttp.ClientError as error:
        raise Unavailable(f"Discord's gateway can't be reached ({type(error).__name__}).") from None


class _Talk:
    """One connection's frames."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, session: Session, handle: Handle, alive: Alive) -> None:
        self._socket = socket
        self._session = session
        self._handle = handle
        self._alive = alive
        self._ready = False
        self._beaten = True
        self._error: BaseException | None = None
        self._lanes = Lanes(self._failed)
        self._closing: asyncio.Task[object] | None = None

    async def run(self, token: str, intents: int) -> None:
        """Greet, then take frames until the connection ends; raises why it did."""
        async with asyncio.timeout(HELLO_SECONDS):
            hello = _frame(await self._socket.receive())
        if hello.get("op") != HELLO:
            raise Unavailable("Discord's gateway did not greet.")
        await self._greet(token, intents)
        beat = asyncio.create_task(self._beat(float(table(hello, "d").get("heartbeat_interval") or 41_250) / 1000))
        try:
            async for raw in self._socket:
                await self._take(_frame(raw))
        finally:
            beat.cancel()
            await asyncio.gather(beat, return_exceptions=True)
            await self._lanes.end()
            self._session.save()
            if not self._socket.closed:
                # 1000 would end the session.
                await self._socket.close(code=AGAIN)
        self._conclude()

    async def _greet(self, token: str, intents: int) -> None:
        if self._session.id:
            resumed = {"token": token, "session_id": self._session.id, "seq": self._session.resume()}
            await self._say(RESUME, resumed)
            return
        properties = {"os": "linux", "browser": "runbell", "device": "runbell"}
        await self._say(IDENTIFY, {"token": token, "intents": intents, "properties": properties})

    async def _take(self, frame: Json) -> None:
        code = frame.get("op")
        if self._ready:
            self._alive()
        if code == DISPATCH:
            await self._dispatch(text(frame, "t"), frame.get("s"), table(frame, "d"))
        elif code == BEAT:
            await self._say(BEAT, self._session.heard)
        elif code == BEATEN:
            self._beaten = True
        elif code == RECONNECT:
            self._end(Unavailable("Discord asked for a new connection.", after=0.0))
        elif code == INVALID:
            if frame.get("d") is not True:
                self._session.forget()
            await asyncio.sleep(random.uniform(*INVALID_SECONDS))  # noqa: S311 - as Discord asks
            self._end(Unavailable("Discord ended the session.", after=0.0))

    async def _dispatch(self, kind: str, number: object, data: Json) -> None:
        if not isinstance(number, int):
            return
        self._session.hear(number)
        if kind in ("READY", "RESUMED"):
            if kind == "READY":
                self._session.begin(data)
                self._session.save()
            self._session.stored(number)
            self._ready = True
            self._alive()
            return

        async def work() -> None:
            await self._handle(kind, data)
            self._session.stored(number)

        # A person waits three seconds for an interaction, so nothing goes before it.
        await self._lanes.put("" if kind == "INTERACTION_CREATE" else str(data.get("channel_id") or ""), work)

    async def _beat(self, interval: float) -> None:
        """Beat; a beat that was not answered before the next means that the connection is dead."""
        await asyncio.sleep(interval * random.random())  # noqa: S311 - Discord wants the first one jittered
        while self._beaten:
            self._beaten = False
            await self._say(BEAT, self._session.heard)
            await asyncio.to_thread(self._session.save)
            await asyncio.sleep(interval)
        self._end(Unavailable("Discord's gateway no longer answers heartbeats.", after=0.0))

    async def _say(self, code: int, data: object) -> None:
        try:
            await self._socket.send_str(json.dumps({"op": code, "d": data}))
        except (aiohttp.ClientError, ConnectionError) as error:
            self._end(Unavailable(f"Discord's gateway is gone ({type(error).__name__}).", after=0.0))

    def _failed(self, error: BaseException) -> None:
        if not isinstance(error, RunbellError):
            logger.error("an event of Discord's could not be handled", exc_info=error)
        self._end(error)

    def _end(self, error: BaseException) -> None:
        self._error = self._error or error
        if self._closing is None:
            self._closing = asyncio.create_task(self._socket.close(code=AGAIN))

    def _conclude(self) -> None:
        """Raise why the connection ended."""
        if self._error is not None:
            raise self._error
        code = self._socket.close_code or 0
        if code in NEW_SESSION:
            self._session.forget()
        if code in FINAL:
            self._session.forget()
            raise Misconfigured(f"{FINAL[code]} ({code})")
        raise Unavailable(f"Discord closed the gateway ({code}).", after=0.0)


async def _address(api: Api, session: Session) -> str:
    """Return where to connect; raises RateLimited where so many sessions were begun today that Discord waits."""
    found = session.url if session.id else ""
    if not found:
        answer = await api.call("GET", "/gateway/bot", repeatable=True)
        found, limit = text(answer, "url"), table(answer, "session_start_limit")
        if limit.get("remaining") == 0:
            raise RateLimited("Discord lets the bot begin no more sessions today.", after=limit["reset_after"] / 1000)
    try:
        addresses.check(found.replace("ws", "http", 1), (*HOSTS, *api.origins))
    except InvalidInput as error:
        session.forget()
        raise Unavailable("Discord named a gateway that is not its own.") from error
    return f"{found.rstrip('/')}/?v=10&encoding=json"


def _frame(raw: aiohttp.WSMessage) -> Json:
    return read_frame(raw.data, "discord", limit=MAX_FRAME)
