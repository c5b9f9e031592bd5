"""Discord over HTTP against the simulated one: commands, buttons, forms, edits; what goes wrong on the way."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from integrations.channels.discord import connect, inbound
from integrations.channels.discord.channel import Discord
from integrations.channels.discord.check import check
from integrations.channels.simulators.base import CUT_AFTERWARDS
from integrations.channels.simulators.discord import SimulatedDiscord
from integrations.database import Database
from integrations.errors import Misconfigured, Rejected
from integrations.messages import Address, Card, Choice, Form, OutboundMessage, Question, utc_now
from integrations.security.tokens import create_token
from integrations.settings import Settings
from integrations.settings_channels import Channels
from tests.callbacks import Connection, connected

PLACE = Address(channel="discord", conversation="C1")
FORM = Form(title="Refund", command="refund", questions=(Question(name="order", label="Order"),), args={"why": "late"})


def open_channel(network: SimulatedDiscord, home: Path) -> Discord:
    create_token(home)
    (channel,) = connect(Settings(home=home, channels=Channels(discord=network.settings())))
    assert isinstance(channel, Discord)
    return channel


@asynccontextmanager
async def running(
    database: Database, home: Path, *, worker: bool = True
) -> AsyncGenerator[tuple[SimulatedDiscord, Connection, str]]:
    async with SimulatedDiscord() as network:
        channel = open_channel(network, home)
        async with connected(database, channel, worker=worker) as connection:
            yield network, connection, f"{connection.url}/channels/discord/interactions"
        await channel.aclose()


async def post(database: Database, text: str, key: str = "k", **more: Any) -> None:
    message = OutboundMessage(address=PLACE, text=text, **more)
    assert await asyncio.to_thread(database.outbox.post, message, key=key)


async def test_the_endpoint_is_proven_and_a_command_is_answered(database: Database, tmp_path: Path) -> None:
    async with running(database, tmp_path) as (network, connection, callback):
        assert await network.check_address(callback)
        await network.use(callback, "C1", "u1", "refund", order="42")
        await network.use(callback, "D1", "u1", "ask", text="你好")
        await network.until(lambda: network.contents("C1") and network.contents("D1"))

    assert network.answers == [{"type": 5}, {"type": 5}]
    assert network.contents("C1") == ["echo: refund {'order': '42'}"]
    assert network.contents("D1") == ["echo: 你好"]
    assert [(message.direct, message.account) for message in connection.received] == [(False, "u1"), (True, "u1")]


async def test_a_deferred_answer_takes_its_place(database: Database, tmp_path: Path) -> None:
    async with running(database, tmp_path, worker=False) as (network, connection, callback):
        await network.use(callback, "C1", "u1", "refund")
        await post(database, "done", in_reply_to=connection.received[0].ref)
        await network.until(lambda: network.contents("C1"))

    (message,) = network.messages.values()
    assert (message["content"], message.get("original")) == ("done", True)


async def test_a_pressed_button_says_what_it_stands_for(database: Database, tmp_path: Path) -> None:
    async with running(database, tmp_path) as (network, connection, callback):
        choices = tuple(Choice(label=f"第 {n} 个", text=f"/choose {n}") for n in range(7))
        await post(database, "Which?", choices=choices, asked="u1")
        await network.until(lambda: network.messages)
        message = next(iter(network.messages.values()))
        await network.press(callback, "u2", message, 6)
        await network.press(callback, "u1", message, 6)
        await network.until(lambda: len(network.messages) == 2)

    assert "somebody else" in network.answers[0]["data"]["content"]
    assert network.answers[1] == {"type": 6}
    assert [(m.text, m.kind, m.subject) for m in connection.received] == [("/choose 6", "action", message["id"])]


async def test_a_form_opens_and_what_is_filled_in_becomes_the_command(database: Database, tmp_path: Path) -> None:
    async with running(database, tmp_path) as (network, connection, callback):
        await post(database, "What is missing?", form=FORM)
        await network.until(lambda: network.messages)
        await network.press(callback, "u1", next(iter(network.messages.values())))
        modal = network.answers[0]["data"]
        await network.submit(callback, "C1", "u1", modal, order=" 42 ")

    assert (network.answers[0]["type"], modal["title"]) == (9, "Refund")
    (message,) = connection.received
    assert (message.kind, message.command, message.args) == ("form", "refund", {"why": "late", "order": "42"})


async def test_what_is_forged_or_unknown_is_refused_kindly(database: Database, tmp_path: Path) -> None:
    async with running(database, tmp_path) as (network, connection, callback):
        for kind, data in ((3, {"custom_id": "b:forged"}), (3, {"custom_id": "x"}), (5, {}), (9, {"custom_id": "b:"})):
            await network.push(callback, network.interaction(kind, "C1", "u1", data))
        await network.push(callback, network.interaction(4, "C1", "u1", {"name": "refund"}))

    assert [answer["data"].get("flags") for answer in network.answers[:4]] == [64] * 4
    assert network.answers[4] == {"type": 8, "data": {"choices": []}}
    assert connection.received == []


async def test_a_repeated_attempt_finds_the_first_message(database: Database, tmp_path: Path) -> None:
    async with running(database, tmp_path, worker=False) as (network, _, __):
        network.fail("create", CUT_AFTERWARDS)
        await post(database, "once", "1")
        await post(database, "next", "2")
        await network.until(lambda: "next" in network.contents("C1"))

    assert network.contents("C1") == ["once", "next"]
    assert len(network.called("create")) == 3


async def test_a_long_answer_arrives_whole(database: Database, tmp_path: Path) -> None:
    lines = [f"line {number} of many" for number in range(400)]
    async with running(database, tmp_path, worker=False) as (network, _, __):
        await post(database, "\n".join(lines))
        await network.until(lambda: "line 399" in "".join(network.contents("C1")))

    assert "\n".join(network.contents("C1")).split("\n") == lines


async def test_a_card_is_an_embed_is_edited_and_a_file_comes_along(tmp_path: Path) -> None:
    async with SimulatedDiscord() as network:
        channel = open_channel(network, tmp_path)
        file = channel._files.put(b"a,b", name="报表.csv")
        first = OutboundMessage(
            address=PLACE, text="", card=Card(title="nightly", state="running"), attachments=(file,)
        )
        sent = await channel.send(first)
        done = first.model_copy(update={"card": Card(title="nightly", state="succeeded"), "attachments": ()})
        await channel.edit(sent.platform_id or "", done)
        with pytest.raises(Rejected, match="10008"):
            await channel.edit("404", done)
        await channel.aclose()

    (message,) = network.messages.values()
    assert message["embeds"][0]["title"] == "✅ nightly"
    assert message["attachments"] == ["报表.csv"]


async def test_a_wrong_token_is_not_tried_again_at_once(tmp_path: Path) -> None:
    async with SimulatedDiscord() as network:
        channel = open_channel(network, tmp_path)
        network.token = "another"
        for _ in range(3):
            with pytest.raises(Misconfigured, match="bot_token"):
                await channel.send(OutboundMessage(address=PLACE, text="hi"))
        await channel.aclose()

    assert len(network.called("create")) == 1


@pytest.mark.parametrize(
    "url", ["https://cdn.discordapp.com.evil.test/x", "http://127.0.0.1:1/x", "file:///etc/passwd"]
)
async def test_files_are_fetched_from_discord_only(url: str, tmp_path: Path) -> None:
    async with SimulatedDiscord() as network:
        channel = open_channel(network, tmp_path)
        with pytest.raises(Rejected, match="does not lie"):
            await channel._api.download(url)
        await channel.aclose()


@pytest.mark.parametrize("name", ["bot_token", "public_key", "application_id"])
async def test_a_blank_setting_keeps_the_channel_shut(name: str, tmp_path: Path) -> None:
    section = SimulatedDiscord().settings().model_copy(update={name: " "})
    create_token(tmp_path)

    with pytest.raises(Misconfigured):
        list(connect(Settings(home=tmp_path, channels=Channels(discord=section))))


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"mentions": [{"id": "b"}]}, "hello"),
        ({"referenced_message": {"author": {"id": "b"}}}, "hello"),
        ({"guild_id": None}, "hello"),
        ({}, None),
        ({"mentions": [{"id": "b"}], "author": {"id": "u", "bot": True}}, None),
        ({"mentions": [{"id": "b"}], "webhook_id": "w"}, None),
        ({"mentions": [{"id": "b"}], "type": 7}, None),
    ],
)
def test_in_a_server_only_what_is_addressed_to_the_bot_is_read(changed: dict[str, Any], text: str | None) -> None:
    written = {"id": "1", "channel_id": "c", "guild_id": "g", "author": {"id": "u"}, "content": "<@b> hello"}

    message = inbound.message({**written, **changed}, "b", "default", utc_now())

    assert (message and message.text) == text


async def test_the_check_says_what_is_wrong() -> None:
    async with SimulatedDiscord() as network:
        right = network.settings()
        assert await check(right) == []
        assert "different applications" in (await check(right.model_copy(update={"application_id": "1"})))[0]
        assert "not this application's" in (await check(right.model_copy(update={"public_key": "00" * 32})))[0]
        assert "bot_token" in (await check(right.model_copy(update={"bot_token": "no"})))[0]
        assert "public_key" in (await check(right.model_copy(update={"public_key": ""})))[0]
