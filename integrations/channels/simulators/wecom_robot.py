"""Simulated intelligent robot of WeCom: its long connection, and members who write, press buttons and open the chat.

Refused as the real one does: a wrong secret, answers under unknown or ended request ids, texts beyond 20 480 bytes,
cards without a task id, files whose pieces are not the whole. A newer connection displaces the older. What is pushed
while nobody is connected is lost: whether the real one brings it again is not documented. Operations for `fail` (a
fault's body is `{"errcode": …}`) and `limits`: the commands as they are called.
"""

import asyncio
import base64
import hashlib
import itertools
import json
import secrets
import time
from collections.abc import Iterable
from typing import Any, cast

from aiohttp import web
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from integrations.channels.simulators.base import Fault, Recorded, Simulator, texts
from integrations.settings_channels import WeCom

Json = dict[str, Any]
MAX_CONTENT = 20_480
EVENT_SECONDS = 5.0
MAX_FILE, MAX_PIECE, MAX_PIECES = 20 * 1024 * 1024, 512 * 1024, 100


class SimulatedWeComRobot(Simulator):
    """One robot and the members who may use it."""

    def __init__(self) -> None:
        super().__init__()
        self.bot_id, self.secret = "aib-1", "r0b0t-s3cret"
        self.deaf = False
        self.shown: dict[str, list[Json]] = {}
        self.streams: dict[str, list[str]] = {}
        self.welcomes: list[Json] = []
        self.updates: list[Json] = []
        self.uploads: dict[str, bytes] = {}
        self._uploading: dict[str, Json] = {}
        self._subscribed: web.WebSocketResponse | None = None
        self._requests: dict[str, tuple[str, str, float]] = {}
        self._files: dict[str, bytes] = {}
        self._finished: set[str] = set()
        self._numbers = itertools.count(1)

    def settings(self) -> WeCom:
        """Return the section that connects as this robot."""
        return WeCom(bot_id=self.bot_id, bot_secret=self.secret, socket_url=self.ws_url)

    def routes(self) -> Iterable[web.RouteDef]:
        """Return the socket and the files."""
        return [web.get("/", self._connect), web.get("/files/{name}", self._file)]

    @property
    def connected(self) -> bool:
        """Whether the robot is subscribed."""
        return self._subscribed is not None and not self._subscribed.closed

    async def cut(self) -> int:
        """Break the connections without a word; nobody is subscribed then."""
        self._subscribed = None
        return await super().cut()

    def texts(self, chat: str) -> list[str]:
        """Return what is to be read in a chat, in order; of streams the last state."""
        return [_content(body) for body in self.shown.get(chat, [])]

    def cards(self, chat: str) -> list[Json]:
        """Return the cards of a chat."""
        return [body["template_card"] for body in self.shown.get(chat, []) if "template_card" in body]

    async def say(self, user: str, text: str, chat: str = "", **more: object) -> str:
        """Let a member write to the robot, or mention it in a group; returns the message's id."""
        said = {"msgtype": "text", "text": {"content": f"@Runbell {text}" if chat else text}}
        return await self._callback("aibot_msg_callback", user, chat, {**said, **more})

    async def show(self, user: str, data: bytes, kind: str = "image") -> str:
        """Let a member send a file, encrypted with a key of its own."""
        key, name = secrets.token_bytes(32), f"f{next(self._numbers)}"
        padding = 32 - len(data) % 32
        encryptor = Cipher(algorithms.AES(key), modes.CBC(key[:16])).encryptor()
        self._files[name] = encryptor.update(data + bytes([padding]) * padding) + encryptor.finalize()
        told = {"url": f"{self.url}/files/{name}", "aeskey": base64.b64encode(key).decode()}
        return await self._callback("aibot_msg_callback", user, "", {"msgtype": kind, kind: told})

    async def press(self, user: str, card: Json, index: int = 0, chat: str = "", key: str = "") -> None:
        """Let a member press a button of a card."""
        pressed = {
            "card_type": card["card_type"],
            "event_key": key or card["button_list"][index]["key"],
            "task_id": card["task_id"],
        }
        event = {"eventtype": "template_card_event", "template_card_event": pressed}
        await self._callback("aibot_event_callback", user, chat, {"msgtype": "event", "event": event})

    async def enter(self, user: str) -> None:
        """Let a member open the chat for the first time today."""
        await self.event("enter_chat", user)

    async def event(self, kind: str, user: str = "lin") -> None:
        """Push an event."""
        await self._callback(
            "aibot_event_callback", user, "", {"msgtype": "event", "event": {"eventtype": kind, kind: {}}}
        )

    async def _callback(self, command: str, user: str, chat: str, body: Json) -> str:
        number, request = f"m{next(self._numbers)}", f"r{next(self._numbers)}"
        place = {"chattype": "group", "chatid": chat} if chat else {"chattype": "single"}
        head = {"msgid": number, "aibotid": self.bot_id, "from": {"userid": user}, "create_time": int(time.time())}
        until = time.monotonic() + (EVENT_SECONDS if command == "aibot_event_callback" else 360.0)
        self._requests[request] = (command, chat or user, until)
        frame = {"cmd": command, "headers": {"req_id": request}, "body": {**head, **place, **body}}

        async def once() -> None:
            if self._subscribed is not None and not self._subscribed.closed:
                await self._subscribed.send_json(frame)

        await self.switches.deliver(once)
        return number

    async def _connect(self, request: web.Request) -> web.StreamResponse:
        socket = await self.socket(request)
        async for raw in texts(socket):
            frame = cast("Json", json.loads(raw))
            if self.deaf:
                continue
            command, body = str(frame.get("cmd")), cast("Json", frame.get("body") or {})
            loud = {**body, "secret": "…"} if "secret" in body else body
            self.calls.append(Recorded(command, loud, asyncio.get_running_loop().time()))
            answer = await self._answer(socket, command, frame["headers"]["req_id"], body)
            self.changed()
            if answer is None:
                if request.transport is not None:
                    request.transport.abort()
                break
            await socket.send_json({"headers": frame["headers"], **answer})
        return socket

    async def _answer(self, socket: web.WebSocketResponse, command: str, request: str, body: Json) -> Json | None:
        fault = self._faults[command].popleft() if self._faults[command] else None
        if fault is not None and not fault.done:
            return _faulty(fault)
        limit = self.limits.get(command)
        if limit is not None and limit.spend() > 0:
            return {"errcode": 45009, "errmsg": "api freq out of limit"}
        if command == "aibot_subscribe":
            answer = await self._subscribe(socket, body)
        elif socket is not self._subscribed:
            answer = {"errcode": 846600, "errmsg": "not subscribed"}
        else:
            take = self._upload if command.startswith("aibot_upload_media_") else self._take
            answer = {"errcode": 0} if command == "ping" else take(command, request, body)
        return answer if fault is None else _faulty(fault)

    async def _subscribe(self, socket: web.WebSocketResponse, body: Json) -> Json:
        if (body.get("bot_id"), body.get("secret")) != (self.bot_id, self.secret):
            return {"errcode": 853000, "errmsg": "invalid bot_id or secret"}
        earlier, self._subscribed = self._subscribed, socket
        if earlier is not None and not earlier.closed:
            event = {"msgtype": "event", "event": {"eventtype": "disconnected_event"}}
            await earlier.send_json({"cmd": "aibot_event_callback", "headers": {"req_id": "d"}, "body": event})
            await earlier.close()
        return {"errcode": 0, "errmsg": "ok"}

    def _upload(self, command: str, _: str, body: Json) -> Json:
        if command.endswith("init"):
            if not 0 < body["total_size"] <= MAX_FILE or not 0 < body["total_chunks"] <= MAX_PIECES:
                return {"errcode": 40006, "errmsg": "invalid media size"}
            number = f"u{next(self._numbers)}"
            self._uploading[number] = {**body, "pieces": {}}
            return {"errcode": 0, "body": {"upload_id": number}}
        told = self._uploading.get(str(body.get("upload_id")))
        if told is None:
            return {"errcode": 846610, "errmsg": "invalid upload_id"}
        return _piece(told, body) if command.endswith("chunk") else self._uploaded(told)

    def _uploaded(self, told: Json) -> Json:
        data = b"".join(piece for _, piece in sorted(told["pieces"].items()))
        if (len(data), hashlib.md5(data, usedforsecurity=False).hexdigest()) != (told["total_size"], told["md5"]):
            return {"errcode": 846612, "errmsg": "the pieces are not the whole"}
        media = f"media{next(self._numbers)}"
        self.uploads[media] = data
        return {"errcode": 0, "body": {"type": told["type"], "media_id": media}}

    def _take(self, command: str, request: str, body: Json) -> Json:
        if refusal := _refusal(body):
            return refusal
        kind = str(body.get("msgtype"))
        if kind in ("file", "image") and body[kind].get("media_id") not in self.uploads:
            return {"errcode": 40007, "errmsg": "invalid media_id"}
        if command == "aibot_send_msg":
            self.shown.setdefault(str(body["chatid"]), []).append(body)
            return {"errcode": 0}
        asked, chat, until = self._requests.get(request, ("", "", 0.0))
        wanted = "aibot_msg_callback" if command == "aibot_respond_msg" else "aibot_event_callback"
        if asked != wanted or until < time.monotonic():
            return {"errcode": 846605, "errmsg": "invalid req_id"}
        if command == "aibot_respond_msg":
            return self._respond(chat, body)
        (self.welcomes if command == "aibot_respond_welcome_msg" else self.updates).append(body)
        return {"errcode": 0}

    def _respond(self, chat: str, body: Json) -> Json:
        stream = cast("Json", body.get("stream") or {})
        number = str(stream.get("id", ""))
        if number in self._finished:
            return {"errcode": 846608, "errmsg": "stream finished"}
        if number in self.streams:
            self.shown[chat] = [body if _stream(one) == number else one for one in self.shown[chat]]
        else:
            self.shown.setdefault(chat, []).append(body)
        if number:
            self.streams.setdefault(number, []).append(str(stream["content"]))
            if stream.get("finish"):
                self._finished.add(number)
        return {"errcode": 0}

    async def _file(self, request: web.Request) -> web.StreamResponse:
        return web.Response(body=self._files[request.match_info["name"]])


def _piece(told: Json, body: Json) -> Json:
    piece = base64.b64decode(body["base64_data"])
    if len(piece) > MAX_PIECE or body["chunk_index"] >= told["total_chunks"]:
        return {"errcode": 846611, "errmsg": "invalid chunk"}
    told["pieces"][body["chunk_index"]] = piece
    return {"errcode": 0}


def _refusal(body: Json) -> Json | None:
    """Refuse what the real one refuses."""
    if len(_content(body).encode()) > MAX_CONTENT:
        return {"errcode": 40058, "errmsg": "content too long"}
    card = body.get("template_card")
    buttons = card.get("button_list", []) if isinstance(card, dict) else []
    if isinstance(card, dict) and (len(buttons) > 6 or (buttons and not card.get("task_id"))):
        return {"errcode": 42014, "errmsg": "invalid template card"}
    return None


def _faulty(fault: Fault) -> Json | None:
    return dict(fault.body) if isinstance(fault.body, dict) else None


def _content(body: Json) -> str:
    part = body.get("stream") or body.get("markdown") or body.get("text") or {}
    return str(part.get("content", ""))


def _stream(body: Json) -> str:
    return str((body.get("stream") or {}).get("id", ""))
