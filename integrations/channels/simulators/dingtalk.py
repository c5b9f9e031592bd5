"""A DingTalk in miniature: the Stream gateway, robot messages, cards, files, and people who write to the robot.

Like the real one it pushes a robot's message once only, and an event again until it is acknowledged; tickets are good
once; people outside the organization are reached by the address of their session alone, while it lasts.
"""

import asyncio
import json
import os
import time
from collections.abc import Iterable, Mapping
from typing import Any

from aiohttp import web

from integrations.channels.dingtalk.verify import BOT_TOPIC, sign
from integrations.channels.simulators.base import texts
from integrations.channels.simulators.dingtalk_platform import DingTalkPlatform, ShownCard, no
from integrations.settings_channels import DingTalk

EVENT_RETRY_SECONDS = 0.2
CARD_TOPIC = "/v1.0/card/instances/callback"
Json = dict[str, Any]


class SimulatedDingTalk(DingTalkPlatform):
    """One organization with one app, and the people in it."""

    def __init__(self, *, template: str = "") -> None:
        super().__init__(template=template)
        self._tickets: set[str] = set()

    def settings(self) -> DingTalk:
        """Return what `[channels.dingtalk]` must hold to speak to this server."""
        return DingTalk(
            app_key=self.app_key,
            app_secret=self.app_secret,
            card_template_id=self.template or None,
            api_url=self.url,
        )

    def routes(self) -> Iterable[web.RouteDef]:
        """Return the platform and its Stream gateway."""
        stream = [web.post("/v1.0/gateway/connections/open", self._open), web.get("/connect", self._connect)]
        return [*super().routes(), *stream]

    async def say(self, text: str, *, by: str = "ann", group: str = "", message_id: str = "") -> str:
        """Write to the robot, in a group with a mention; returns the message's id."""
        return await self.write(
            {"msgtype": "text", "text": {"content": f" {text}"}}, by=by, group=group, message_id=message_id
        )

    async def attach(self, data: bytes, name: str, *, by: str = "ann") -> str:
        """Send a file."""
        code = f"code{next(self.numbers)}"
        self.files[code] = data
        return await self.write({"msgtype": "file", "content": {"downloadCode": code, "fileName": name}}, by=by)

    async def write(self, content: Mapping[str, Any], *, by: str = "ann", group: str = "", message_id: str = "") -> str:
        """Write a message of any kind."""
        data = self.message(content, by=by, group=group, message_id=message_id)
        await self.switches.deliver(lambda: self.push("CALLBACK", BOT_TOPIC, data))
        return str(data["msgId"])

    def message(self, content: Mapping[str, Any], *, by: str = "ann", group: str = "", message_id: str = "") -> Json:
        """Return a message as the robot gets it."""
        ends = int((time.time() + self.session_seconds) * 1000)
        data: Json = {"msgId": message_id or f"msg{next(self.numbers)}", "senderId": f"$:{by}", "senderNick": by}
        data |= {"conversationType": "2" if group else "1", "conversationId": group or f"cid{by}"}
        data |= {"chatbotUserId": "$:bot", "robotCode": self.app_key, "sessionWebhookExpiredTime": ends}
        data |= {"sessionWebhook": f"{self.url}/session/{ends}", **content}
        return data | ({"senderStaffId": by} if by in self.staff else {})

    async def press(self, card: ShownCard, label: str, *, by: str = "ann") -> None:
        """Press a button of a card."""
        number = next(n for n in range(1, 5) if card.values.get(f"choice{n}") == label)
        params = {"token": card.values[f"token{number}"], "conversation": card.values["conversation"]}
        content = json.dumps({"cardPrivateData": {"actionIds": [f"b{number}"], "params": params}})
        data = {"type": "actionCallback", "userId": by, "outTrackId": card.card_id, "content": content}
        await self.push("CALLBACK", CARD_TOPIC, data)

    def signed(self) -> dict[str, str]:
        """Return the headers of a call in HTTP mode."""
        stamp = str(int(time.time() * 1000))
        return {"timestamp": stamp, "sign": sign(stamp, self.app_secret)}

    async def push(self, kind: str, topic: str, data: Mapping[str, Any], **headers: str) -> str:
        """Send a frame to one of the connections; returns its message id. It is lost where there is none."""
        message_id = f"frame{next(self.numbers)}"
        head = {"topic": topic, "messageId": message_id, "contentType": "application/json", **headers}
        head["time"] = str(int(time.time() * 1000))
        frame = {"specVersion": "1.0", "type": kind, "headers": head, "data": json.dumps(data)}
        for socket in self.sockets[:1]:
            await socket.send_json(frame)
        return message_id

    async def event(self, kind: str, data: Mapping[str, Any]) -> None:
        """Push an event until it is acknowledged as the protocol wants it."""
        event_id = os.urandom(8).hex()
        while True:
            message_id = await self.push("EVENT", "*", data, eventId=event_id, eventType=kind)
            await asyncio.sleep(EVENT_RETRY_SECONDS)
            answer = self.acknowledged.get(message_id)
            if answer and json.loads(str(answer["data"])).get("status") == "SUCCESS":
                return

    async def _open(self, request: web.Request) -> web.StreamResponse:
        content = await request.json()
        await self.meet(request, "open", {"subscriptions": content.get("subscriptions")})
        if (content.get("clientId"), content.get("clientSecret")) != (self.app_key, self.app_secret):
            return no(401, "authFailed", "the client id or secret is wrong")
        ticket = os.urandom(8).hex() + "+/="
        self._tickets.add(ticket)
        return web.json_response({"endpoint": f"{self.ws_url}/connect", "ticket": ticket})

    async def _connect(self, request: web.Request) -> web.StreamResponse:
        ticket = request.query.get("ticket", "")
        if ticket not in self._tickets:
            return no(401, "invalidTicket", "the ticket was used or is unknown")
        self._tickets.discard(ticket)
        socket = await self.socket(request)
        async for raw in texts(socket):
            answer = json.loads(raw)
            self.acknowledged[answer["headers"]["messageId"]] = answer
            self.changed()
        return socket
