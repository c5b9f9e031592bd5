"""Discord's gateway connection against the simulated one: what people write and press, and what breaks meanwhile."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from integrations.channels import discover
from integrations.channels.discord.channel import Discord
from integrations.channels.discord.check import check
from integrations.channels.simulators.discord import SimulatedDiscord
from integrations.channels.stream import EditedStream
from integrations.database import Database
from integrations.errors import Misconfigured, TemporaryError
from integrations.messages import Address, Choice, Form, InboundMessage, OutboundMessage, Question
from integrations.security.tokens import create_token
from integrations.settings import Channels, Settings
from tests.rig import Rig, Script, echo, hurry, listening, rigged


@pytest.fixture
async def network() -> AsyncIterator[SimulatedDiscord]:
    async with SimulatedDiscord() as network:
        yield network


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch, discord__gateway__INVALID_SECONDS=(0.01, 0.02), discord__gateway__CLOSE_SECONDS=0.02)


def channel_of(network: SimulatedDiscord, home: Path, **changed: object) -> Discord:
    create_token(home)
    section = network.settings("gateway").model_copy(update=changed)
    channel = discover(Settings(home=home, channels=Channels(discord=section)))["discord"]
    assert isinstance(channel, Discord)
    return channel


@asynccontextmanager
async def connected(
    network: SimulatedDiscord, database: Database, home: Path, script: Script = echo
) -> AsyncGenerator[Rig]:
    async with rigged(database, channel_of(network, home), script) as (rig, _):
        await network.until(lambda: network.connected)
        yield rig


async def test_a_mention_a_thread_and_a_direct_message_are_answered_where_they_were_said(
    network: SimulatedDiscord, database: Database, tmp_path: Path
) -> None:
    async with connected(network, database, tmp_path) as rig:
        asked = await network.say("C1", "u1", f"<@{network.bot_id}> /digest topic=上海")
        await network.say("T7", "u1", f"and <@{network.bot_id}> here", position=3)
        await network.say("D1", "u1", "你好")
        await network.until(lambda: len(network.messages) == 3)

    assert network.contents("C1") == ["you said: /digest topic=上海"]
    assert network.contents("T7") == ["you said: and  here"]
    assert network.contents("D1") == ["you said: 你好"]
    assert next(iter(network.messages.values()))["message_reference"]["message_id"] == asked
    assert sorted(message.direct for message in rig.fresh) == [False, False, True]


async def test_what_is_not_meant_for_us_is_ignored(network: SimulatedDiscord, tmp_path: Path) -> None:
    mention = f"<@{network.bot_id}> hi"
    async with listening(channel_of(network, tmp_path)) as received:
        await network.until(lambda: network.connected)
        await network.say("C1", "u1", "among ourselves")
        await network.say("C1", "b2", mention, author={"id": "b2", "bot": True})
        await network.say("C1", network.bot_id, mention, author={"id": network.bot_id, "bot": True})
        await network.say("C1", "w", mention, webhook_id="5")
        await network.dispatch("TYPING_START", {"channel_id": "C1"})
        await network.dispatch("MADE_UP", {"x": [1]})
        await network.say("C1", "u1", mention)
        await network.until(lambda: received)

    assert [message.text for message in received] == ["hi"]


async def test_a_command_is_acknowledged_at_once_and_answered_in_its_place(
    network: SimulatedDiscord, database: Database, tmp_path: Path
) -> None:
    async with connected(network, database, tmp_path):
        await network.use("", "C1", "u1", "ask", text="how much?")
        await network.until(lambda: network.messages)

    assert network.answers == [{"type": 5}]
    (message,) = network.messages.values()
    assert (message["content"], message.get("original")) == ("you said: how much?", True)


async def test_a_button_says_its_text_and_a_form_asks_for_what_is_missing(
    network: SimulatedDiscord, database: Database, tmp_path: Path
) -> None:
    form = Form(title="Refund", command="refund", questions=(Question(name="order", label="Order"),))

    def script(message: InboundMessage) -> list[OutboundMessage]:
        if message.kind != "message":
            return []
        choices = (Choice(label="Approve", text="/approve 17"),)
        shown = {"choices": choices} if message.text == "choose" else {"form": form}
        return [
            OutboundMessage.model_validate({"address": message.address, "text": "?", "asked": message.account, **shown})
        ]

    async with connected(network, database, tmp_path, script) as rig:
        await network.say("D1", "u1", "choose")
        await network.until(lambda: network.messages)
        await network.press("", "u1", next(iter(network.messages.values())))
        await network.until(lambda: len(rig.fresh) == 2)
        await network.say("D1", "u1", "fill in")
        await network.until(lambda: len(network.messages) == 2)
        await network.press("", "u1", list(network.messages.values())[1])
        await network.until(lambda: network.answers[-1]["type"] == 9)
        await network.submit("", "D1", "u1", network.answers[-1]["data"], order="42")
        await network.until(lambda: len(rig.fresh) == 4)

    assert (rig.fresh[1].kind, rig.fresh[1].text) == ("action", "/approve 17")
    assert (rig.fresh[3].kind, rig.fresh[3].command, rig.fresh[3].args) == ("form", "refund", {"order": "42"})


async def test_an_answer_grows_by_edits(network: SimulatedDiscord, tmp_path: Path) -> None:
    channel = channel_of(network, tmp_path)
    message = OutboundMessage(address=Address(channel="discord", conversation="C1"), text="")
    stream = EditedStream(channel, message)
    for text in ("one", "one two"):
        await stream.update(text)
    await stream.finish(message.model_copy(update={"text": "one two three"}))
    await channel.aclose()

    assert network.contents("C1") == ["one two three"]
    assert len(network.called("edit")) == 2


async def test_a_connection_that_is_cut_twenty_times_resumes_and_loses_nothing(
    network: SimulatedDiscord, tmp_path: Path
) -> None:
    async with listening(channel_of(network, tmp_path)) as received:
        for number in range(20):
            await network.until(lambda: network.connected)
            await network.cut()
            await network.say("D1", "u1", f"message {number}")
        await network.until(lambda: len({message.event_id for message in received}) == 20)

    assert list(dict.fromkeys(message.text for message in received)) == [f"message {number}" for number in range(20)]
    assert len(network.identified) == 1
    assert len(network.resumed) >= 20


async def test_what_could_not_be_stored_comes_again_in_order(network: SimulatedDiscord, tmp_path: Path) -> None:
    async with listening(channel_of(network, tmp_path), TemporaryError("away"), TemporaryError("away")) as received:
        await network.until(lambda: network.connected)
        for text in ("first", "second"):
            await network.say("D1", "u1", text)
        await network.until(lambda: {"first", "second"} <= {message.text for message in received})

    assert network.resumed
    assert [message.text for message in received][-2:] == ["first", "second"]


async def test_orders_of_the_gateway_are_followed(network: SimulatedDiscord, tmp_path: Path) -> None:
    async with listening(channel_of(network, tmp_path)) as received:
        await network.until(lambda: network.connected)
        await network.order(1)
        await network.until(lambda: network.beats)
        await network.order(7)
        await network.until(lambda: network.resumed and network.connected)
        await network.order(9, data=True)
        await network.until(lambda: len(network.resumed) == 2 and network.connected)
        await network.order(9, data=False)
        await network.until(lambda: len(network.identified) == 2 and network.connected)
        await network.hang_up(4009)
        await network.until(lambda: len(network.identified) == 3 and network.connected)
        await network.say("D1", "u1", "still there?")
        await network.until(lambda: received)

    assert network.beats[0] == 1


async def test_a_connection_whose_heartbeats_are_not_answered_is_left(
    network: SimulatedDiscord, tmp_path: Path
) -> None:
    network.heartbeat_s, network.deaf = 0.05, True
    channel = channel_of(network, tmp_path)
    async with listening(channel) as received:
        await network.until(lambda: len(network.resumed) >= 2)
        network.deaf = False
        await network.until(lambda: len(network.beats) > 8)
        await network.say("D1", "u1", "hello")
        await network.until(lambda: received)

    assert len(network.identified) == 1


@pytest.mark.parametrize(
    ("changed", "code", "told"),
    [
        ({}, 4004, "bot_token"),
        ({}, 4013, "intents"),
        ({"message_content": True}, 0, "Message Content Intent"),
        ({}, 4011, "several connections"),
    ],
)
async def test_a_refusal_for_good_says_what_to_do(
    network: SimulatedDiscord,
    tmp_path: Path,
    changed: dict[str, object],
    code: int,
    told: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("integrations.channels.link.FIRST_PAUSE_SECONDS", 10.0)
    monkeypatch.setattr("integrations.channels.link.LONGEST_PAUSE_SECONDS", 10.0)
    channel = channel_of(network, tmp_path, **changed)
    async with listening(channel):
        if code:
            await network.until(lambda: network.connected)
            await network.hang_up(code)
        await network.until(lambda: channel.link.state == "refused")

        assert told in channel.link.detail
        assert network.token not in channel.link.detail


async def test_a_day_without_sessions_left_is_waited_for(network: SimulatedDiscord, tmp_path: Path) -> None:
    network.remaining = 0
    channel = channel_of(network, tmp_path)
    async with listening(channel):
        await network.until(lambda: channel.link.state == "down")

    assert "no more sessions" in channel.link.detail
    assert network.identified == []


async def test_a_restarted_gateway_resumes_and_misses_nothing(network: SimulatedDiscord, tmp_path: Path) -> None:
    async with listening(channel_of(network, tmp_path)):
        await network.until(lambda: network.connected)
    await network.cut()
    await network.say("D1", "u1", "while you were away")
    async with listening(channel_of(network, tmp_path)) as received:
        await network.until(lambda: received)

    assert received[0].text == "while you were away"
    assert len(network.identified) == 1


async def test_a_second_process_of_the_same_home_has_a_session_of_its_own(
    network: SimulatedDiscord, tmp_path: Path
) -> None:
    async with listening(channel_of(network, tmp_path)) as first:
        await network.until(lambda: network.connected)
        async with listening(channel_of(network, tmp_path)) as second:
            await network.until(lambda: len(network.identified) == 2)
            await network.say("D1", "u1", "both hear this")
            await network.until(lambda: first and second)

    assert first[0].event_id == second[0].event_id
    assert network.resumed == []


async def test_the_check_says_what_is_wrong(network: SimulatedDiscord) -> None:
    right = network.settings("gateway")
    assert await check(right) == []
    network.endpoint = "https://bell.example.com/channels/discord/interactions"
    assert "Interactions Endpoint URL" in (await check(right))[0]
    network.endpoint = ""
    assert "Message Content Intent" in (await check(right.model_copy(update={"message_content": True})))[0]
    network.servers = [{"id": "77", "name": "Works", "permissions": str(1 << 10 | 1 << 14)}]
    assert await check(right) == [
        "In Works the bot lacks: Send Messages, Attach Files, Read Message History, Send Messages in Threads."
    ]
    network.servers = []
    assert "in no server" in (await check(right))[0]


async def test_a_blank_token_keeps_the_channel_shut(network: SimulatedDiscord, tmp_path: Path) -> None:
    section = network.settings("gateway").model_copy(update={"bot_token": " "})
    create_token(tmp_path)

    with pytest.raises(Misconfigured, match="bot_token"):
        Discord.of(Settings(home=tmp_path, channels=Channels(discord=section)), section)
