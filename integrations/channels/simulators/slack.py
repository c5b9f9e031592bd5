"""A simulated Slack: Web API, Socket Mode, signed HTTP events, files; towards the vendor's real client.

It keeps what was posted (`messages`), refuses bad tokens, unknown channels and threads, texts, blocks and buttons that
are too long, and delivers an event again when it is not acknowledged: three times, like Slack, only sooner.
"""

import asyncio
import contextlib
import itertools
import json
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import aiohttp
from aiohttp import web

from integrations.channels.simulators.base import Simulator, texts
from integrations.channels.simulators.slack_rules import check_content, error, signed, state
from integrations.channels.slack.check import SCOPES
from integrations.settings_channels import Slack

Json = dict[str, Any]
BOT, TEAM, APP = "UBOT", "T1", "A1"
_BEGIN = 1_700_000_000


class SimulatedSlack(Simulator):
    """One workspace with one app; `redelivery_s` are the pauses before an event comes again."""

    bot_token, app_token, signing_secret = "xoxb-simulated", "xapp-simulated", "simulated-signing-secret"

    def __init__(self, *, redelivery_s: Iterable[float] = (0.3, 0.6, 1.2)) -> None:
        super().__init__()
        self.redelivery_s = tuple(redelivery_s)
        self.channels = {"C1", "C2", "D1", "D2"}
        self.messages: dict[str, Json] = {}
        self.views: list[Json] = []
        self.uploads: dict[str, bytes] = {}
        self.files: dict[str, bytes] = {}
        self.acknowledged: dict[str, Json] = {}
        self.scopes = set(SCOPES)
        self.request_url = ""
        self._count = itertools.count(1)
        self._triggers: dict[str, float] = {}

    def settings(self, mode: str = "socket") -> Slack:
        """Return the section of the settings that leads here."""
        tokens = {"bot_token": self.bot_token, "app_token": self.app_token, "signing_secret": self.signing_secret}
        return Slack.model_validate({"mode": mode, "api_url": f"{self.url}/api/", **tokens})

    def routes(self) -> Iterable[web.RouteDef]:
        """Return what is served."""
        return [
            web.post("/api/{method}", self._api),
            web.get("/socket", self._socket),
            web.post("/upload/{id}", self._upload),
            web.get("/files/{name}", self._file),
        ]

    # What people do.

    async def say(self, channel: str, text: str, *, user: str = "U1", thread: str = "", **more: object) -> str:
        """Say something; returns its time stamp. A mention of `<@UBOT>` in a channel is an app_mention."""
        stamp = self._stamp()
        event: Json = {"type": "message", "user": user, "text": text, "channel": channel, "ts": stamp, **more}
        event |= {"event_ts": stamp, "channel_type": "im" if channel.startswith("D") else "channel"}
        event |= {"thread_ts": thread} if thread else {}
        if not channel.startswith("D") and f"<@{BOT}>" in text:
            event["type"] = "app_mention"
        await self.event(event)
        return stamp

    async def event(self, event: Json, *, event_id: str = "") -> str:
        """Deliver any event; returns its id."""
        event_id = event_id or f"Ev{next(self._count)}"
        authorizations = [{"team_id": TEAM, "user_id": BOT, "is_bot": True}]
        payload = {"token": "t", "team_id": TEAM, "api_app_id": APP, "type": "event_callback", "event": event}
        payload |= {"event_id": event_id, "event_time": int(time.time()), "authorizations": authorizations}
        await self.deliver("events_api", payload)
        return event_id

    async def command(self, command: str, text: str, *, channel: str = "D1", user: str = "U1") -> None:
        """Send a slash command."""
        where = {"channel_id": channel, "user_id": user, "user_name": "someone", "team_id": TEAM}
        await self.deliver("slash_commands", {"command": command, "text": text, "trigger_id": self._trigger(), **where})

    async def press(self, stamp: str, label: str, *, user: str = "U1") -> None:
        """Press the button with this label below a message."""
        shown = self.messages[stamp]
        elements = [one for block in shown.get("blocks", []) for one in block.get("elements", [])]
        button = next(one for one in elements if one.get("type") == "button" and label in one["text"]["text"])
        action = {**button, "action_ts": self._stamp(), "block_id": "b"}
        container = {"type": "message", "message_ts": stamp, "channel_id": shown["channel"]}
        container |= {"thread_ts": shown["thread_ts"]} if "thread_ts" in shown else {}
        payload = {"type": "block_actions", "user": {"id": user, "username": "someone"}, "team": {"id": TEAM}}
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
        return await self.deliver(
            "interactive", {"type": "view_submission", "user": {"id": user}, "team": {"id": TEAM}, "view": sent}
        )

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

    # The Web API.

    async def _api(self, request: web.Request) -> web.StreamResponse:
        method = request.match_info["method"]
        said: Json = await request.json() if request.content_type == "application/json" else dict(await request.post())
        fault = await self.meet(request, method, said, key=str(said.get("channel", "")))
        expected = self.app_token if method == "apps.connections.open" else self.bot_token
        if request.headers.get("Authorization") != f"Bearer {expected}":
            raise error("invalid_auth")
        if method.startswith("chat.") and "chat:write" not in self.scopes:
            raise error("missing_scope", needed="chat:write", provided=",".join(self.scopes))
        handler: Callable[[Json], Json] | None = getattr(self, "_" + method.replace(".", "_"), None)
        if handler is None:
            raise error("unknown_method")
        answer = {"ok": True} | handler(said)
        self.changed()
        headers = {"X-OAuth-Scopes": ",".join(sorted(self.scopes))}
        return self.faulty(request, fault) if fault else web.json_response(answer, headers=headers)

    def limited(self, wait_s: float) -> web.StreamResponse:
        """Answer as Slack does, in whole seconds."""
        headers = {"Retry-After": str(max(1, round(wait_s)))}
        return web.json_response({"ok": False, "error": "ratelimited"}, status=429, headers=headers)

    def _auth_test(self, _: Json) -> Json:
        return {"user_id": BOT, "team_id": TEAM, "team": "simulated", "bot_id": "B1", "url": f"{self.url}/"}

    def _apps_connections_open(self, _: Json) -> Json:
        return {"url": f"{self.ws_url}/socket?ticket={self._trigger()}"}

    def _chat_postMessage(self, said: Json) -> Json:  # noqa: N802 - the method's name
        self._known(said)
        check_content(said)
        stamp = self._stamp()
        self.messages[stamp] = {**said, "ts": stamp}
        return {"ts": stamp, "channel": said["channel"]}

    def _chat_update(self, said: Json) -> Json:
        if said.get("ts") not in self.messages:
            raise error("message_not_found")
        if self.messages[said["ts"]].get("streaming"):
            raise error("streaming_state_conflict")
        check_content(said)
        kept = {k: v for k, v in self.messages[said["ts"]].items() if k in {"channel", "thread_ts", "ts"}}
        self.messages[said["ts"]] = {**said, **kept}
        return {"ts": said["ts"], "channel": said["channel"]}

    def _chat_postEphemeral(self, said: Json) -> Json:  # noqa: N802
        self._known(said)
        return {"message_ts": self._stamp()}

    def _chat_startStream(self, said: Json) -> Json:  # noqa: N802
        self._known(said)
        if not said.get("thread_ts"):
            raise error("invalid_thread_ts")
        if not said["channel"].startswith("D") and not (
            said.get("recipient_user_id") and said.get("recipient_team_id")
        ):
            raise error("missing_recipient_user_id")
        stamp = self._stamp()
        self.messages[stamp] = {**said, "ts": stamp, "streaming": True}
        return {"ts": stamp, "channel": said["channel"]}

    def _chat_appendStream(self, said: Json) -> Json:  # noqa: N802
        message = self._streaming(said)
        if len(said["markdown_text"]) > 12_000:
            raise error("msg_too_long")
        message["markdown_text"] = message.get("markdown_text", "") + said["markdown_text"]
        return {"ts": said["ts"]}

    def _chat_stopStream(self, said: Json) -> Json:  # noqa: N802
        self._streaming(said)["streaming"] = False
        return {"ts": said["ts"]}

    def _views_open(self, said: Json) -> Json:
        opened_at = self._triggers.get(said.get("trigger_id", ""))
        if opened_at is None or time.monotonic() - opened_at > 3:
            raise error("expired_trigger_id")
        view = said["view"]
        if len(view["title"]["text"]) > 24 or len(view["private_metadata"]) > 3000 or not view["blocks"]:
            raise error("invalid_arguments")
        self.views.append({**view, "id": f"V{next(self._count)}"})
        return {"view": self.views[-1]}

    def _files_getUploadURLExternal(self, _: Json) -> Json:  # noqa: N802
        file_id = f"F{next(self._count)}"
        return {"upload_url": f"{self.url}/upload/{file_id}", "file_id": file_id}

    def _files_completeUploadExternal(self, said: Json) -> Json:  # noqa: N802
        if any(file["id"] not in self.uploads for file in said["files"]):
            raise error("file_not_found")
        return {"files": said["files"]}

    async def _upload(self, request: web.Request) -> web.StreamResponse:
        self.uploads[request.match_info["id"]] = await request.read()
        return web.Response(text="OK")

    async def _file(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") != f"Bearer {self.bot_token}":
            return web.Response(text="<html>sign in</html>", content_type="text/html")
        return web.Response(body=self.files[request.match_info["name"]])

    def _streaming(self, said: Json) -> Json:
        message = self.messages.get(said["ts"], {})
        if not message.get("streaming"):
            raise error("message_not_in_streaming_state")
        return message

    def _known(self, said: Json) -> None:
        if said.get("channel") not in self.channels:
            raise error("channel_not_found")

    def _stamp(self) -> str:
        return f"{_BEGIN}.{next(self._count):06d}"

    def _trigger(self) -> str:
        trigger = f"{next(self._count)}.trigger"
        self._triggers[trigger] = time.monotonic()
        return trigger
