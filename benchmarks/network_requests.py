"""Whole HTTP requests as the networks send them, signed and encrypted beforehand, for `ingest.py`."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode

from integrations.channels.simulators.dingtalk import SimulatedDingTalk
from integrations.channels.simulators.discord import SimulatedDiscord
from integrations.channels.simulators.feishu import SimulatedFeishu
from integrations.channels.simulators.slack import SimulatedSlack
from integrations.channels.simulators.teams import SimulatedTeams
from integrations.channels.simulators.telegram import SimulatedTelegram
from integrations.channels.simulators.wecom import SimulatedWeCom

CONVERSATIONS = 500
Built = tuple[str, Mapping[str, str], bytes]
"""Path and query, headers, body."""


@dataclass
class Networks:
    """One simulator of each network; they must run where the gateway reaches them."""

    slack: SimulatedSlack = field(default_factory=SimulatedSlack)
    telegram: SimulatedTelegram = field(default_factory=SimulatedTelegram)
    feishu: SimulatedFeishu = field(default_factory=SimulatedFeishu)
    dingtalk: SimulatedDingTalk = field(default_factory=SimulatedDingTalk)
    wecom: SimulatedWeCom = field(default_factory=SimulatedWeCom)
    teams: SimulatedTeams = field(default_factory=SimulatedTeams)
    discord: SimulatedDiscord = field(default_factory=SimulatedDiscord)

    def builders(self) -> dict[str, Callable[[int], Built]]:
        """Return by network how message number N of it looks."""
        bearer = self.teams.bearer()  # One token signs for an hour, as the Bot Framework's do.
        return {
            "slack": self._slack,
            "telegram": self._telegram,
            "feishu": self._feishu,
            "dingtalk": self._dingtalk,
            "wecom": self._wecom,
            "teams": lambda number: self._teams(number, bearer),
            "discord": self._discord,
        }

    def _slack(self, number: int) -> Built:
        event = {"type": "message", "user": "U1", "text": said(number), "channel": f"D{number % CONVERSATIONS}"}
        event |= {"ts": f"1700000000.{number:06d}", "channel_type": "im"}
        payload = {"team_id": "T1", "type": "event_callback", "event": event, "event_id": f"Ev{number}"}
        return ("/channels/slack/events", *self.slack.signed("events_api", payload))

    def _telegram(self, number: int) -> Built:
        chat = {"id": 1 + number % CONVERSATIONS, "type": "private"}
        message = {"message_id": number, "text": said(number), "chat": chat, "from": {"id": 7, "is_bot": False}}
        headers = {"X-Telegram-Bot-Api-Secret-Token": self.telegram.secret_token, **JSON}
        return "/channels/telegram/updates", headers, written({"update_id": number, "message": message})

    def _feishu(self, number: int) -> Built:
        message = {"message_id": f"om_{number}", "chat_id": f"oc_{number % CONVERSATIONS}", "chat_type": "p2p"}
        message |= {"message_type": "text", "content": json.dumps({"text": said(number)})}
        sender = {"sender_id": {"open_id": "ou_ann"}, "sender_type": "user"}
        event = self.feishu.envelope("im.message.receive_v1", {"sender": sender, "message": message})
        return ("/channels/feishu/events", *self.feishu.request(event))

    def _dingtalk(self, number: int) -> Built:
        content = {"msgtype": "text", "text": {"content": said(number)}}
        message = self.dingtalk.message(content, group=f"cid{number % CONVERSATIONS}", message_id=f"msg{number}")
        return "/channels/dingtalk/robot", {**self.dingtalk.signed(), **JSON}, written(message)

    def _wecom(self, number: int) -> Built:
        text = self.wecom.xml(f"m{number % CONVERSATIONS}", "text", Content=said(number), MsgId=str(number))
        query, body = self.wecom.sealed(text)
        return f"/channels/wecom?{urlencode(query)}", {"Content-Type": "text/xml"}, body

    def _teams(self, number: int, bearer: str) -> Built:
        activity = self.teams.activity("message", conversation=f"a:{number % CONVERSATIONS}")
        activity |= {"text": said(number), "id": f"f:{number}"}
        return "/channels/teams/messages", {"Authorization": bearer, **JSON}, written(activity)

    def _discord(self, number: int) -> Built:
        data = {"id": "1", "name": "ask", "options": [{"name": "text", "type": 3, "value": said(number)}]}
        body = written(self.discord.interaction(2, f"C{number % CONVERSATIONS}", "u1", data))
        return "/channels/discord/interactions", self.discord.signed(body), body


JSON = {"Content-Type": "application/json"}


def said(number: int) -> str:
    """Return the text of a message."""
    return f"磁盘 90% on host {number}"


def written(document: Mapping[str, object]) -> bytes:
    """Return JSON as the networks write it."""
    return json.dumps(document).encode()


def whole(built: Built) -> bytes:
    """Return a request as it goes over the wire."""
    path, headers, body = built
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def numbers() -> Iterator[int]:
    """Count on from the present second, so that no two runs share a message's number."""
    number = int(time.time()) % 1_000_000 * 1000
    while True:
        number += 1
        yield number
