"""A simulated Slack: what people do in it, and how it tells of it, by Socket Mode or signed HTTP events.

What the app calls is in `slack_api`, who may call in `slack_grants`. It keeps what was posted (`messages`), refuses bad
tokens, unknown channels and threads, texts, blocks and buttons that are too long, and delivers an event again when it
is not acknowledged: three times, like Slack, only sooner.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import Iterable, Mapping
from typing import Any

import aiohttp
from aiohttp import web

from integrations.channels.simulators.base import texts
from integrations.channels.simulators.slack_api import WebApi
from integrations.channels.simulators.slack_grants import APP, FIRST
from integrations.channels.simulators.slack_rules import signed, state
from integrations.settings_channels import Slack

Json = dict[str, Any]


class SimulatedSlack(WebApi):
    """A workspace with an app, and a second one that may install it; `redelivery_s` are pauses before redeliveries."""

    def __init__(self, *, redelivery_s: Iterable[float] = (0.3, 0.6, 1.2)) -> None:
        super().__init__()
        self.redelivery_s = tuple(redelivery_s)
        self.acknowledged: dict[str, Json] = {}
        self.request_url = ""

    def settings(self, mode: str = "socket") -> Slack:
        """Return the section of the settings that leads here."""
        tokens = {"bot_token": self.bot_token, "app_token": self.app_token, "signing_secret": self.signing_secret}
        return Slack.model_validate({"mode": mode, "api_url": f"{self.url}/api/", **tokens})

    def several(self, mode: str = "socket") -> Slack:
        """Return the section of an app that several workspaces install over OAuth."""
        app = {"client_id": self.grants.client_id, "client_secret": self.grants.client_secret}
        update: Json = {"workspaces": "several", "bot_token": None, **app}
        return self.settings(mode).model_copy(update=update)

    def routes(self) -> Iterable[web.RouteDef]:
        """Return what is served."""
        return [
            web.post("/api/{method}", self._api),
            web.get("/socket", self._socket),
            web.post("/upload/{id}", self._upload),
            web.get("/files/{name}", self._file),
            web.get("/oauth/v2/authorize", self._authorize),
        ]

    # What people do.

    async def say(self, channel: str, text: str, *, user: str = "U1", thread: str = "", **more: object) -> str:
        """Say something; returns its time stamp. A mention of `<@UBOT>` in a channel is an app_mention."""
        stamp = self._stamp()
        event: Json = {"type": "message", "user": user, "text": text, "channel": channel, "ts": stamp, **more}
        event |= {"event_ts": stamp, "channel_type": "im" if channel.startswith("D") else "channel"}
        event |= {"thread_ts": thread} if thread else {}
        team = self.grants.workspaces[self.grants.channels.get(channel, FIRST)]
        if not channel.startswith("D") and f"<@{team.bot}>" in text:
            event["type"] = "app_mention"
        await self.event(event, team=team.id)
        return stamp

    async def uninstall(self, team: str) -> None:
        """Remove the app from a workspace: its tokens end, and it is told so by two events."""
        self.grants.revoke(team)
        bot = self.grants.workspaces[team].bot
        await self.event({"type": "tokens_revoked", "tokens": {"oauth": [], "bot": [bot]}}, team=team)
        await self.event({"type": "app_uninstalled"}, team=team)

    async def event(self, event: Json, *, event_id: str = "", team: str = FIRST) -> str:
        """Deliver any event; returns its id."""
        event_id = event_id or f"Ev{next(self._count)}"
        bot = self.grants.workspaces[team].bot
        authorizations = [{"team_id": team, "user_id": bot, "is_bot": True}]
        payload = {"token": "t", "team_id": team, "api_app_id": APP, "type": "event_callback", "event": event}
        payload |= {"event_id": event_id, "event_time": int(time.time()), "authorizations": authorizations}
        await self.deliver("events_api", payload)
        return event_id

    async def command(self, command: str, text: str, *, channel: str = "D1", user: str = "U1") -> None:
        """Send a slash command."""
        team = self.grants.channels.get(channel, FIRST)
        where = {"channel_id": channel, "user_id": user, "user_name": "someone", "team_id": team}
        await self.deliver("slash_commands", {"command": command, "text": text, "trigger_id": self._trigger(), **where})

    async def press(self, stamp: str, label: str, *, user: str = "U1") -> None:
        """Press the button with this label below a message."""
        shown = self.messages[stamp]
        elements = [one for block in shown.get("blocks", []) for one in block.get("elements", [])]
        button = next(one for one in elements if one.get("type") == "button" and label in one["text"]["text"])
        action = {**button, "action_ts": self._stamp(), "block_id": "b"}
        container = {"type": "message", "message_ts": stamp, "channel_id": shown["channel"]}
        container |= {"thread_ts": shown["thread_ts"]} if "thread_ts" in shown else {}
        payload = {
            "type": "block_actions",
            "user": {"id": user, "username": "someone"},
            "team": {"id": self._team_of(shown)},
        }
        payload |= {"container": container, "message": shown, "channel": {"id": shown["channel"]}, "actions": [action]}
        await self.deliver("interactive", payload | {"trigger_id": self._trigger()})

    async def submit(self, values: Mapping[str, str], *, user: str = "U1") -> str:
        """Send the newest modal, its fields by label; returns the envelope id, whose answer is in `acknowledged`."""
        view = self.views[-1]
        filled: Json = {}
        for block in view["blocks"]:
            value, kind = values.get(block["label"]["text"]), block["element"]["type"]
            filled[block["block_id"]] = {"value": {"type": kind, **state(block["element"], value)}}
        sent = view | {"id": view["id"], "state": {"values": filled}}
        team = {"id": self._opened_by[view["id"]]}
        return await self.deliver(
            "interactive", {"type": "view_submission", "user": {"id": user}, "team": team, "view": sent}
        )

    def _team_of(self, shown: Json) -> str:
        return self.grants.channels.get(shown["channel"], FIRST)

    def posted(self, channel: str = "") -> list[Json]:
        """Return what the app has posted, in order."""
        return [one for one in self.messages.values() if not channel or one["channel"] == channel]

    # How it is delivered.

    async def deliver(self, kind: str, payload: Json) -> str:
        """Deliver a payload by the socket, or by HTTP where `request_url` is set; returns the envelope's id."""
        envelope = f"env-{next(self._count)}"
        await self.switches.deliver(lambda: self._push(kind, payload, envelope))
        return envelope

    async def _push(self, kind: str, payload: Json, envelope: str) -> None:
        if self.request_url:
            await self._until_taken(kind, payload)
            return
        self.spawn(self._until_acknowledged(kind, payload, envelope))

    async def _until_acknowledged(self, kind: str, payload: Json, envelope: str) -> None:
        pauses = self.redelivery_s if kind == "events_api" else (3.0,)
        for attempt, pause in enumerate((*pauses, 0.0)):
            await self.until(lambda: self.sockets)
            frame = {"envelope_id": envelope, "type": kind, "payload": payload, "retry_attempt": attempt}
            try:
                await self.sockets[0].send_json(frame | {"accepts_response_payload": kind != "events_api"})
                await self.until(lambda: envelope in self.acknowledged, seconds=pause or 3.0)
            except (TimeoutError, ConnectionError, IndexError):
                continue
            return

    async def _until_taken(self, kind: str, payload: Json) -> None:
        for pause in (*self.redelivery_s, None):
            with contextlib.suppress(aiohttp.ClientError):
                if await self.post(kind, payload) < 300:
                    return
            if pause is None or kind != "events_api":
                return
            await asyncio.sleep(pause)

    async def post(self, kind: str, payload: Json, *, at: float | None = None, secret: str = "") -> int:
        """Deliver by HTTP, signed; returns the status."""
        headers, body = self.signed(kind, payload, at=at, secret=secret)
        async with (
            aiohttp.ClientSession() as session,
            session.post(self.request_url, data=body, headers=headers) as response,
        ):
            return response.status

    def signed(
        self, kind: str, payload: Json, *, at: float | None = None, secret: str = ""
    ) -> tuple[dict[str, str], bytes]:
        """Return headers and body of a delivery by HTTP."""
        return signed(kind, payload, secret or self.signing_secret, at or time.time())

    async def refresh(self) -> None:
        """Announce a new connection on all sockets, as Slack does every few hours."""
        for socket in self.sockets:
            await socket.send_json({"type": "disconnect", "reason": "refresh_requested"})

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        if request.query.get("ticket") not in self._triggers:
            return web.Response(status=401)
        socket = await self.socket(request)
        await socket.send_json({"type": "hello", "num_connections": 1, "connection_info": {"app_id": APP}})
        async for frame in texts(socket):
            said = json.loads(frame)
            self.acknowledged[said["envelope_id"]] = said.get("payload") or {}
            self.changed()
        return socket
