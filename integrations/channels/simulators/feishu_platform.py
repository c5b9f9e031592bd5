"""Feishu's OpenAPI in miniature: tokens, messages, cards, CardKit and files; what the real one refuses is refused."""

import itertools
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from integrations.channels.feishu.check import PERMISSIONS
from integrations.channels.simulators.base import Ended, Fault, Limit, Simulator

MAX_CARD = 30_000
MAX_UUID = 50
BOT = "ou_bot"
Json = dict[str, Any]


@dataclass(slots=True)
class Sent:
    """One message of the app; `history` holds its earlier contents."""

    message_id: str
    place: str
    kind: str
    content: Json
    history: list[Json] = field(default_factory=list[Json])


class FeishuPlatform(Simulator):
    """What one app sees of Feishu."""

    def __init__(self) -> None:
        super().__init__()
        self.app_id = "cli_test"
        self.app_secret = os.urandom(16).hex()
        self.token_seconds = 7200
        self.sent: list[Sent] = []
        self.heard: dict[str, Json] = {}
        self.chats: dict[str, str] = {}
        self.resources: dict[str, bytes] = {}
        self.uploads: dict[str, bytes] = {}
        self.cards: dict[str, Json] = {}
        self.numbers = itertools.count(1)
        self.limits["cardkit"] = Limit(10, 1.0)
        self.bot = True
        self.scopes = {names[0] for names in PERMISSIONS}
        self._tokens: set[str] = set()
        self._by_uuid: dict[str, Sent] = {}
        self._sequences: dict[str, int] = {}

    def routes(self) -> Iterable[web.RouteDef]:
        """Return the OpenAPI."""
        im, kit = "/open-apis/im/v1", "/open-apis/cardkit/v1/cards"
        return [
            web.post("/open-apis/auth/v3/tenant_access_token/internal", self._token),
            web.get("/open-apis/bot/v3/info", self._bot),
            web.get("/open-apis/application/v6/scopes", self._granted),
            web.post(f"{im}/messages", self._create),
            web.post(f"{im}/messages/{{id}}/reply", self._reply),
            web.patch(f"{im}/messages/{{id}}", self._patch),
            web.get(f"{im}/messages/{{id}}", self._get),
            web.get(f"{im}/messages/{{id}}/resources/{{key}}", self._resource),
            web.get(f"{im}/chats/{{id}}", self._chat),
            web.post(f"{im}/images", self._upload),
            web.post(f"{im}/files", self._upload),
            web.post(kit, self._new_card),
            web.put(f"{kit}/{{card}}/elements/{{element}}/content", self._type),
            web.patch(f"{kit}/{{card}}/settings", self._settings),
            web.put(f"{kit}/{{card}}", self._replace),
        ]

    async def _token(self, request: web.Request) -> web.StreamResponse:
        content = await request.json()
        await self.meet(request, "token", {"app_id": content.get("app_id")})
        if (content.get("app_id"), content.get("app_secret")) != (self.app_id, self.app_secret):
            return _no(10014, "app secret invalid")
        token = f"t-{os.urandom(8).hex()}"
        self._tokens.add(token)
        answer = {"code": 0, "msg": "ok", "tenant_access_token": token, "expire": self.token_seconds}
        return web.json_response(answer)

    def revoke(self) -> None:
        """Let all tokens end at once."""
        self._tokens.clear()

    async def _bot(self, request: web.Request) -> web.StreamResponse:
        await self._authorized(request, "bot", {})
        bot = {"open_id": BOT, "app_name": "Runbell"} if self.bot else {}
        return web.json_response({"code": 0, "msg": "ok", "bot": bot})

    async def _granted(self, request: web.Request) -> web.StreamResponse:
        await self._authorized(request, "scopes", {})
        return _yes({"scopes": [{"scope_name": name, "grant_status": 1} for name in sorted(self.scopes)]})

    async def _create(self, request: web.Request) -> web.StreamResponse:
        content = await request.json()
        if request.query.get("receive_id_type") != "chat_id" or content.get("receive_id") not in self.chats:
            return _no(230001, "invalid receive_id")
        return await self._accept(request, content, content["receive_id"])

    async def _reply(self, request: web.Request) -> web.StreamResponse:
        about = request.match_info["id"]
        known = about in self.heard or any(sent.message_id == about for sent in self.sent)
        if not known:
            return _no(230011, "the message was recalled or never was")
        return await self._accept(request, await request.json(), about)

    async def _accept(self, request: web.Request, content: Json, place: str) -> web.StreamResponse:
        fault = await self._authorized(request, "send", content, key=place)
        uuid = content.get("uuid") or ""
        if len(uuid) > MAX_UUID:
            return _no(99992402, "uuid is too long")
        sent = self._by_uuid.get(uuid) if uuid else None
        if sent is None:
            inner = _read(content)
            self._check(content["msg_type"], inner, len(content["content"].encode()))
            sent = Sent(f"om_{next(self.numbers)}", place, content["msg_type"], inner)
            self.sent.append(sent)
            if uuid:
                self._by_uuid[uuid] = sent
        if fault is not None:
            return self.faulty(request, fault)
        self.changed()
        return _yes({"message_id": sent.message_id, "chat_id": self.chat_of(sent)})

    async def _patch(self, request: web.Request) -> web.StreamResponse:
        content = await request.json()
        await self._authorized(request, "patch", content, key=request.match_info["id"])
        sent = next((s for s in self.sent if s.message_id == request.match_info["id"]), None)
        if sent is None or sent.kind != "interactive":
            return _no(230001, "only cards of this app can be patched")
        inner = _read(content)
        self._check("interactive", inner, len(content["content"].encode()))
        sent.history.append(sent.content)
        sent.content = inner
        self.changed()
        return _yes({})

    async def _get(self, request: web.Request) -> web.StreamResponse:
        await self._authorized(request, "get", {"id": request.match_info["id"]})
        found = self.heard.get(request.match_info["id"])
        return _yes({"items": [{**found, "deleted": True}]}) if found else _no(230011, "no such message")

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        await self._authorized(request, "chat", {})
        found = self.chats.get(request.match_info["id"])
        return _yes({"chat_mode": found}) if found else _no(232011, "no such chat")

    async def _resource(self, request: web.Request) -> web.StreamResponse:
        await self._authorized(request, "resource", {"key": request.match_info["key"]})
        data = self.resources.get(request.match_info["key"])
        return web.Response(body=data) if data is not None else _no(234003, "no such file")

    async def _upload(self, request: web.Request) -> web.StreamResponse:
        form = await request.post()
        await self._authorized(request, "upload", {"name": str(form.get("file_name") or "")})
        name = "image" if "image" in form else "file"
        part = form[name]
        if not isinstance(part, web.FileField):
            return _no(234001, "no file")
        key = f"{name}_{next(self.numbers)}"
        self.uploads[key] = part.file.read()
        return _yes({f"{name}_key": key}) if self.uploads[key] else _no(234010, "the file is empty")

    async def _new_card(self, request: web.Request) -> web.StreamResponse:
        content = await request.json()
        await self._authorized(request, "card", content)
        card_id = f"card_{next(self.numbers)}"
        card = json.loads(content["data"])
        self._check("interactive", card, len(content["data"].encode()))
        self.cards[card_id] = card
        return _yes({"card_id": card_id})

    async def _type(self, request: web.Request) -> web.StreamResponse:
        card, content = await self._operate(request)
        if not card["config"].get("streaming_mode"):
            return _no(300309, "streaming mode is off")
        element = request.match_info["element"]
        found = next((e for e in card["body"]["elements"] if e.get("element_id") == element), None)
        if found is None:
            return _no(300313, "no such element")
        found["content"] = content["content"]
        self.changed()
        return _yes({})

    async def _settings(self, request: web.Request) -> web.StreamResponse:
        card, content = await self._operate(request)
        card["config"] |= json.loads(content["settings"])["config"]
        return _yes({})

    async def _replace(self, request: web.Request) -> web.StreamResponse:
        _, content = await self._operate(request)
        data = content["card"]["data"]
        self._check("interactive", json.loads(data), len(data.encode()))
        self.cards[request.match_info["card"]] = json.loads(data)
        self.changed()
        return _yes({})

    async def _operate(self, request: web.Request) -> tuple[Json, Json]:
        content, card_id = await request.json(), request.match_info["card"]
        await self._authorized(request, "cardkit", content, key=card_id)
        if card_id not in self.cards:
            raise Ended(_no(300301, "no such card"))
        if content["sequence"] <= self._sequences.get(card_id, 0):
            raise Ended(_no(300317, "sequence number compare failed"))
        self._sequences[card_id] = content["sequence"]
        return self.cards[card_id], content

    async def _authorized(self, request: web.Request, operation: str, content: Json, *, key: str = "") -> Fault | None:
        fault = await self.meet(request, operation, content, key=key)
        if request.headers.get("Authorization", "").removeprefix("Bearer ") not in self._tokens:
            raise Ended(_no(99991663, "token invalid"))
        return fault

    def limited(self, wait_s: float) -> web.StreamResponse:
        """Return Feishu's own answer to too many calls."""
        headers = {"x-ogw-ratelimit-limit": "5", "x-ogw-ratelimit-reset": f"{wait_s:.3f}"}
        return web.json_response(
            {"code": 99991400, "msg": "request trigger frequency limit"}, status=429, headers=headers
        )

    def chat_of(self, sent: Sent) -> str:
        """Return the chat that a message of the app is in."""
        about = self.heard.get(sent.place)
        return about["chat_id"] if about else sent.place

    def _check(self, kind: str, content: Json, size: int) -> None:
        """Refuse what Feishu would refuse."""
        if kind == "file" and content.get("file_key") not in self.uploads:
            raise Ended(_no(230001, "unknown file_key"))
        if kind != "interactive":
            return
        if content.get("type") == "card":
            if content["data"]["card_id"] not in self.cards:
                raise Ended(_no(230099, "unknown card"))
            return
        if size > MAX_CARD:
            raise Ended(_no(230025, "the message content is too long"))
        _check_card(content, self.uploads)


def _check_card(card: Json, uploads: Mapping[str, bytes]) -> None:
    if card.get("schema") != "2.0" or not card["body"]["elements"]:
        raise Ended(_no(230099, "no card of schema 2.0"))
    if not card["config"].get("update_multi"):
        raise Ended(_no(230099, "update_multi must be true"))
    pictures = [element["img_key"] for element in card["body"]["elements"] if element["tag"] == "img"]
    if any(key not in uploads for key in pictures):
        raise Ended(_no(230099, "unknown img_key"))


def _read(content: Json) -> Json:
    if not isinstance(content.get("content"), str):
        raise Ended(_no(230001, "content must be a JSON string"))
    return json.loads(content["content"])


def _yes(data: Mapping[str, object]) -> web.Response:
    return web.json_response({"code": 0, "msg": "success", "data": dict(data)})


def _no(code: int, said: str) -> web.Response:
    return web.json_response({"code": code, "msg": said}, status=400)
