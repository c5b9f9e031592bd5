"""A Teams in miniature: Entra's token endpoint, the Bot Framework's metadata and keys, the Bot Connector, its limits.

`say`, `press`, `submit`, `change` and `remove` sign activities as the Bot Framework does and post them to
`callback_url`, again while nobody answers 200. Sent activities are refused as the real ones are: size, ids, tokens.
"""

import asyncio
import base64
import contextlib
import json
import time
import uuid
from collections.abc import Iterable, Mapping
from itertools import count
from typing import Any

import httpx
import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from integrations.channels.simulators.base import Ended, Simulator
from integrations.settings_channels import Teams

Json = dict[str, Any]
MAX_BYTES = 100 * 1024
MAX_ACTIONS = 6
BOT = "28:runbell"
DIRECT, CHANNEL = "a:1direct", "19:team@thread.tacv2"


class SimulatedTeams(Simulator):
    """One bot, and the people who speak with it."""

    def __init__(self) -> None:
        super().__init__()
        self.app_id = str(uuid.uuid4())
        self.app_secret = uuid.uuid4().hex
        self.security_token = base64.b64encode(uuid.uuid4().bytes + uuid.uuid4().bytes).decode()
        self.callback_url = ""
        self.redelivery_s: tuple[float, ...] = (0.0, 0.1, 0.2)
        self.posted: list[Json] = []
        self.files: dict[str, bytes] = {}
        self.endorsements = ["msteams"]
        self._numbers = count(1)
        self._tokens: set[str] = set()
        self.turn_key()

    def settings(self, **changed: Any) -> Teams:  # noqa: ANN401 - as the section takes them
        """Return what `[channels.teams]` must hold to speak to this server."""
        section: Json = {
            "app_id": self.app_id,
            "app_secret": self.app_secret,
            "login_url": self.url,
            "metadata_url": f"{self.url}/openid",
            "service_hosts": ["127.0.0.1"],
            "file_hosts": ["127.0.0.1"],
        }
        return Teams.model_validate({**section, **changed})

    def turn_key(self) -> None:
        """Sign with a new key from now on."""
        self.key = rsa.generate_private_key(65537, 2048)
        self.kid = uuid.uuid4().hex

    def routes(self) -> Iterable[web.RouteDef]:
        """Return what is served."""
        path = "/v3/conversations/{conversation}/activities"
        return [
            web.get("/openid", self._openid),
            web.get("/keys", self._keys),
            web.post("/{tenant}/oauth2/v2.0/token", self._token),
            web.post(path, self._post),
            web.post(f"{path}/{{reply_to}}", self._post),
            web.put(f"{path}/{{activity}}", self._put),
            web.get("/files/{name}", self._file),
        ]

    def revoke(self) -> None:
        """Take back all access tokens."""
        self._tokens.clear()

    async def say(self, text: str, *, conversation: str = DIRECT, by: str = "ann", **more: Any) -> Json:  # noqa: ANN401
        """Write a message, with a mention in channels; returns the activity."""
        sent = self.activity("message", conversation=conversation, by=by)
        if not conversation.startswith("a:"):
            mention = {"type": "mention", "mentioned": {"id": BOT, "name": "Bell"}, "text": "<at>Bell</at>"}
            text, sent["entities"] = f"<at>Bell</at> {text}", [mention]
        sent |= {"text": text, "textFormat": "plain", **more}
        await self.push(sent)
        return sent

    async def press(self, posted: Json, title: str, *, by: str = "ann", values: Json | None = None) -> Json:
        """Press a button of a card, with a form's inputs; returns what Teams is told."""
        card = posted["attachments"][0]["content"]
        action = next(action for action in card["actions"] if action.get("title") == title)
        sent = self.activity("invoke", conversation=posted["conversation"], by=by)
        data = {**(values or {}), **action["data"]}
        sent |= {"name": "adaptiveCard/action", "replyToId": posted["id"]}
        sent["value"] = {"action": {"type": "Action.Execute", "verb": action["verb"], "data": data}}
        return await self.push(sent)

    def activity(self, kind: str, *, conversation: str = DIRECT, by: str = "ann") -> Json:
        """Return the frame of an activity."""
        direct = conversation.startswith("a:")
        return {
            "type": kind,
            "id": f"f:{next(self._numbers)}",
            "timestamp": f"2026-11-21T10:00:00.{next(self._numbers):06d}Z",
            "serviceUrl": f"{self.url}/",
            "channelId": "msteams",
            "from": {"id": f"29:{by}", "name": by.title(), "aadObjectId": f"aad-{by}"},
            "recipient": {"id": BOT, "name": "Bell"},
            "conversation": {"id": conversation, "conversationType": "personal" if direct else "channel"},
            "channelData": {"tenant": {"id": "t1"}},
        }

    def bearer(self, **claims: Any) -> str:  # noqa: ANN401 - any claim
        """Return an Authorization header; claims may be changed."""
        now = int(time.time())
        content = {"iss": "https://api.botframework.com", "aud": self.app_id, "serviceurl": f"{self.url}/"}
        content |= {"nbf": now - 10, "exp": now + 3600, **claims}
        return "Bearer " + jwt.encode(content, self.key, "RS256", {"kid": self.kid})

    async def push(self, activity: Json, authorization: str = "") -> Json:
        """Deliver an activity as the switches say, again while it is not taken; returns the last answer."""
        answers = list[httpx.Response]()

        async def deliver() -> None:
            answers.append(await self._deliver(activity, authorization or self.bearer()))

        await self.switches.deliver(deliver)
        if not answers or not answers[-1].content:
            return {"status": answers[-1].status_code if answers else 0}
        return {"status": answers[-1].status_code, **answers[-1].json()}

    async def _deliver(self, activity: Json, authorization: str) -> httpx.Response:
        headers = {"Authorization": authorization, "Content-Type": "application/json; charset=utf-8"}
        answer = httpx.Response(504)
        async with httpx.AsyncClient(trust_env=False, timeout=15) as http:
            for pause in (*self.redelivery_s, None):
                with contextlib.suppress(httpx.TransportError):
                    answer = await http.post(self.callback_url, content=json.dumps(activity), headers=headers)
                    if answer.status_code < 500:
                        break
                if pause is not None:
                    await asyncio.sleep(pause)
        return answer

    async def _openid(self, request: web.Request) -> web.StreamResponse:
        await self.meet(request, "openid", {})
        return web.json_response({"issuer": "https://api.botframework.com", "jwks_uri": f"{self.url}/keys"})

    async def _keys(self, request: web.Request) -> web.StreamResponse:
        await self.meet(request, "keys", {})
        key = json.loads(RSAAlgorithm.to_jwk(self.key.public_key()))
        return web.json_response({"keys": [{**key, "kid": self.kid, "endorsements": self.endorsements}]})

    async def _token(self, request: web.Request) -> web.StreamResponse:
        form = await request.post()
        await self.meet(request, "token", {})
        if (form.get("client_id"), form.get("client_secret")) != (self.app_id, self.app_secret):
            return web.json_response({"error": "invalid_client"}, status=401)
        if form.get("scope") != "https://api.botframework.com/.default":
            return web.json_response({"error": "invalid_scope"}, status=400)
        token = uuid.uuid4().hex
        self._tokens.add(token)
        return web.json_response({"token_type": "Bearer", "expires_in": 3599, "access_token": token})

    async def _post(self, request: web.Request) -> web.StreamResponse:
        content = await self._checked(request)
        fault = await self.meet(request, "post", content, key=request.match_info["conversation"])
        sent = {**content, "id": f"1:{next(self._numbers)}", "conversation": request.match_info["conversation"]}
        if content.get("type") == "typing":
            stream = next((e.get("streamId") for e in content.get("entities", ()) if e.get("streamId")), None)
            return web.json_response({"id": stream or sent["id"]}, status=202)
        self.posted.append(sent)
        self.changed()
        return web.json_response({"id": sent["id"]}, status=201) if fault is None else self.faulty(request, fault)

    async def _put(self, request: web.Request) -> web.StreamResponse:
        content = await self._checked(request)
        await self.meet(request, "put", content)
        for number, sent in enumerate(self.posted):
            if sent["id"] == request.match_info["activity"]:
                self.posted[number] = {**sent, **content}
                self.changed()
                return web.json_response({"id": sent["id"]})
        raise Ended(_error(404, "ActivityNotFoundInConversation"))

    async def _file(self, request: web.Request) -> web.StreamResponse:
        return web.Response(body=self.files[request.match_info["name"]])

    async def _checked(self, request: web.Request) -> Json:
        if request.headers.get("Authorization", "").removeprefix("Bearer ") not in self._tokens:
            raise Ended(_error(401, "Unauthorized"))
        text = await request.text()
        if len(text.encode("utf-16-le")) > MAX_BYTES:
            raise Ended(_error(413, "MessageSizeTooBig"))
        if not request.match_info["conversation"].startswith(("a:", "19:")):
            raise Ended(_error(404, "ConversationNotFound"))
        content: Json = json.loads(text)
        if content.get("type") not in ("message", "typing") or any(
            _broken(one) for one in content.get("attachments", ())
        ):
            raise Ended(_error(400, "BadSyntax"))
        return content


def _broken(attachment: Mapping[str, Any]) -> bool:
    card = attachment.get("content", {})
    return card.get("type") != "AdaptiveCard" or len(card.get("actions", ())) > MAX_ACTIONS + 1


def _error(status: int, code: str) -> web.Response:
    return web.json_response({"error": {"code": code, "message": code}}, status=status)
