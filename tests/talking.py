"""Each network as one person in one thread of it sees it: what they say, see, press and fill in."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import httpx

from integrations.channels.dingtalk.verify import BOT_TOPIC
from integrations.channels.simulators.base import CUT, Simulator
from integrations.channels.simulators.dingtalk import SimulatedDingTalk
from integrations.channels.simulators.discord import SimulatedDiscord
from integrations.channels.simulators.email import SimulatedEmail
from integrations.channels.simulators.feishu import SimulatedFeishu, text_of
from integrations.channels.simulators.slack import SimulatedSlack
from integrations.channels.simulators.teams import CHANNEL, SimulatedTeams
from integrations.channels.simulators.telegram import SimulatedTelegram
from integrations.channels.simulators.wecom import SimulatedWeCom
from integrations.channels.simulators.wecom_robot import SimulatedWeComRobot

Json = Mapping[str, Any]
MODAL = 9
AGAIN_SECONDS = (0.1, 0.2, 0.4, 0.8, 1.6, *(2.0,) * 20)


class Talk:
    """`operation` is what the simulator calls the sending of a message, `last_operation` its last step where it has
    several; `pushes_once`, that it never repeats a message."""

    name: ClassVar[str]
    operation: ClassVar[str]
    last_operation: ClassVar[str] = ""
    simulator: Simulator
    forms = True
    buttons = True
    pushes_once = False
    more = "Ada"
    """What whoever was asked for an argument says."""

    @property
    def table(self) -> str:
        """What the channel's table in the settings is called."""
        return self.name.partition("-")[0]

    @property
    def connected(self) -> bool:
        """Whether the gateway holds its connection."""
        return bool(self.simulator.sockets)

    def section(self) -> object:
        """Return the channel's settings."""
        return self.simulator.settings()  # type: ignore[attr-defined]

    def reach(self, url: str) -> None:
        """Tell the network where the gateway is."""

    async def say(self, text: str) -> None:
        raise NotImplementedError

    def taken(self, texts: Sequence[str]) -> Sequence[str]:
        """Return what of these the network believes to be ours now: all, where it repeats until it is told so."""
        return texts

    async def cut(self) -> None:
        """Break the connection."""
        await self.simulator.cut()

    def shown(self) -> list[str]:
        """Return what we said in this thread, in order."""
        raise NotImplementedError

    def seen(self) -> list[str]:
        """Return what we said in this thread with all that is shown of it: cards, their steps, buttons."""
        return [json.dumps(one, ensure_ascii=False, default=str) for one in self.messages()]

    def messages(self) -> Sequence[Any]:
        raise NotImplementedError

    async def press(self, label: str) -> None:
        raise NotImplementedError

    async def fill(self, **values: str) -> None:
        """Fill in the form that was shown last."""
        raise NotImplementedError


class SlackTalk(Talk):
    name, operation = "slack", "chat.postMessage"
    mode = "socket"

    def __init__(self) -> None:
        self.simulator = self.slack = SimulatedSlack(redelivery_s=AGAIN_SECONDS)
        self.thread = ""

    def section(self) -> object:
        return self.slack.settings(self.mode)

    async def say(self, text: str) -> None:
        stamp = await self.slack.say("C1", f"<@UBOT> {text}", thread=self.thread)
        self.thread = self.thread or stamp

    def shown(self) -> list[str]:
        return [_slack_text(one) for one in self.messages()]

    def messages(self) -> Sequence[Any]:
        return [one for one in self.slack.posted("C1") if one.get("thread_ts") == self.thread]

    async def press(self, label: str) -> None:
        await self.slack.press(self.slack.posted("C1")[-1]["ts"], label)

    async def fill(self, **values: str) -> None:
        await self.press("Run")
        await self.slack.until(lambda: self.slack.views)
        await self.slack.submit(values)


class SlackHttpTalk(SlackTalk):
    mode = "http"

    def reach(self, url: str) -> None:
        self.slack.request_url = f"{url}/channels/slack/events"


class TelegramTalk(Talk):
    name, operation = "telegram", "sendMessage"
    forms = False
    mode = "polling"

    def __init__(self) -> None:
        self.simulator = self.telegram = SimulatedTelegram()
        self.telegram.redelivery_s = AGAIN_SECONDS

    def section(self) -> object:
        return self.telegram.settings(self.mode)

    async def say(self, text: str) -> None:
        await self.telegram.say(1, text)

    def shown(self) -> list[str]:
        return self.telegram.texts(1)

    def messages(self) -> Sequence[Any]:
        return [one for one in self.telegram.messages.values() if one["chat_id"] == 1]

    @property
    def connected(self) -> bool:
        return bool(self.telegram.called("getUpdates"))

    async def cut(self) -> None:
        self.telegram.fail("getUpdates", CUT)

    async def press(self, label: str) -> None:
        await self.telegram.press(max(self.telegram.messages), label)


class TelegramHttpTalk(TelegramTalk):
    mode = "webhook"

    def reach(self, url: str) -> None:
        self.telegram.webhook_url = f"{url}/channels/telegram/updates"


class FeishuTalk(Talk):
    name, operation = "feishu", "send"
    mode = "http"

    def __init__(self) -> None:
        self.simulator = self.feishu = SimulatedFeishu()
        self.feishu.redelivery_s = AGAIN_SECONDS
        self.root = ""

    def section(self) -> object:
        return self.feishu.settings().model_copy(update={"mode": self.mode})

    def reach(self, url: str) -> None:
        self.feishu.callback_url = f"{url}/channels/feishu/events"

    async def say(self, text: str) -> None:
        message_id = await self.feishu.say(text, chat="oc_group", group=True, root=self.root)
        self.root = self.root or message_id

    def shown(self) -> list[str]:
        return [text_of(card) for card in self.messages()]

    def messages(self) -> Sequence[Any]:
        return [self.feishu.shown(sent) for sent in self.feishu.sent if sent.place == self.root]

    async def press(self, label: str) -> None:
        await self.feishu.press(self.feishu.sent[-1], label)

    async def fill(self, **values: str) -> None:
        await self.feishu.press(self.feishu.sent[-1], "Run", values=values)


class FeishuSocketTalk(FeishuTalk):
    mode = "socket"


class DingTalkTalk(Talk):
    """With a card template. A message is pushed once only, and said to be lost where nobody acknowledges it."""

    name, operation = "dingtalk", "send"
    forms = False
    pushes_once = True
    group = "cidGroup=="

    def __init__(self) -> None:
        self.simulator = self.dingtalk = SimulatedDingTalk(template="card.schema")
        self.frames: dict[str, str] = {}

    async def say(self, text: str) -> None:
        data = self.dingtalk.message({"msgtype": "text", "text": {"content": f" {text}"}}, group=self.group)

        async def push() -> None:
            self.frames[text] = await self.dingtalk.push("CALLBACK", BOT_TOPIC, data)

        await self.dingtalk.switches.deliver(push)

    def taken(self, texts: Sequence[str]) -> Sequence[str]:
        return [text for text in texts if self.frames[text] in self.dingtalk.acknowledged]

    def shown(self) -> list[str]:
        sent = [sent.text for sent in self.dingtalk.sent if sent.place == self.group]
        return [*sent, *(card.values.get("content", "") for card in self.dingtalk.cards.values())]

    def messages(self) -> Sequence[Any]:
        return [*self.dingtalk.sent, *(card.values for card in self.dingtalk.cards.values())]

    async def press(self, label: str) -> None:
        await self.dingtalk.press(list(self.dingtalk.cards.values())[-1], label)


class WeComTalk(Talk):
    name, operation = "wecom", "send"
    forms = False

    def __init__(self) -> None:
        self.simulator = self.wecom = SimulatedWeCom()
        self.wecom.redelivery_s = AGAIN_SECONDS
        self.callback = ""

    def reach(self, url: str) -> None:
        self.callback = f"{url}/channels/wecom"

    async def say(self, text: str) -> None:
        await self.wecom.say(self.callback, "lin", text)

    def shown(self) -> list[str]:
        return self.wecom.texts("lin")

    def messages(self) -> Sequence[Any]:
        return self.wecom.shown.get("lin", [])

    async def press(self, label: str) -> None:
        card = self.wecom.cards("lin")[-1]
        index = [button["text"] for button in card["button_list"]].index(label)
        await self.wecom.press(self.callback, "lin", card, index)


class TeamsTalk(Talk):
    name, operation = "teams", "post"
    thread = f"{CHANNEL};messageid=17"

    def __init__(self) -> None:
        self.simulator = self.teams = SimulatedTeams()
        self.teams.redelivery_s = AGAIN_SECONDS

    def reach(self, url: str) -> None:
        self.teams.callback_url = f"{url}/channels/teams/messages"

    async def say(self, text: str) -> None:
        await self.teams.say(text, conversation=self.thread)

    def shown(self) -> list[str]:
        return [sent.get("text", "") for sent in self.messages()]

    def messages(self) -> Sequence[Any]:
        return [sent for sent in self.teams.posted if sent["conversation"] == self.thread]

    async def press(self, label: str) -> None:
        await self.teams.press(self.teams.posted[-1], label)

    async def fill(self, **values: str) -> None:
        await self.teams.press(self.teams.posted[-1], "Run", values=values)


class DiscordTalk(Talk):
    """By interactions, which are not repeated: whoever sends one sees that it failed."""

    name, operation = "discord", "create"
    pushes_once = True

    def __init__(self) -> None:
        self.simulator = self.discord = SimulatedDiscord()
        self.callback = ""
        self.failed: set[str] = set()

    def reach(self, url: str) -> None:
        self.callback = f"{url}/channels/discord/interactions"

    async def say(self, text: str) -> None:
        try:
            await self.discord.use(self.callback, "C1", "u1", "ask", text=text)
        except httpx.TransportError:
            self.failed.add(text)

    def taken(self, texts: Sequence[str]) -> Sequence[str]:
        return [text for text in texts if text not in self.failed]

    def shown(self) -> list[str]:
        return self.discord.contents("C1")

    def messages(self) -> Sequence[Any]:
        return [message for message in self.discord.messages.values() if message["channel_id"] == "C1"]

    async def press(self, label: str) -> None:
        message = [one for one in self.discord.messages.values() if one["components"]][-1]
        buttons = [button["label"] for row in message["components"] for button in row["components"]]
        await self.discord.press(self.callback, "u1", message, buttons.index(label))

    async def fill(self, **values: str) -> None:
        await self.discord.press(self.callback, "u1", list(self.discord.messages.values())[-1])
        await self.discord.until(lambda: self.discord.answers and self.discord.answers[-1]["type"] == MODAL)
        await self.discord.submit(self.callback, "C1", "u1", self.discord.answers[-1]["data"], **values)


class DiscordGatewayTalk(DiscordTalk):
    """By the connection, whose session brings again what was not taken."""

    pushes_once = False

    def section(self) -> object:
        return self.discord.settings("gateway")

    @property
    def connected(self) -> bool:
        return self.discord.connected

    def reach(self, url: str) -> None:
        """Discord is not told: it is the gateway that connects."""

    async def say(self, text: str) -> None:
        await self.discord.say("C1", "u1", f"<@{self.discord.bot_id}> {text}")


class WeComRobotTalk(Talk):
    """Nothing tells the network that a message was taken, so nobody knows which it believes to be ours."""

    name, operation = "wecom-robot", "aibot_send_msg"
    forms = False
    pushes_once = True

    def __init__(self) -> None:
        self.simulator = self.robot = SimulatedWeComRobot()

    @property
    def connected(self) -> bool:
        return self.robot.connected

    async def say(self, text: str) -> None:
        await self.robot.say("lin", text)

    def taken(self, texts: Sequence[str]) -> Sequence[str]:
        return texts[:0]

    def shown(self) -> list[str]:
        return self.robot.texts("lin")

    def messages(self) -> Sequence[Any]:
        return self.robot.shown.get("lin", [])

    async def press(self, label: str) -> None:
        card = self.robot.cards("lin")[-1]
        await self.robot.press("lin", card, [button["text"] for button in card["button_list"]].index(label))


class EmailTalk(Talk):
    """One thread with one person, whose own provider has proven who writes."""

    name, operation, last_operation = "email", "SMTP MAIL", "SMTP CONTENT"
    forms = buttons = False
    more = "/greet name=Ada"

    def __init__(self) -> None:
        self.simulator = self.mail = SimulatedEmail()
        self.root = ""

    def section(self) -> object:
        return self.mail.settings(authserv_id="mx.test")

    @property
    def connected(self) -> bool:
        return bool(self.mail.idling)

    async def say(self, text: str) -> None:
        proof = {"Authentication-Results": "mx.test; dkim=pass header.d=people.test"}
        thread = {"References": self.root, "In-Reply-To": self.root} if self.root else {}
        written = await self.mail.write(text, headers={**proof, **thread}, signed=False)
        self.root = self.root or written

    def shown(self) -> list[str]:
        return self.mail.texts()

    def messages(self) -> Sequence[Any]:
        return self.mail.texts()

    async def press(self, label: str) -> None:
        """Type the number that stands before a choice."""
        lines = self.mail.texts()[-1].splitlines()
        await self.say(next(line for line in lines if label in line and line[0].isdigit()).partition(".")[0])


def _slack_text(posted: Json) -> str:
    written = [block["text"] for block in posted.get("blocks", ()) if block["type"] == "markdown"]
    return written[0] if written else str(posted.get("markdown_text") or posted.get("text", ""))


SOCKETS: tuple[type[Talk], ...] = (
    SlackTalk,
    TelegramTalk,
    FeishuSocketTalk,
    DingTalkTalk,
    DiscordGatewayTalk,
    WeComRobotTalk,
    EmailTalk,
)
NETWORKS: tuple[type[Talk], ...] = (
    SlackTalk,
    TelegramTalk,
    FeishuTalk,
    DingTalkTalk,
    WeComTalk,
    WeComRobotTalk,
    TeamsTalk,
    DiscordTalk,
    DiscordGatewayTalk,
    EmailTalk,
)
WAYS_IN: tuple[type[Talk], ...] = (*NETWORKS, SlackHttpTalk, TelegramHttpTalk, FeishuSocketTalk)
