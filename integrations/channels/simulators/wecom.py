"""Simulated WeCom: the app API (token, send, media), and members who write to the app's encrypted callback.

Refused as the real one does: wrong secrets, ended tokens, unknown members, texts and card fields beyond the limits,
task ids used before. `silent` is the limit per member whose excess is dropped without a word.
"""

import asyncio
import itertools
import secrets as random
import time
from collections.abc import Iterable, Mapping
from typing import Any, cast
from xml.etree.ElementTree import fromstring
from xml.sax.saxutils import escape

import httpx
from aiohttp import web

from integrations.channels.simulators.base import Ended, Fault, Limit, Simulator
from integrations.security.envelopes import Envelope
from integrations.settings_channels import WeCom

AES_KEY = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQ"
Json = dict[str, Any]


class SimulatedWeCom(Simulator):
    """One corp with one app and its members."""

    def __init__(self, *members: str) -> None:
        super().__init__()
        self.corp_id, self.secret, self.agent_id, self.token = "wwcorp", "s3cret", 1000002, "t0ken"
        self.members = set(members or ("lin", "Zoe"))
        self.tokens: dict[str, float] = {}
        self.token_seconds = 7200
        self.sent: list[Json] = []
        self.shown: dict[str, list[Json]] = {}
        self.media: dict[str, tuple[str, bytes, str]] = {}
        self.silent = (Limit(30, 60.0), Limit(1000, 3600.0))
        self.answers: list[str] = []
        self.redelivery_s: tuple[float, ...] = (0.1, 0.2, 0.3, 0.0)
        self._tasks_used: set[str] = set()
        self._numbers = itertools.count(1)
        self._envelope = Envelope(self.token, AES_KEY, self.corp_id)

    def settings(self) -> WeCom:
        """Return the section that connects to this corp."""
        return WeCom(
            corp_id=self.corp_id,
            corp_secret=self.secret,
            agent_id=self.agent_id,
            token=self.token,
            aes_key=AES_KEY,
            api_url=self.url,
        )

    def routes(self) -> Iterable[web.RouteDef]:
        """Return the app API."""
        return [
            web.get("/cgi-bin/gettoken", self._gettoken),
            web.post("/cgi-bin/message/send", self._send),
            web.get("/cgi-bin/agent/get", self._agent),
            web.post("/cgi-bin/media/upload", self._upload),
            web.get("/cgi-bin/media/get", self._download),
        ]

    def limited(self, wait_s: float) -> web.StreamResponse:  # noqa: ARG002 - WeCom does not say how long
        """Answer as WeCom does to too many calls."""
        return _answer(45009, "reach max api daily quota limit")

    def expire(self) -> None:
        """End all access tokens now."""
        self.tokens = dict.fromkeys(self.tokens, 0.0)

    def texts(self, member: str) -> list[str]:
        """Return the texts that a member sees."""
        return [body["text"]["content"] for body in self.shown.get(member, []) if body["msgtype"] == "text"]

    def cards(self, member: str) -> list[Json]:
        """Return the cards that a member sees."""
        found = [body for body in self.shown.get(member, []) if body["msgtype"] == "template_card"]
        return [body["template_card"] for body in found]

    def xml(self, member: str, kind: str, **fields: str) -> str:
        """Return a message as WeCom writes it."""
        head = {"ToUserName": self.corp_id, "FromUserName": member, "CreateTime": str(int(time.time()))}
        every = {**head, "MsgType": kind, "AgentID": str(self.agent_id), **fields}
        return "<xml>" + "".join(f"<{name}>{escape(value)}</{name}>" for name, value in every.items()) + "</xml>"

    def sealed(self, text: str) -> tuple[dict[str, str], bytes]:
        """Return the query and the body of an encrypted callback."""
        stamp, nonce = str(int(time.time())), random.token_hex(5)
        encrypted, signature = self._envelope.seal(text, timestamp=stamp, nonce=nonce)
        body = (
            f"<xml><ToUserName><![CDATA[{self.corp_id}]]></ToUserName><Encrypt><![CDATA[{encrypted}]]></Encrypt>"
            f"<AgentID><![CDATA[{self.agent_id}]]></AgentID></xml>"
        )
        return {"msg_signature": signature, "timestamp": stamp, "nonce": nonce}, body.encode()

    def opened(self, answer: str) -> str:
        """Return what a passive reply says; raises Unauthorized where it is not sealed for this corp."""
        parts = {child.tag: child.text or "" for child in fromstring(answer)}  # noqa: S314 - our own answer
        return self._envelope.open(
            parts["Encrypt"],
            signature=parts["MsgSignature"],
            timestamp=parts["TimeStamp"],
            nonce=parts["Nonce"],
        )

    async def check_address(self, callback: str) -> bool:
        """Check a callback's address as the admin console does."""
        echo = str(random.randbelow(10**18))
        stamp, nonce = str(int(time.time())), random.token_hex(5)
        encrypted, signature = self._envelope.seal(echo, timestamp=stamp, nonce=nonce)
        query = {"msg_signature": signature, "timestamp": stamp, "nonce": nonce, "echostr": encrypted}
        async with httpx.AsyncClient(timeout=1.0, trust_env=False) as http:
            response = await http.get(callback, params=query)
        return response.status_code == 200 and response.text == echo

    async def say(self, callback: str, member: str, text: str, *, number: str | None = None) -> str:
        """Let a member write; returns the message's id."""
        number = number or str(7_000_000_000_000_000 + next(self._numbers))
        await self.push(callback, self.xml(member, "text", Content=text, MsgId=number))
        return number

    async def show(self, callback: str, member: str, kind: str, name: str, content: bytes, media_type: str) -> None:
        """Let a member send a file."""
        identity = self.keep(name, content, media_type)
        number = str(7_000_000_000_000_000 + next(self._numbers))
        await self.push(callback, self.xml(member, kind, MediaId=identity, MsgId=number, PicUrl=self.url))

    async def press(self, callback: str, member: str, card: Mapping[str, Any], index: int = 0) -> None:
        """Let a member press a button of a card."""
        event = {
            "Event": "template_card_event",
            "EventKey": card["button_list"][index]["key"],
            "TaskId": card["task_id"],
            "CardType": card["card_type"],
            "ResponseCode": random.token_urlsafe(16),
        }
        await self.push(callback, self.xml(member, "event", **event))

    async def push(self, callback: str, text: str) -> None:
        """Deliver a callback as the switches say: cut after five seconds, and sent three times more at most."""
        query, body = self.sealed(text)

        async def once() -> None:
            async with httpx.AsyncClient(timeout=5.0, trust_env=False) as http:
                for pause in self.redelivery_s:
                    try:
                        response = await http.post(callback, params=query, content=body)
                    except httpx.HTTPError:
                        response = None
                    if response is not None and response.status_code == 200:
                        self.answers.append(response.text)
                        self.changed()
                        return
                    await asyncio.sleep(pause)

        await self.switches.deliver(once)

    def keep(self, name: str, content: bytes, media_type: str) -> str:
        """Store a file; returns its media id."""
        identity = random.token_hex(16)
        self.media[identity] = (name, content, media_type)
        return identity

    async def _gettoken(self, request: web.Request) -> web.StreamResponse:
        fault = await self.meet(request, "gettoken", dict(request.query))
        if request.query.get("corpid") != self.corp_id:
            return _answer(40013, "invalid corpid")
        if request.query.get("corpsecret") != self.secret:
            return _answer(40001, "invalid credential")
        token = random.token_hex(20)
        self.tokens[token] = time.monotonic() + self.token_seconds
        return self._after(request, fault, _answer(0, access_token=token, expires_in=self.token_seconds))

    async def _send(self, request: web.Request) -> web.StreamResponse:
        body = cast("Json", await request.json())
        fault = await self.meet(request, "send", body, key=str(body.get("touser")))
        self._authorize(request)
        wrong = _wrong(body, self.agent_id, self._tasks_used, set(self.media))
        if wrong is not None:
            return wrong
        member = str(body["touser"])
        known = {name.lower(): name for name in self.members}
        if member.lower() not in known:
            return _answer(81013, "user & party & tag all invalid", invaliduser=member)
        self.sent.append(body)
        if body["msgtype"] == "template_card" and "task_id" in body["template_card"]:
            self._tasks_used.add(body["template_card"]["task_id"])
        if not any(limit.spend(member) for limit in self.silent):
            self.shown.setdefault(known[member.lower()], []).append(body)
        self.changed()
        return self._after(request, fault, _answer(0, invaliduser="", msgid=random.token_urlsafe(24)))

    async def _agent(self, request: web.Request) -> web.StreamResponse:
        await self.meet(request, "agent", dict(request.query))
        self._authorize(request)
        if request.query.get("agentid") != str(self.agent_id):
            return _answer(301002, "not allow operate another agent with this accesstoken")
        return _answer(0, agentid=self.agent_id, name="Runbell", close=0)

    async def _upload(self, request: web.Request) -> web.StreamResponse:
        fault = await self.meet(request, "upload", dict(request.query))
        self._authorize(request)
        part = (await request.post()).get("media")
        if not isinstance(part, web.FileField):
            return _answer(41005, "media data missing")
        content = part.file.read()
        limit = 10 if request.query.get("type") == "image" else 20
        if not 5 < len(content) <= limit * 1024 * 1024:
            return _answer(40006, "invalid meida size")
        identity = self.keep(part.filename, content, part.content_type)
        return self._after(request, fault, _answer(0, type=request.query.get("type"), media_id=identity))

    async def _download(self, request: web.Request) -> web.StreamResponse:
        await self.meet(request, "download", dict(request.query))
        self._authorize(request)
        found = self.media.get(request.query.get("media_id", ""))
        if found is None:
            return _answer(40007, "invalid media_id")
        return web.Response(body=found[1], content_type=found[2])

    def _authorize(self, request: web.Request) -> None:
        ends_at = self.tokens.get(request.query.get("access_token", ""))
        if ends_at is None:
            raise Ended(_answer(40014, "invalid access_token"))
        if ends_at <= time.monotonic():
            raise Ended(_answer(42001, "access_token expired"))

    def _after(self, request: web.Request, fault: Fault | None, answer: web.StreamResponse) -> web.StreamResponse:
        return answer if fault is None else self.faulty(request, fault)


def _wrong(body: Json, agent_id: int, used: set[str], media: set[str]) -> web.StreamResponse | None:
    """Return the refusal of a message that the real one would refuse, or cut, which we must not rely on."""
    kind = str(body.get("msgtype"))
    content = body.get(kind)
    if body.get("agentid") != agent_id:
        return _answer(301002, "not allow operate another agent with this accesstoken")
    if not isinstance(content, dict):
        return _answer(40008, "invalid message type")
    if kind == "text" and not 0 < len(str(content.get("content", "")).encode()) <= 2048:
        return _answer(45002, "content size out of limit")
    if kind in {"image", "file"} and content.get("media_id") not in media:
        return _answer(40007, "invalid media_id")
    return _wrong_card(cast("Json", content), used) if kind == "template_card" else None


def _wrong_card(card: Json, used: set[str]) -> web.StreamResponse | None:
    buttons, task = card.get("button_list", []), str(card.get("task_id", ""))
    if card.get("card_type") not in {"text_notice", "button_interaction"}:
        return _answer(42014, "invalid card_type")
    if not card.get("main_title", {}).get("title") and not card.get("sub_title_text"):
        return _answer(42015, "missing main_title or sub_title_text")
    if card["card_type"] == "text_notice":
        return None if card.get("card_action", {}).get("url") else _answer(42018, "missing card_action")
    if not 1 <= len(buttons) <= 6 or any(not b["text"] or len(b["key"]) > 1024 for b in buttons):
        return _answer(42023, "invalid button_list")
    if not task or len(task) > 128 or len(card.get("horizontal_content_list", [])) > 6:
        return _answer(42012, "invalid task_id or horizontal_content_list")
    return _answer(42045, "task_id exists") if task in used else None


def _answer(code: int, text: str = "ok", **more: object) -> web.Response:
    return web.json_response({"errcode": code, "errmsg": text, **more})
