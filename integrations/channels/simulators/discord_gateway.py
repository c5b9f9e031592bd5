"""The gateway of the simulated Discord: sessions that outlive their connections, heartbeats, resuming, refusals.

`heartbeat_s` is how often it wants to hear from its client, `deaf` that it answers no heartbeat, `contents_allowed`
that the bot may ask for the Message Content Intent, `remaining` how many sessions it may begin today.
"""

import asyncio
import itertools
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, cast

from aiohttp import web

from integrations.channels.simulators.base import Ended, Simulator, texts

Json = dict[str, Any]
CONTENT, KNOWN = 1 << 15, (1 << 26) - 1
KEPT = 1000


@dataclass(slots=True)
class Session:
    """One session: what was sent, so that it can be sent again, and where its client is."""

    id: str
    events: list[Json] = field(default_factory=list[Json])
    sent: int = 0
    socket: web.WebSocketResponse | None = None

    def event(self, kind: str, data: Json) -> Json:
        """Number an event."""
        self.sent += 1
        self.events = [*self.events, {"op": 0, "t": kind, "s": self.sent, "d": data}][-KEPT:]
        return self.events[-1]


class Gateway(Simulator):
    """The part of Discord that a bot stays connected to."""

    def __init__(self) -> None:
        super().__init__()
        self.token, self.bot_id = "b0t-t0ken", "999000111"
        self.heartbeat_s, self.deaf, self.remaining = 30.0, False, 1000
        self.contents_allowed = self.reads_contents = False
        self.sessions: dict[str, Session] = {}
        self.identified: list[Json] = []
        self.resumed: list[Json] = []
        self.beats: list[object] = []
        self._session_ids = itertools.count(1)

    def routes(self) -> Iterable[web.RouteDef]:
        """Return the gateway and the address that tells where it is."""
        return [web.get("/api/v10/gateway/bot", self._where), web.get("/gateway/", self._gateway)]

    @property
    def connected(self) -> bool:
        """Whether a client takes events now."""
        return any(session.socket is not None and not session.socket.closed for session in self.sessions.values())

    async def dispatch(self, kind: str, data: Json) -> None:
        """Send an event to every session; one without a client gets it when it resumes."""
        for session in self.sessions.values():
            event = session.event(kind, data)
            if session.socket is not None and not session.socket.closed:
                try:
                    await session.socket.send_json(event)
                except ConnectionError:
                    session.socket = None

    async def order(self, code: int, data: object = None) -> None:
        """Send a frame that is no event: 1 (beat now), 7 (reconnect), 9 (the session is invalid)."""
        if code == 9 and not data:
            self.sessions.clear()
        for socket in self.sockets:
            await socket.send_json({"op": code, "d": data})

    async def hang_up(self, code: int) -> None:
        """Close all connections with a code."""
        for socket in self.sockets:
            await socket.close(code=code)

    async def _where(self, request: web.Request) -> web.StreamResponse:
        await self.meet(request, "gateway", {})
        if request.headers.get("Authorization") != f"Bot {self.token}":
            raise Ended(web.json_response({"message": "401: Unauthorized", "code": 0}, status=401))
        limit = {"total": 1000, "remaining": self.remaining, "reset_after": 60_000, "max_concurrency": 1}
        return web.json_response({"url": f"{self.ws_url}/gateway", "shards": 1, "session_start_limit": limit})

    async def _gateway(self, request: web.Request) -> web.StreamResponse:
        if (request.query.get("v"), request.query.get("encoding")) != ("10", "json"):
            raise Ended(web.Response(status=400))
        socket = await self.socket(request)
        await socket.send_json({"op": 10, "d": {"heartbeat_interval": self.heartbeat_s * 1000}})
        greeted = False
        async for raw in texts(socket):
            frame = cast("Json", json.loads(raw))
            code, data = frame["op"], frame["d"]
            if code == 1:
                self.beats.append(data)
                if not self.deaf:
                    await socket.send_json({"op": 11})
            elif code in (2, 6) and greeted:
                await socket.close(code=4005)
            elif code == 2:
                greeted = True
                await self._identify(socket, data)
            elif code == 6:
                greeted = True
                await self._resume(socket, data)
            else:
                await socket.close(code=4001)
            self.changed()
        return socket

    async def _identify(self, socket: web.WebSocketResponse, data: Json) -> None:
        self.identified.append(data)
        if refusal := self._refusal(data):
            await socket.close(code=refusal)
            return
        self.remaining -= 1
        self.reads_contents = bool(data["intents"] & CONTENT)
        session = Session(f"session-{next(self._session_ids)}", socket=socket)
        self.sessions[session.id] = session
        ready = {
            "v": 10,
            "user": {"id": self.bot_id, "username": "Runbell", "bot": True},
            "guilds": [],
            "session_id": session.id,
            "resume_gateway_url": f"{self.ws_url}/gateway",
        }
        await socket.send_json(session.event("READY", ready))

    def _refusal(self, data: Json) -> int:
        if data.get("token") != self.token:
            return 4004
        if not isinstance(data.get("intents"), int) or data["intents"] & ~KNOWN or not data.get("properties"):
            return 4013
        return 4014 if data["intents"] & CONTENT and not self.contents_allowed else 0

    async def _resume(self, socket: web.WebSocketResponse, data: Json) -> None:
        self.resumed.append(data)
        session = self.sessions.get(str(data["session_id"]))
        if data.get("token") != self.token:
            await socket.close(code=4004)
        elif session is None:
            await asyncio.sleep(0)
            await socket.send_json({"op": 9, "d": False})
        elif data["seq"] > session.sent:
            await socket.close(code=4007)
        else:
            session.socket = socket
            for event in [event for event in session.events if event["s"] > data["seq"]]:
                await socket.send_json(event)
            await socket.send_json(session.event("RESUMED", {}))
