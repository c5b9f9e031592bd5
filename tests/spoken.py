"""Authentic documents of every network, how a spoilt one reaches its channel, and a sound one after it."""

import base64
import hmac
import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, cast
from urllib.parse import urlencode

from aiohttp import web

from integrations.channels import Call, Channel, Hooked, Receive
from integrations.channels.dingtalk.verify import BOT_TOPIC
from integrations.channels.email.channel import Email
from integrations.channels.email.mailbox import Fetched
from integrations.channels.feishu.frames import DATA, Frame, encode
from integrations.channels.simulators.base import Simulator
from integrations.channels.simulators.dingtalk import CARD_TOPIC, SimulatedDingTalk
from integrations.channels.simulators.discord import SimulatedDiscord
from integrations.channels.simulators.email import SimulatedEmail
from integrations.channels.simulators.feishu import SimulatedFeishu
from integrations.channels.simulators.slack import SimulatedSlack
from integrations.channels.simulators.teams import SimulatedTeams
from integrations.channels.simulators.telegram import SimulatedTelegram
from integrations.channels.simulators.wecom import SimulatedWeCom
from integrations.channels.simulators.wecom_robot import SimulatedWeComRobot
from integrations.settings_channels import Webhook
from tests.fuzzing import WEIRD, broken, spoilt, spoilt_bytes, written
from tests.requests import Mutation

Json = dict[str, Any]
LAST = "the last one is sound"
SLACK: Sequence[Json] = (
    {"type": "message", "user": "U1", "text": "hi <@UBOT> <https://x.test|x>", "channel": "D1", "ts": "1700000000.1"},
    {
        "type": "app_mention",
        "user": "U1",
        "text": "<@UBOT> go",
        "channel": "C1",
        "ts": "1.2",
        "thread_ts": "1.1",
        "files": [{"id": "F1", "name": "a.txt", "url_private_download": "http://127.0.0.1:1/a"}],
    },
    {
        "type": "message",
        "subtype": "message_changed",
        "channel": "D1",
        "message": {"user": "U1", "text": "b", "ts": "1.1", "edited": {"ts": "1.2"}},
        "previous_message": {"user": "U1", "text": "a", "ts": "1.1"},
    },
    {
        "type": "message",
        "subtype": "message_deleted",
        "channel": "D1",
        "deleted_ts": "1.1",
        "previous_message": {"user": "U1", "text": "a", "ts": "1.1"},
    },
)
SLACK_INTERACTIVE: Sequence[Json] = (
    {
        "type": "block_actions",
        "user": {"id": "U1", "username": "ann"},
        "team": {"id": "T1"},
        "container": {"message_ts": "1.1", "channel_id": "C1", "thread_ts": "1.0"},
        "channel": {"id": "C1"},
        "message": {"ts": "1.1"},
        "trigger_id": "1.t",
        "actions": [{"action_id": "form:1", "value": "sealed", "type": "button"}],
    },
    {
        "type": "view_submission",
        "user": {"id": "U1"},
        "view": {
            "id": "V1",
            "callback_id": "form",
            "private_metadata": "token C1/1.0 1.1",
            "state": {"values": {"name": {"x": {"type": "plain_text_input", "value": "Ada"}}}},
        },
    },
)
TELEGRAM: Sequence[Json] = tuple(
    {"update_id": 7, kind: content}
    for kind, content in (
        (
            "message",
            {
                "message_id": 5,
                "text": "@runbell_bot hi 😀",
                "chat": {"id": -100, "type": "supergroup"},
                "from": {"id": 7, "is_bot": False, "first_name": "Ann"},
                "entities": [{"type": "mention", "offset": 0, "length": 12}],
                "message_thread_id": 3,
                "is_topic_message": True,
                "reply_to_message": {"message_id": 4, "from": {"id": 999}},
            },
        ),
        ("edited_message", {"message_id": 5, "text": "b", "chat": {"id": 1, "type": "private"}, "from": {"id": 7}}),
        (
            "callback_query",
            {
                "id": "1",
                "from": {"id": 7},
                "data": "sealed",
                "message": {"message_id": 5, "chat": {"id": 1, "type": "private"}, "from": {"id": 999}},
            },
        ),
    )
)
DISCORD: Sequence[Json] = (
    {"type": 2, "data": {"id": "1", "name": "ask", "options": [{"name": "text", "type": 3, "value": "hi"}]}},
    {"type": 2, "data": {"name": "a", "options": [{"name": "b", "type": 1, "options": [{"name": "c", "value": 1}]}]}},
    {"type": 3, "data": {"custom_id": "p:sealed", "component_type": 2}, "message": {"id": "9"}},
    {
        "type": 5,
        "data": {
            "custom_id": "f:sealed",
            "components": [{"type": 1, "components": [{"custom_id": "n", "value": "v"}]}],
        },
    },
)
FEISHU: Sequence[tuple[str, Json]] = (
    (
        "im.message.receive_v1",
        {
            "sender": {"sender_id": {"open_id": "ou_ann"}, "sender_type": "user"},
            "message": {
                "message_id": "om_1",
                "chat_id": "oc_1",
                "chat_type": "group",
                "message_type": "text",
                "content": '{"text":"@_user_1 hi"}',
                "mentions": [{"key": "@_user_1", "id": {"open_id": "ou_bot"}, "name": "Runbell"}],
                "root_id": "om_0",
            },
        },
    ),
    (
        "im.message.receive_v1",
        {
            "sender": {"sender_id": {"open_id": "ou_ann"}, "sender_type": "user"},
            "message": {
                "message_id": "om_2",
                "chat_id": "oc_1",
                "chat_type": "p2p",
                "message_type": "post",
                "content": '{"title":"t","content":[[{"tag":"text","text":"a"},{"tag":"at","user_id":"@_user_1"}]]}',
            },
        },
    ),
    (
        "card.action.trigger",
        {
            "operator": {"open_id": "ou_ann"},
            "token": "c-1",
            "action": {"tag": "button", "value": {"token": "sealed", "conversation": "oc_1"}, "form_value": {"a": "b"}},
            "context": {"open_message_id": "om_1", "open_chat_id": "oc_1"},
        },
    ),
)
DINGTALK: Sequence[Json] = (
    {"msgtype": "text", "text": {"content": " hi"}},
    {"msgtype": "richText", "content": {"richText": [{"text": "a"}, {"text": "b", "type": "x"}]}},
    {"msgtype": "audio", "content": {"recognition": "heard"}},
)
ROBOT: Sequence[Json] = (
    {"msgtype": "text", "text": {"content": "@Runbell hi"}},
    {"msgtype": "mixed", "mixed": {"msg_item": [{"msgtype": "text", "text": {"content": "a"}}]}, "quote": {}},
    {
        "msgtype": "event",
        "event": {
            "eventtype": "template_card_event",
            "template_card_event": {"card_type": "button_interaction", "event_key": "sealed", "task_id": "t1"},
        },
    },
)
MAIL = (
    b"From: =?utf-8?q?Lin?= <lin@people.test>\r\nTo: bell@runbell.test\r\nMessage-ID: <1@people.test>\r\n"
    b"References: <0@runbell.test>\r\nSubject: =?utf-8?b?5L2g5aW9?=\r\nMIME-Version: 1.0\r\n"
    b"Authentication-Results: mx.test; dkim=pass header.d=people.test (a (b)); spf=pass\r\n"
    b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\nContent-Type: text/html; charset=gb18030\r\n'
    b"Content-Transfer-Encoding: base64\r\n\r\nPGI+aGk8L2I+PGJsb2NrcXVvdGU+b2xkPC9ibG9ja3F1b3RlPg==\r\n--b\r\n"
    b"Content-Type: text/plain; name=\"a.txt\"\r\nContent-Disposition: attachment; filename*=utf-8''%E4%BD%A0.txt\r\n"
    b"\r\nhello\r\n--b--\r\n"
)


class Spoken:
    """One network: `take` lets a spoilt content come in, with its proof where the network has one."""

    name: ClassVar[str]
    path: ClassVar[str] = ""
    simulator: Simulator

    @property
    def section_name(self) -> str:
        """What the channel's table in the settings is called."""
        return self.name.partition("-")[0]

    def section(self) -> object:
        return self.simulator.settings()  # type: ignore[attr-defined]

    async def take(self, channel: Channel, mutation: Mutation, receive: Receive) -> None:
        headers, query, body = self.call(mutation)
        lower = {name.lower(): value for name, value in headers.items()}
        assert isinstance(channel, Hooked)
        await channel.accept(Call({"source": "s"}, query, lower, body, path=self.path), receive)

    def call(self, mutation: Mutation) -> tuple[dict[str, str], dict[str, str], bytes]:
        """Return headers, query and body."""
        raise NotImplementedError

    def frame(self, mutation: Mutation) -> str | bytes:
        """Return a spoilt frame of the push connection."""
        raise NotImplementedError

    def last(self) -> str | bytes:
        """Return a sound frame that says `LAST`."""
        raise NotImplementedError


class SlackSpoken(Spoken):
    name, path = "slack", "/events"

    def __init__(self) -> None:
        self.simulator = self.slack = SimulatedSlack()

    def section(self) -> object:
        return self.slack.settings("http")

    def call(self, mutation: Mutation) -> tuple[dict[str, str], dict[str, str], bytes]:
        if mutation[0] % 3 == 0:
            form = {"payload": spoilt_bytes(SLACK_INTERACTIVE, mutation).decode("latin-1")}
            body, media = urlencode(form).encode(), "application/x-www-form-urlencoded"
        else:
            body, media = spoilt_bytes([_slack(event) for event in SLACK], mutation), "application/json"
        stamp = str(int(time.time()))
        mac = hmac.digest(self.slack.signing_secret.encode(), f"v0:{stamp}:".encode() + body, "sha256").hex()
        return (
            {"X-Slack-Request-Timestamp": stamp, "X-Slack-Signature": f"v0={mac}", "Content-Type": media},
            {},
            body,
        )


class SlackSocketSpoken(SlackSpoken):
    def section(self) -> object:
        return self.slack.settings("socket")

    def frame(self, mutation: Mutation) -> str | bytes:
        events = [_envelope("events_api", _slack(event)) for event in SLACK]
        others = [_envelope("interactive", payload) for payload in SLACK_INTERACTIVE]
        return spoilt_bytes([*events, *others], mutation).decode("latin-1")

    def last(self) -> str | bytes:
        return json.dumps(_envelope("events_api", _slack({**SLACK[0], "text": LAST, "ts": "9.9"})))


class TelegramSpoken(Spoken):
    name, path = "telegram", "/updates"

    def __init__(self) -> None:
        self.simulator = self.telegram = SimulatedTelegram()

    def section(self) -> object:
        return self.telegram.settings("webhook")

    def call(self, mutation: Mutation) -> tuple[dict[str, str], dict[str, str], bytes]:
        secret = {"X-Telegram-Bot-Api-Secret-Token": self.telegram.secret_token}
        return secret, {}, spoilt_bytes(TELEGRAM[:2], mutation)


class DiscordSpoken(Spoken):
    name, path = "discord", "/interactions"

    def __init__(self) -> None:
        self.simulator = self.discord = SimulatedDiscord()

    def call(self, mutation: Mutation) -> tuple[dict[str, str], dict[str, str], bytes]:
        documents = [self.discord.interaction(one["type"], "C1", "u1", one["data"]) | one for one in DISCORD]
        body = spoilt_bytes(documents, mutation)
        return self.discord.signed(body), {}, body


class DiscordGatewaySpoken(DiscordSpoken):
    def section(self) -> object:
        return self.discord.settings("gateway")

    def frame(self, mutation: Mutation) -> str | bytes:
        message = {**self._message("<@999000111> hi"), "mentions": [{"id": "999000111"}], "guild_id": "77"}
        event = self._event({**message, "attachments": [], "message_reference": {"message_id": "5"}})
        if mutation[1] % 4 == 0:
            # A changed code may well be an order to end the connection.
            data = json.dumps(event)
            return data[: mutation[2] % len(data)]
        return written({**event, "d": spoilt(event["d"], mutation)}).decode()

    def last(self) -> str | bytes:
        return json.dumps(self._event(self._message(LAST)))

    def _message(self, content: str) -> Json:
        author = {"id": "u1", "username": "ann"}
        return {"id": self.discord.number(), "channel_id": "D1", "author": author, "type": 0, "content": content}

    def _event(self, data: Json) -> Json:
        return next(iter(self.discord.sessions.values())).event("MESSAGE_CREATE", data)


class FeishuSpoken(Spoken):
    name, path = "feishu", "/events"

    def __init__(self) -> None:
        self.simulator = self.feishu = SimulatedFeishu()

    def call(self, mutation: Mutation) -> tuple[dict[str, str], dict[str, str], bytes]:
        kind, event = FEISHU[mutation[3] % len(FEISHU)]
        headers, body = self.feishu.request(spoilt(self.feishu.envelope(kind, event), mutation))
        return headers, {}, body


class FeishuSocketSpoken(FeishuSpoken):
    def section(self) -> object:
        return self.feishu.settings().model_copy(update={"mode": "socket"})

    def frame(self, mutation: Mutation) -> str | bytes:
        documents = [self.feishu.envelope(kind, event) for kind, event in FEISHU]
        frame = self._frame(spoilt_bytes(documents, mutation))
        if mutation[1] % 5 == 1:
            return broken(frame, (mutation[0], mutation[2], mutation[3], mutation[0]))
        return frame

    def last(self) -> str | bytes:
        kind, event = FEISHU[1]
        content = {"message_type": "text", "content": json.dumps({"text": LAST}), "message_id": "om_last"}
        return self._frame(written(self.feishu.envelope(kind, {**event, "message": {**event["message"], **content}})))

    def _frame(self, payload: bytes) -> bytes:
        headers = {"type": "event", "message_id": "m", "trace_id": "t", "sum": "1", "seq": "0"}
        return encode(Frame(DATA, 1, headers=headers, payload=payload))


class DingTalkSpoken(Spoken):
    name, path = "dingtalk", "/robot"

    def __init__(self) -> None:
        self.simulator = self.dingtalk = SimulatedDingTalk()

    def section(self) -> object:
        return self.dingtalk.settings().model_copy(update={"mode": "http"})

    def call(self, mutation: Mutation) -> tuple[dict[str, str], dict[str, str], bytes]:
        return self.dingtalk.signed(), {}, spoilt_bytes([self.dingtalk.message(one) for one in DINGTALK], mutation)


class DingTalkStreamSpoken(DingTalkSpoken):
    def section(self) -> object:
        return self.dingtalk.settings()

    def frame(self, mutation: Mutation) -> str | bytes:
        press = {"userId": "ann", "outTrackId": "o", "content": '{"cardPrivateData":{"params":{"token":"t"}}}'}
        contents = [(BOT_TOPIC, self.dingtalk.message(one)) for one in DINGTALK]
        topic, document = [*contents, (CARD_TOPIC, press)][mutation[3] % 4]
        if mutation[1] % 3 == 0:
            return spoilt_bytes([self._frame(topic, json.dumps(document))], mutation).decode("latin-1")
        return json.dumps(self._frame(topic, spoilt_bytes([document], mutation).decode("latin-1")))

    def last(self) -> str | bytes:
        data = self.dingtalk.message({"msgtype": "text", "text": {"content": LAST}}, message_id="last")
        return json.dumps(self._frame(BOT_TOPIC, json.dumps(data)))

    def _frame(self, topic: str, data: str) -> Json:
        head = {"topic": topic, "messageId": "m", "contentType": "application/json", "time": "1"}
        return {"specVersion": "1.0", "type": "CALLBACK", "headers": head, "data": data}


class WeComSpoken(Spoken):
    name = "wecom"

    def __init__(self) -> None:
        self.simulator = self.wecom = SimulatedWeCom()

    def call(self, mutation: Mutation) -> tuple[dict[str, str], dict[str, str], bytes]:
        where, how, at, what = mutation
        fields = {"Content": "hi", "MsgId": "1", "Event": "template_card_event", "EventKey": "k", "TaskId": "t"}
        weird = WEIRD[what % len(WEIRD)]
        if isinstance(weird, str) and weird.isprintable():
            fields[list(fields)[at % len(fields)]] = weird
        text = self.wecom.xml(
            "lin", ("text", "event", "image", weird if isinstance(weird, str) else "")[how % 4], **fields
        )
        if where % 2:
            text = broken(text.encode("utf-8", "replace"), (where, at, what, how)).decode("utf-8", "replace")
        query, body = self.wecom.sealed(text.encode("utf-8", "replace").decode())
        return {}, query, body


class RobotSpoken(Spoken):
    name = "wecom-robot"

    def __init__(self) -> None:
        self.simulator = self.robot = SimulatedWeComRobot()

    def frame(self, mutation: Mutation) -> str | bytes:
        documents = [self._frame(body) for body in ROBOT]
        return spoilt_bytes(documents, mutation).decode("latin-1")

    def last(self) -> str | bytes:
        return json.dumps(self._frame({"msgtype": "text", "text": {"content": LAST}, "chattype": "single"}))

    def _frame(self, body: Json) -> Json:
        head = {"msgid": "m1", "aibotid": "a", "from": {"userid": "lin"}, "chattype": "group", "chatid": "g"}
        event = body["msgtype"] == "event"
        command = "aibot_event_callback" if event else "aibot_msg_callback"
        return {"cmd": command, "headers": {"req_id": "r"}, "body": {**head, **body}}


class TeamsSpoken(Spoken):
    name, path = "teams", "/messages"

    def __init__(self) -> None:
        self.simulator = self.teams = SimulatedTeams()
        self.bearer = ""

    def call(self, mutation: Mutation) -> tuple[dict[str, str], dict[str, str], bytes]:
        self.bearer = self.bearer or self.teams.bearer()
        mention = {"type": "mention", "mentioned": {"id": "28:bot"}, "text": "<at>Bell</at>"}
        activity = {**self.teams.activity("message", conversation="19:x;messageid=1"), "text": "<at>Bell</at> hi"}
        documents: list[Json] = [
            {**activity, "entities": [mention], "attachments": [{"contentType": "text/html", "content": "<p>"}]},
            {**self.teams.activity("message", conversation="a:1"), "value": {"token": "t", "conversation": "a:1"}},
            {**self.teams.activity("invoke"), "name": "adaptiveCard/action", "value": {"action": {"data": {}}}},
        ]
        return {"Authorization": self.bearer}, {}, spoilt_bytes(documents, mutation)


class Nobody(Simulator):
    """A network that is not asked anything."""

    def routes(self) -> Sequence[web.RouteDef]:
        return ()


class WebhookSpoken(Spoken):
    name = "webhook"
    secret = "simple secret of some length"

    def __init__(self) -> None:
        self.simulator = Nobody()

    def section(self) -> object:
        return {"s": Webhook(secret=self.secret, kind="simple")}

    def call(self, mutation: Mutation) -> tuple[dict[str, str], dict[str, str], bytes]:
        said = {"text": "hi", "conversation": "c", "event_id": "e", "account_name": "ann"}
        body = spoilt_bytes([said, {"command": "greet", "args": {"name": "Ada", "n": [1, {"a": 2}]}}], mutation)
        mac = base64.b64encode(hmac.digest(self.secret.encode(), body, "sha256")).decode()
        return {"X-Signature": mac}, {}, body


class EmailSpoken(Spoken):
    """Mails that nobody has to prove, so that all of them are read."""

    name = "email"

    def __init__(self) -> None:
        self.simulator = self.mail = SimulatedEmail()
        self.held: set[str] = set()
        self.at = datetime.now(UTC)

    def section(self) -> object:
        return self.mail.settings(require_dkim=False, authserv_id="mx.test")

    async def take(self, channel: Channel, mutation: Mutation, receive: Receive) -> None:
        where, how, at, what = mutation
        raw = broken(MAIL, (where, at, what % len(MAIL), how * 37))
        if where % 2:
            raw = broken(raw, (where, how, (what * 7) % len(MAIL), at))
        self.at += timedelta(minutes=1)  # Whoever writes as fast as a machine is ignored.
        await cast("Email", channel).take([Fetched(1, raw, self.at)], receive, self.held)


def _slack(event: Json) -> Json:
    authorizations = [{"team_id": "T1", "user_id": "UBOT", "is_bot": True}]
    return {
        "team_id": "T1",
        "type": "event_callback",
        "event": event,
        "event_id": "E1",
        "authorizations": authorizations,
    }


def _envelope(kind: str, payload: Json) -> Json:
    return {"envelope_id": "e1", "type": kind, "payload": payload, "accepts_response_payload": kind == "interactive"}


CALLED: tuple[type[Spoken], ...] = (
    SlackSpoken,
    TelegramSpoken,
    DiscordSpoken,
    FeishuSpoken,
    DingTalkSpoken,
    WeComSpoken,
    TeamsSpoken,
    WebhookSpoken,
    EmailSpoken,
)
CONNECTED: tuple[type[Spoken], ...] = (
    SlackSocketSpoken,
    DiscordGatewaySpoken,
    FeishuSocketSpoken,
    DingTalkStreamSpoken,
    RobotSpoken,
)
