"""DingTalk's OpenAPI in miniature: tokens, robot messages, cards and files; what the real one refuses is refused."""

import itertools
import json
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from integrations.channels.simulators.base import Ended, Fault, Simulator

MAX_PARAM = 15_000
KEYS = {"sampleText", "sampleMarkdown", "sampleActionCard", "sampleImageMsg", "sampleFile"}
Json = dict[str, Any]
SCOPES = {"send": "qyapi_robot_sendmsg", "card": "Card.Instance.Write", "type": "Card.Streaming.Write"}
DENIED = "Forbidden.AccessDenied.AccessTokenPermissionDenied"


@dataclass(slots=True)
class Sent:
    """One message of the robot: to whom, how, and what."""

    place: str
    key: str
    content: Json

    @property
    def text(self) -> str:
        """What it says."""
        return str(self.content.get("text") or "")


@dataclass(slots=True)
class ShownCard:
    """One card as people see it."""

    card_id: str
    place: str
    values: dict[str, str]
    final: bool = False


class DingTalkPlatform(Simulator):
    """What one app sees of DingTalk."""

    def __init__(self, *, template: str) -> None:
        super().__init__()
        self.app_key = "dingapp"
        self.app_secret = os.urandom(16).hex()
        self.template = template
        self.session_seconds = 5400.0
        self.staff = {"ann", "bob"}
        self.groups = {"cidGroup=="}
        self.sent: list[Sent] = []
        self.replies: list[Json] = []
        self.cards: dict[str, ShownCard] = {}
        self.scopes = set(SCOPES.values())
        self.files: dict[str, bytes] = {}
        self.uploads: dict[str, bytes] = {}
        self.acknowledged: dict[str, Json] = {}
        self._tokens: set[str] = set()
        self.numbers = itertools.count(1)

    def routes(self) -> Iterable[web.RouteDef]:
        """Return the OpenAPI and the older addresses."""
        return [
            web.post("/v1.0/oauth2/accessToken", self._token),
            web.post("/v1.0/robot/oToMessages/batchSend", self._to_people),
            web.post("/v1.0/robot/groupMessages/send", self._to_group),
            web.post("/v1.0/robot/messageFiles/download", self._address_of_file),
            web.get("/files/{code}", self._file),
            web.post("/media/upload", self._upload),
            web.post("/v1.0/card/instances/createAndDeliver", self._new_card),
            web.put("/v1.0/card/instances", self._change_card),
            web.put("/v1.0/card/streaming", self._type),
            web.post("/session/{ends}", self._session),
        ]

    async def _token(self, request: web.Request) -> web.StreamResponse:
        content = await request.json()
        await self.meet(request, "token", {"appKey": content.get("appKey")})
        if (content.get("appKey"), content.get("appSecret")) != (self.app_key, self.app_secret):
            return no(400, "invalidClientIdOrSecret", "the app key or secret is wrong")
        token = os.urandom(8).hex()
        self._tokens.add(token)
        return web.json_response({"accessToken": token, "expireIn": 7200})

    def revoke(self) -> None:
        """Let all tokens end at once."""
        self._tokens.clear()

    async def _to_people(self, request: web.Request) -> web.StreamResponse:
        content = await request.json()
        fault = await self._authorized(request, "send", content)
        if not content["userIds"]:
            return no(400, "invalidParameter.userIds.empty", "userIds is empty")
        unknown = [user for user in content["userIds"] if user not in self.staff]
        for user in content["userIds"]:
            if user in self.staff:
                self._keep(f"user/{user}", content)
        if fault:
            return self.faulty(request, fault)
        return web.json_response({"processQueryKey": os.urandom(8).hex(), "invalidStaffIdList": unknown})

    async def _to_group(self, request: web.Request) -> web.StreamResponse:
        content = await request.json()
        fault = await self._authorized(request, "send", content)
        if content.get("openConversationId") not in self.groups:
            return no(400, "invalidParameter.openConversationId", "no such group")
        self._keep(content["openConversationId"], content)
        return self.faulty(request, fault) if fault else web.json_response({"processQueryKey": os.urandom(8).hex()})

    def _keep(self, place: str, content: Json) -> None:
        if content.get("robotCode") != self.app_key:
            raise Ended(no(400, "invalidParameter.robotCode", "no such robot"))
        if content.get("msgKey") not in KEYS or not isinstance(content.get("msgParam"), str):
            raise Ended(no(400, "invalidParameter.msgKey", "no such msgKey, or msgParam is no text"))
        if len(content["msgParam"].encode()) > MAX_PARAM:
            raise Ended(no(400, "invalidParameter.msgParam.tooLong", "the message is too long"))
        inner = json.loads(content["msgParam"])
        media = inner.get("mediaId") or inner.get("photoURL")
        if media is not None and media not in self.uploads:
            raise Ended(no(400, "invalidParameter.mediaId", "no such media"))
        self.sent.append(Sent(place, content["msgKey"], inner))
        self.changed()

    async def _address_of_file(self, request: web.Request) -> web.StreamResponse:
        content = await request.json()
        await self._authorized(request, "download", content)
        if content.get("downloadCode") not in self.files:
            return no(400, "invalidParameter.downloadCode", "no such file")
        return web.json_response({"downloadUrl": f"{self.url}/files/{content['downloadCode']}"})

    async def _file(self, request: web.Request) -> web.StreamResponse:
        return web.Response(body=self.files[request.match_info["code"]])

    async def _upload(self, request: web.Request) -> web.StreamResponse:
        if request.query.get("access_token") not in self._tokens:
            return web.json_response({"errcode": 40014, "errmsg": "invalid access_token"})
        part = (await request.post()).get("media")
        if not isinstance(part, web.FileField):
            return web.json_response({"errcode": 40035, "errmsg": "no media"})
        media_id = f"@media{next(self.numbers)}"
        self.uploads[media_id] = part.file.read()
        return web.json_response({"errcode": 0, "media_id": media_id, "type": request.query.get("type")})

    async def _new_card(self, request: web.Request) -> web.StreamResponse:
        content = await request.json()
        fault = await self._authorized(request, "card", content)
        if content.get("cardTemplateId") != self.template or content["outTrackId"] in self.cards:
            return no(400, "param.templateNotExist", "no such template, or outTrackId exists")
        values = _strings(content["cardData"]["cardParamMap"])
        self.cards[content["outTrackId"]] = ShownCard(content["outTrackId"], content["openSpaceId"], values)
        self.changed()
        return self.faulty(request, fault) if fault else web.json_response({"success": True})

    async def _change_card(self, request: web.Request) -> web.StreamResponse:
        content = await request.json()
        await self._authorized(request, "card", content)
        self._card(content).values |= _strings(content["cardData"]["cardParamMap"])
        self.changed()
        return web.json_response({"success": True})

    async def _type(self, request: web.Request) -> web.StreamResponse:
        content = await request.json()
        await self._authorized(request, "type", content)
        card = self._card(content)
        if card.final and not content["isFinalize"]:
            return no(400, "param.finished", "the card is finished")
        card.values[content["key"]] = content["content"]
        card.final = content["isFinalize"]
        self.changed()
        return web.json_response({"success": True})

    def _card(self, content: Json) -> ShownCard:
        card = self.cards.get(content["outTrackId"])
        if card is None:
            raise Ended(no(400, "param.cardNotExist", "no such card"))
        return card

    async def _session(self, request: web.Request) -> web.StreamResponse:
        content = await request.json()
        await self.meet(request, "session", content)
        if int(request.match_info["ends"]) < time.time() * 1000:
            return web.json_response({"errcode": 300001, "errmsg": "session expired"})
        self.replies.append(content)
        self.changed()
        return web.json_response({"errcode": 0, "errmsg": "ok"})

    async def _authorized(self, request: web.Request, operation: str, content: Json) -> Fault | None:
        fault = await self.meet(request, operation, content)
        if request.headers.get("x-acs-dingtalk-access-token") not in self._tokens:
            raise Ended(no(401, "InvalidAuthentication", "the token is wrong"))
        if SCOPES.get(operation, "") not in {*self.scopes, ""}:
            refused: Json = {"code": DENIED, "message": "没有调用该接口的权限"}
            refused["accessdenieddetail"] = {"requiredScopes": [SCOPES[operation]]}
            raise Ended(web.json_response(refused, status=403))
        return fault

    def limited(self, wait_s: float) -> web.StreamResponse:  # noqa: ARG002 - DingTalk doesn't tell
        """Return DingTalk's own answer to too many calls."""
        return no(403, "Forbidden.AccessDenied.QpsLimitForAppkeyAndApi", "too many calls")


def _strings(values: Mapping[str, object]) -> dict[str, str]:
    if not all(isinstance(value, str) for value in values.values()):
        raise Ended(no(400, "param.cardParamMap", "all values must be strings"))
    return {name: str(value) for name, value in values.items()}


def no(status: int, code: str, said: str) -> web.Response:
    """Return a refusal as DingTalk writes it."""
    return web.json_response({"code": code, "message": said, "requestid": os.urandom(4).hex()}, status=status)
