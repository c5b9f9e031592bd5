"""Simulated Discord: REST for one bot (messages, edits, files), and people who write, use commands, buttons and forms.

Interactions are signed and posted to `callback`, or come over the gateway (`discord_gateway.py`) where that is blank;
they must be answered within three seconds, and are not repeated. Refused: wrong tokens, too long contents, too many or
doubled buttons. A repeated nonce returns the first message.
"""

import itertools
import json
import time
from collections.abc import Iterable, Mapping
from typing import Any, cast

import httpx
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from integrations.channels.simulators.base import Ended, Fault
from integrations.channels.simulators.discord_gateway import Gateway
from integrations.settings_channels import Discord

Json = dict[str, Any]
DEADLINE_SECONDS = 3.0


class SimulatedDiscord(Gateway):
    """One application, its bot, and one server with channels made up as they are named."""

    def __init__(self) -> None:
        super().__init__()
        self.application_id = "845027738276462632"
        self.endpoint = ""
        self.servers = [{"id": "77", "name": "Works", "permissions": str(0x7FFFFFFFFFFFF)}]
        self.messages: dict[str, Json] = {}
        self.answers: list[Json] = []
        self.thinking: dict[str, str | None] = {}
        self.waiting: dict[str, tuple[float, str]] = {}
        self._key = Ed25519PrivateKey.generate()
        self._numbers = itertools.count(1_000_000_000_000_000_000)
        self._nonces: dict[str, str] = {}

    def settings(self, mode: str = "http") -> Discord:
        """Return the section that connects to this application."""
        if mode == "gateway":
            return Discord(bot_token=self.token, application_id=self.application_id, api_url=f"{self.url}/api/v10")
        public = self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()
        return Discord(
            mode="http",
            bot_token=self.token,
            application_id=self.application_id,
            public_key=public,
            api_url=f"{self.url}/api/v10",
        )

    def routes(self) -> Iterable[web.RouteDef]:
        """Return the REST API."""
        return [
            *super().routes(),
            web.get("/api/v10/applications/@me", self._me),
            web.get("/api/v10/users/@me/guilds", self._guilds),
            web.post("/api/v10/interactions/{id}/{token}/callback", self._callback),
            web.post("/api/v10/channels/{channel}/messages", self._create),
            web.patch("/api/v10/channels/{channel}/messages/{id}", self._edit),
            web.patch("/api/v10/webhooks/{application}/{token}/messages/@original", self._original),
        ]

    def limited(self, wait_s: float) -> web.StreamResponse:
        """Answer as Discord does to too many calls."""
        body = {"message": "You are being rate limited.", "retry_after": wait_s, "global": False}
        return web.json_response(body, status=429, headers={"Retry-After": f"{wait_s:.3f}"})

    def contents(self, channel: str) -> list[str]:
        """Return what is to be read in a channel, in order."""
        return [message["content"] for message in self.messages.values() if message["channel_id"] == channel]

    def number(self) -> str:
        """Return a new id."""
        return str(next(self._numbers))

    def signed(self, body: bytes) -> dict[str, str]:
        """Return the headers of a signed request."""
        stamp = str(int(time.time()))
        signature = self._key.sign(stamp.encode() + body).hex()
        return {
            "X-Signature-Ed25519": signature,
            "X-Signature-Timestamp": stamp,
            "Content-Type": "application/json",
        }

    def interaction(self, kind: int, channel: str, user: str, data: Mapping[str, Any], **more: object) -> Json:
        """Return an interaction; channels that begin with D are direct."""
        who = {"id": user, "username": f"name of {user}"}
        place = {"user": who} if channel.startswith("D") else {"member": {"user": who}, "guild_id": "77"}
        found = {"id": self.number(), "application_id": self.application_id, "type": kind, "channel_id": channel}
        return {**found, **place, "data": data, "token": f"t{self.number()}", "version": 1, **more}

    async def check_address(self, callback: str) -> bool:
        """Check an endpoint as the developer portal does: a ping, and one with a bad signature."""
        body = json.dumps({"type": 1, "id": self.number()}).encode()
        bad = {**self.signed(body), "X-Signature-Ed25519": "0" * 128}
        async with httpx.AsyncClient(timeout=DEADLINE_SECONDS, trust_env=False) as http:
            right = await http.post(callback, content=body, headers=self.signed(body))
            wrong = await http.post(callback, content=body, headers=bad)
        return right.json() == {"type": 1} and wrong.status_code == 401

    async def say(self, channel: str, user: str, text: str, **more: object) -> str:
        """Let a person write; channels that begin with D are direct. Returns the message's id."""
        message = {
            "id": self.number(),
            "channel_id": channel,
            "author": {"id": user, "username": f"name of {user}"},
            "content": text,
            "type": 0,
            "mentions": [{"id": self.bot_id}] if f"<@{self.bot_id}>" in text else [],
            **({} if channel.startswith("D") else {"guild_id": "77"}),
            **more,
        }
        # Without the intent, only what is meant for the bot has a content.
        if not (self.reads_contents or message["mentions"] or channel.startswith("D")):
            message["content"] = ""
        await self.switches.deliver(lambda: self.dispatch("MESSAGE_CREATE", message))
        return str(message["id"])

    async def use(self, callback: str, channel: str, user: str, name: str, **options: object) -> None:
        """Let a person use a slash command."""
        data = {"id": "1", "name": name, "options": [{"name": n, "type": 3, "value": v} for n, v in options.items()]}
        await self.push(callback, self.interaction(2, channel, user, data))

    async def press(self, callback: str, user: str, message: Mapping[str, Any], index: int = 0) -> None:
        """Let a person press a button of a message."""
        buttons = [button for row in message["components"] for button in row["components"]]
        data = {"custom_id": buttons[index]["custom_id"], "component_type": 2}
        await self.push(callback, self.interaction(3, message["channel_id"], user, data, message={"id": message["id"]}))

    async def submit(self, callback: str, channel: str, user: str, modal: Mapping[str, Any], **values: str) -> None:
        """Let a person send a form."""
        rows = [{"type": 1, "components": [{"type": 4, "custom_id": n, "value": v}]} for n, v in values.items()]
        await self.push(
            callback, self.interaction(5, channel, user, {"custom_id": modal["custom_id"], "components": rows})
        )

    async def push(self, callback: str, interaction: Json) -> None:
        """Deliver an interaction as the switches say, once each."""
        body = json.dumps(interaction).encode()
        if not callback:
            self.waiting[interaction["token"]] = time.monotonic() + DEADLINE_SECONDS, interaction["channel_id"]
            await self.switches.deliver(lambda: self.dispatch("INTERACTION_CREATE", interaction))
            return

        async def once() -> None:
            async with httpx.AsyncClient(timeout=DEADLINE_SECONDS, trust_env=False) as http:
                response = await http.post(callback, content=body, headers=self.signed(body))
            answer = cast("Json", response.json())
            self.answers.append(answer)
            if answer.get("type") == 5:
                self.thinking.setdefault(interaction["token"], interaction["channel_id"])
            self.changed()

        await self.switches.deliver(once)

    async def _me(self, request: web.Request) -> web.StreamResponse:
        await self.meet(request, "me", {})
        self._authorize(request)
        key = self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()
        flags = 1 << 19 if self.contents_allowed else 0
        known = {"id": self.application_id, "verify_key": key, "interactions_endpoint_url": self.endpoint or None}
        return web.json_response({**known, "flags": flags})

    async def _guilds(self, request: web.Request) -> web.StreamResponse:
        await self.meet(request, "guilds", {})
        self._authorize(request)
        return web.json_response(self.servers)

    async def _callback(self, request: web.Request) -> web.StreamResponse:
        """Take the answer to an interaction of the gateway: once, and in time."""
        answer = cast("Json", await request.json())
        await self.meet(request, "callback", answer)
        until, channel = self.waiting.get(request.match_info["token"], (0.0, ""))
        if until < time.monotonic():
            raise Ended(_refusal(404, 10062, "Unknown interaction"))
        if request.match_info["token"] in self.thinking:
            raise Ended(_refusal(400, 40060, "Interaction has already been acknowledged."))
        self.answers.append(answer)
        self.thinking[request.match_info["token"]] = channel if answer.get("type") == 5 else None
        self.changed()
        return web.Response(status=204)

    async def _create(self, request: web.Request) -> web.StreamResponse:
        body, files = await _read(request)
        channel = request.match_info["channel"]
        fault = await self.meet(request, "create", body, key=channel)
        self._authorize(request)
        _check(body)
        nonce = str(body.get("nonce", ""))
        if len(nonce) > 25:
            raise Ended(_refusal(400, 50035, "Invalid Form Body: nonce"))
        known = self._nonces.get(nonce) if nonce and body.get("enforce_nonce") else None
        identity = known or self._add(channel, body, files)
        if nonce:
            self._nonces[nonce] = identity
        return self._after(request, fault, web.json_response(self.messages[identity]))

    async def _edit(self, request: web.Request) -> web.StreamResponse:
        body, files = await _read(request)
        fault = await self.meet(request, "edit", body, key=request.match_info["channel"])
        self._authorize(request)
        _check(body)
        message = self.messages.get(request.match_info["id"])
        if message is None:
            raise Ended(_refusal(404, 10008, "Unknown Message"))
        message.update({**body, **({"attachments": files} if files else {})})
        self.changed()
        return self._after(request, fault, web.json_response(message))

    async def _original(self, request: web.Request) -> web.StreamResponse:
        body, files = await _read(request)
        fault = await self.meet(request, "original", body)
        _check(body)
        channel = self.thinking.get(request.match_info["token"])
        if channel is None:
            raise Ended(_refusal(404, 10015, "Unknown Webhook"))
        identity = self._add(channel, {**body, "original": True}, files)
        return self._after(request, fault, web.json_response(self.messages[identity]))

    def _add(self, channel: str, body: Json, files: list[str]) -> str:
        identity = self.number()
        self.messages[identity] = {**body, "id": identity, "channel_id": channel, "attachments": files}
        self.changed()
        return identity

    def _authorize(self, request: web.Request) -> None:
        if request.headers.get("Authorization") != f"Bot {self.token}":
            raise Ended(_refusal(401, 0, "401: Unauthorized"))
        if not request.headers.get("User-Agent", "").startswith("DiscordBot ("):
            raise Ended(_refusal(403, 40333, "internal network error"))

    def _after(self, request: web.Request, fault: Fault | None, answer: web.StreamResponse) -> web.StreamResponse:
        return answer if fault is None else self.faulty(request, fault)


async def _read(request: web.Request) -> tuple[Json, list[str]]:
    if request.content_type != "multipart/form-data":
        return cast("Json", await request.json()), []
    form = await request.post()
    files = [part.filename for part in form.values() if isinstance(part, web.FileField)]
    return cast("Json", json.loads(str(form["payload_json"]))), files


def _check(body: Json) -> None:
    """Refuse what the real one refuses."""
    rows, content = body.get("components", []), str(body.get("content", ""))
    buttons = [button for row in rows for button in row["components"]]
    # A button of style 5 leads to an address and has no id.
    names = [button["url" if button["style"] == 5 else "custom_id"] for button in buttons]
    if len(content) > 2000 or not (content.strip() or body.get("embeds") or rows):
        raise Ended(_refusal(400, 50006 if not content else 50035, "Invalid Form Body: content"))
    if len(rows) > 5 or any(not 1 <= len(row["components"]) <= 5 for row in rows) or len(set(names)) != len(names):
        raise Ended(_refusal(400, 50035, "Invalid Form Body: components"))
    if any(not 1 <= len(name) <= 512 for name in names) or any(not 1 <= len(one["label"]) <= 80 for one in buttons):
        raise Ended(_refusal(400, 50035, "Invalid Form Body: components"))
    if any(len(button.get("custom_id", "")) > 100 for button in buttons):
        raise Ended(_refusal(400, 50035, "Invalid Form Body: components"))


def _refusal(status: int, code: int, text: str) -> web.Response:
    return web.json_response({"message": text, "code": code}, status=status)
