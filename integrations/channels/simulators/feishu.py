"""A Feishu (or Lark) in miniature: the OpenAPI that we call, and signed, encrypted events that call us.

`say`, `press`, `submit` and `recall` deliver as Feishu does and again, on its schedule (`redelivery_s`, times
`retry_scale`), until somebody answers 200. Sends are refused as the real one refuses them: sizes, unknown ids, bad
tokens, sequences.
"""

import asyncio
import base64
import hashlib
import json
import os
import time
from collections.abc import Iterable, Mapping
from typing import Any

import httpx
from aiohttp import web

from integrations.channels.feishu.frames import CONTROL, DATA, Frame, decode, encode
from integrations.channels.simulators.base import Recorded
from integrations.channels.simulators.feishu_platform import BOT, FeishuPlatform, Sent
from integrations.security.envelopes import encrypt
from integrations.settings_channels import Feishu

RETRY_SECONDS = (15, 300, 3600, 21600)
Json = dict[str, Any]


class SimulatedFeishu(FeishuPlatform):
    """One app in one organization, and the people in it."""

    def __init__(self, *, encrypted: bool = True, token: bool = True) -> None:
        super().__init__()
        self.encrypt_key = os.urandom(16).hex() if encrypted else ""
        self.verification_token = os.urandom(16).hex() if token else ""
        self.callback_url = ""
        self.retry_scale = 1.0
        self.redelivery_s: tuple[float, ...] = RETRY_SECONDS
        self.acknowledged: dict[str, Json] = {}

    def routes(self) -> Iterable[web.RouteDef]:
        """Return the platform and its long connection."""
        socket = [web.post("/callback/ws/endpoint", self._endpoint), web.get("/ws", self._connection)]
        return [*super().routes(), *socket]

    def settings(self) -> Feishu:
        """Return what `[channels.feishu]` must hold to speak to this server."""
        return Feishu(
            mode="http",
            app_id=self.app_id,
            app_secret=self.app_secret,
            encrypt_key=self.encrypt_key or None,
            verification_token=self.verification_token or None,
            domain=self.url,
        )

    async def say(
        self,
        text: str,
        *,
        chat: str = "oc_dm",
        by: str = "ou_ann",
        group: bool = False,
        root: str = "",
        at_bot: bool = True,
    ) -> str:
        """Write a message, with a mention in groups; returns its id."""
        mentions: list[Json] = []
        if group and at_bot:
            mentions = [{"key": "@_user_1", "id": {"open_id": BOT}, "name": "Runbell", "tenant_key": "t"}]
            text = f"@_user_1 {text}"
        content = {"text": text}
        return await self.write("text", content, chat=chat, by=by, group=group, root=root, mentions=mentions)

    async def attach(self, data: bytes, name: str, *, chat: str = "oc_dm", by: str = "ou_ann") -> str:
        """Send a file; returns the message's id."""
        key = f"file_{next(self.numbers)}"
        self.resources[key] = data
        return await self.write("file", {"file_key": key, "file_name": name}, chat=chat, by=by)

    async def write(
        self,
        kind: str,
        content: Mapping[str, Any],
        *,
        chat: str = "oc_dm",
        by: str = "ou_ann",
        group: bool = False,
        root: str = "",
        mentions: Iterable[Mapping[str, Any]] = (),
    ) -> str:
        """Write a message of any kind; returns its id."""
        message_id = f"om_{next(self.numbers)}"
        message: Json = {"message_id": message_id, "chat_id": chat, "chat_type": "group" if group else "p2p"}
        message |= {"message_type": kind, "content": json.dumps(content), "mentions": list(mentions)}
        message |= {"create_time": str(int(time.time() * 1000))} | (
            {"root_id": root, "thread_id": "omt_1"} if root else {}
        )
        self.chats[chat] = message["chat_type"]
        self.heard[message_id] = {**message, "sender": {"id": by, "sender_type": "user"}}
        sender = {"sender_id": {"open_id": by, "union_id": f"on_{by}"}, "sender_type": "user", "tenant_key": "t"}
        await self.push("im.message.receive_v1", {"sender": sender, "message": message})
        return message_id

    async def recall(self, message_id: str) -> None:
        """Take a message back."""
        event = {"message_id": message_id, "chat_id": self.heard[message_id]["chat_id"], "recall_type": "message_owner"}
        await self.push("im.message.recalled_v1", event)

    async def press(self, sent: Sent, label: str, *, by: str = "ou_ann", values: Json | None = None) -> Json:
        """Press a button of a card, with a form's values where it sends one; returns what is shown."""
        button = next(b for b in _buttons(self.shown(sent)) if b["text"]["content"] == label)
        action: Json = {"tag": "button", "value": button["behaviors"][0]["value"]}
        if values is not None:
            action |= {"name": button.get("name"), "form_value": values}
        context = {"open_message_id": sent.message_id, "open_chat_id": self.chat_of(sent)}
        operator = {"open_id": by, "tenant_key": "t"}
        event = {"operator": operator, "token": f"c-{os.urandom(8).hex()}", "action": action, "context": context}
        status, answer = await self._once(self.envelope("card.action.trigger", event))
        return answer if status == 200 else {"toast": {"type": "error", "content": f"HTTP {status}"}}

    def shown(self, sent: Sent) -> Json:
        """Return the card as people see it now."""
        if sent.content.get("type") == "card":
            return self.cards[sent.content["data"]["card_id"]]
        return sent.content

    def envelope(self, kind: str, event: Mapping[str, Any], *, event_id: str = "") -> Json:
        """Return an event as Feishu writes it."""
        header = {"event_id": event_id or os.urandom(16).hex(), "event_type": kind, "app_id": self.app_id}
        header |= {"token": self.verification_token, "tenant_key": "t", "create_time": str(int(time.time() * 1000))}
        return {"schema": "2.0", "header": header, "event": dict(event)}

    async def push(self, kind: str, event: Mapping[str, Any]) -> None:
        """Deliver an event as the switches say, and again until it is acknowledged."""
        document = self.envelope(kind, event)
        await self.switches.deliver(lambda: self._deliver(document))

    async def _deliver(self, document: Mapping[str, Any]) -> None:
        for pause in (*self.redelivery_s, None):
            status, _ = await self._once(document)
            if status == 200 or pause is None:
                return
            await asyncio.sleep(pause * self.retry_scale)

    async def _over_socket(self, document: Mapping[str, Any]) -> tuple[int, Json]:
        """Push an event over one of the connections, in two parts; returns how it was acknowledged."""
        payload, message_id = json.dumps(document).encode(), os.urandom(8).hex()
        middle = len(payload) // 2
        socket = self.sockets[0]
        for seq, part in enumerate((payload[:middle], payload[middle:])):
            headers = {"type": "event", "message_id": message_id, "trace_id": "t", "sum": "2", "seq": str(seq)}
            await socket.send_bytes(encode(Frame(DATA, 1, headers=headers, payload=part)))
        try:
            await self.until(lambda: message_id in self.acknowledged or socket.closed, seconds=3.0)
        except TimeoutError:
            return 0, {}
        answer = self.acknowledged.get(message_id, {"code": 0})
        return answer["code"], json.loads(base64.b64decode(answer["data"])) if answer.get("data") else {}

    async def _endpoint(self, request: web.Request) -> web.StreamResponse:
        content = await request.json()
        await self.meet(request, "endpoint", {"AppID": content.get("AppID")})
        if (content.get("AppID"), content.get("AppSecret")) != (self.app_id, self.app_secret):
            return web.json_response({"code": 514, "msg": "the app id or secret is wrong"})
        config = {"ReconnectCount": -1, "ReconnectInterval": 120, "ReconnectNonce": 30, "PingInterval": 120}
        url = f"{self.ws_url}/ws?device_id=1&service_id=7"
        return web.json_response({"code": 0, "msg": "", "data": {"URL": url, "ClientConfig": config}})

    async def _connection(self, request: web.Request) -> web.StreamResponse:
        socket = await self.socket(request)
        async for message in socket:
            frame = decode(message.data)
            if frame.method == CONTROL:
                self.calls.append(Recorded(frame.headers["type"], {"service": frame.service}, 0.0))
                await socket.send_bytes(encode(Frame(CONTROL, frame.service, headers={"type": "pong"})))
            else:
                self.acknowledged[frame.headers.get("message_id", "")] = json.loads(frame.payload)
            self.changed()
        return socket

    async def _once(self, document: Mapping[str, Any]) -> tuple[int, Json]:
        if self.sockets:
            return await self._over_socket(document)
        headers, body = self.request(document)
        try:
            async with httpx.AsyncClient(trust_env=False, timeout=3.0) as client:
                response = await client.post(self.callback_url, content=body, headers=headers)
                return response.status_code, response.json() if response.content else {}
        except (httpx.TransportError, ValueError):
            return 0, {}

    def request(self, document: Mapping[str, Any]) -> tuple[dict[str, str], bytes]:
        """Return headers and body of a delivery, signed and encrypted where there is a key."""
        body = json.dumps(document).encode()
        headers = {"Content-Type": "application/json; charset=utf-8"}
        if self.encrypt_key:
            iv, key = os.urandom(16), hashlib.sha256(self.encrypt_key.encode()).digest()
            body = json.dumps({"encrypt": base64.b64encode(iv + encrypt(body, key, block=16, iv=iv)).decode()}).encode()
            stamp, nonce = str(int(time.time())), os.urandom(5).hex()
            signed = f"{stamp}{nonce}{self.encrypt_key}".encode() + body
            headers |= {"X-Lark-Request-Timestamp": stamp, "X-Lark-Request-Nonce": nonce}
            headers["X-Lark-Signature"] = hashlib.sha256(signed).hexdigest()
        return headers, body


def text_of(card: Mapping[str, Any]) -> str:
    """Return all that a card's Markdown says."""
    return "\n".join(element["content"] for element in card["body"]["elements"] if element["tag"] == "markdown")


def _buttons(node: object) -> list[Json]:
    if isinstance(node, list):
        return [button for item in node for button in _buttons(item)]
    if not isinstance(node, dict):
        return []
    if node.get("tag") == "button":
        return [node]
    return [button for item in node.values() for button in _buttons(item)]
