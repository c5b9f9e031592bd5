"""WeCom's app against the simulated corp: what members write, see and press; what goes wrong on the way."""

import asyncio
import dataclasses
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from integrations.channels.simulators.base import CUT_AFTERWARDS, Fault
from integrations.channels.simulators.wecom import SimulatedWeCom
from integrations.channels.wecom import connect
from integrations.channels.wecom.app import WeCom
from integrations.channels.wecom.check import check
from integrations.database import Database
from integrations.errors import Misconfigured
from integrations.messages import Address, Card, Choice, Field, OutboundMessage
from integrations.security.tokens import create_token
from integrations.settings import Settings
from integrations.settings_channels import Channels
from tests.callbacks import Connection, connected

LIN = Address(channel="wecom", conversation="lin")


def open_channel(corp: SimulatedWeCom, home: Path) -> WeCom:
    create_token(home)
    (channel,) = connect(Settings(home=home, channels=Channels(wecom=corp.settings())))
    assert isinstance(channel, WeCom)
    return channel


@asynccontextmanager
async def running(
    database: Database, home: Path, *, worker: bool = True
) -> AsyncGenerator[tuple[SimulatedWeCom, Connection, str]]:
    async with SimulatedWeCom() as corp:
        channel = open_channel(corp, home)
        async with connected(database, channel, worker=worker) as connection:
            yield corp, connection, f"{connection.url}/channels/wecom"
        await channel.aclose()


async def post(database: Database, text: str, key: str = "k", **more: Any) -> None:
    message = OutboundMessage(address=LIN, text=text, **more)
    assert await asyncio.to_thread(database.outbox.post, message, key=key)


def inbox(connection: Connection) -> set[str]:
    return {message.event_id for message in connection.received}


async def test_the_address_is_proven_and_a_member_is_answered(database: Database, tmp_path: Path) -> None:
    async with running(database, tmp_path) as (corp, connection, callback):
        assert await corp.check_address(callback)
        await corp.say(callback, "lin", "你好 <a> & b")
        await corp.until(lambda: corp.texts("lin"))

    assert corp.texts("lin") == ["echo: 你好 <a> & b"]
    assert corp.answers == [""]
    assert (connection.received[0].account, connection.received[0].direct) == ("lin", True)


async def test_a_pressed_button_says_what_it_stands_for_and_shows_that(database: Database, tmp_path: Path) -> None:
    async with running(database, tmp_path) as (corp, connection, callback):
        await post(
            database, "Refund 42?", choices=(Choice(label="退款", text="/refund 42"), Choice(label="No", text="no"))
        )
        await corp.until(lambda: corp.cards("lin"))
        await corp.press(callback, "lin", corp.cards("lin")[0])
        await corp.until(lambda: corp.texts("lin"))

    assert (connection.received[0].text, connection.received[0].kind) == ("/refund 42", "action")
    assert corp.texts("lin") == ["echo: /refund 42"]
    assert "<ReplaceName><![CDATA[✓]]></ReplaceName>" in corp.opened(corp.answers[0])


async def test_a_button_for_somebody_else_or_forged_says_nothing(database: Database, tmp_path: Path) -> None:
    async with running(database, tmp_path) as (corp, connection, callback):
        await post(database, "Refund?", choices=(Choice(label="Yes", text="/refund"),), asked="lin")
        await corp.until(lambda: corp.cards("lin"))
        card = corp.cards("lin")[0]
        await corp.press(callback, "Zoe", card)
        await corp.press(callback, "lin", {**card, "button_list": [{"key": "/refund"}]})

    assert connection.received == []
    assert all("ended" in corp.opened(answer) for answer in corp.answers)


async def test_a_picture_is_stored_and_passed_by_reference(database: Database, tmp_path: Path) -> None:
    async with running(database, tmp_path) as (corp, connection, callback):
        await corp.show(callback, "lin", "image", "x.png", b"\x89PNG....", "image/png")

        (message,) = connection.received
        (file,) = message.attachments
    assert (file.name, file.media_type, file.size) == ("image.png", "image/png", 8)
    assert (tmp_path / "files" / file.id[:2] / file.id).read_bytes() == b"\x89PNG...."


async def test_events_nobody_knows_are_acknowledged(database: Database, tmp_path: Path) -> None:
    async with running(database, tmp_path) as (corp, connection, callback):
        for event in ("subscribe", "enter_agent", "LOCATION", "template_card_event", "made_up"):
            await corp.push(callback, corp.xml("lin", "event", Event=event))
        await corp.push(callback, corp.xml("lin", "hologram", MsgId="1"))
        await corp.push(callback, corp.xml("sys", "text", MsgId="2", Content="hi"))
        await corp.push(callback, corp.xml("lin", "event", Event="click", EventKey="/help"))

    assert corp.answers == [""] * 8
    assert [message.text for message in connection.received] == ["/help"]


async def test_a_long_answer_arrives_whole_and_in_order(database: Database, tmp_path: Path) -> None:
    lines = [f"第 {number} 行：一切正常。" for number in range(300)]
    async with running(database, tmp_path, worker=False) as (corp, _, __):
        await post(database, "\n".join(lines))
        await corp.until(lambda: "第 299 行" in "".join(corp.texts("lin")))

    assert "\n".join(corp.texts("lin")).split("\n") == lines


async def test_an_ended_token_and_a_refused_call_delay_but_lose_nothing(database: Database, tmp_path: Path) -> None:
    async with running(database, tmp_path, worker=False) as (corp, _, __):
        await post(database, "first", "1")
        await corp.until(lambda: corp.texts("lin"))
        corp.expire()
        corp.fail("send", Fault(200, {"errcode": -1, "errmsg": "system busy"}))
        for number in range(2, 6):
            await post(database, f"message {number}", str(number))
        await corp.until(lambda: len(corp.texts("lin")) == 5)

    assert corp.texts("lin") == ["first", *(f"message {number}" for number in range(2, 6))]
    assert len(corp.called("gettoken")) == 2


async def test_what_may_have_arrived_is_not_sent_twice(database: Database, tmp_path: Path) -> None:
    async with running(database, tmp_path, worker=False) as (corp, _, __):
        corp.fail("send", CUT_AFTERWARDS)
        await post(database, "perhaps", "1")
        await post(database, "surely", "2")
        await corp.until(lambda: "surely" in corp.texts("lin"))
        unknown = await asyncio.to_thread(database.outbox.find, ["unknown"])

    assert corp.texts("lin") == ["perhaps", "surely"]
    assert [item.message.text for item in unknown] == ["perhaps"]


async def test_a_member_whom_the_app_does_not_see_is_told_as_refused(tmp_path: Path) -> None:
    async with SimulatedWeCom("Zoe") as corp:
        channel = open_channel(corp, tmp_path)
        with pytest.raises(Exception, match="81013"):
            await channel.send(OutboundMessage(address=LIN, text="hello"))
        await channel.aclose()


async def test_a_card_with_facts_is_a_notice_and_a_file_follows(database: Database, tmp_path: Path) -> None:
    async with running(database, tmp_path, worker=False) as (corp, connection, _):
        store = connection.channel._files  # type: ignore[attr-defined]
        file = store.put(b"a,b\n1,2\n", name="报表.csv")
        card = Card(
            title="nightly", state="succeeded", fields=(Field(name="rows", value="12"),), url="https://x.test/r"
        )
        await post(database, "nightly succeeded", card=card, attachments=(file,))
        await corp.until(lambda: len(corp.shown.get("lin", [])) == 2)

    shown = corp.cards("lin")[0]
    assert (shown["card_type"], shown["main_title"]["title"]) == ("text_notice", "✅ nightly")
    assert shown["horizontal_content_list"] == [{"keyname": "rows", "value": "12"}]
    assert corp.shown["lin"][1]["msgtype"] == "file"


async def test_the_check_says_what_is_wrong() -> None:
    async with SimulatedWeCom() as corp:
        right = corp.settings()
        assert await check(right) == []
        assert "corp_secret is wrong" in (await check(right.model_copy(update={"corp_secret": "no"})))[0]
        assert "agent_id does not belong" in (await check(right.model_copy(update={"agent_id": 7})))[0]
        assert "channels.wecom.token" in (await check(right.model_copy(update={"token": " "})))[0]
        corp.fail("agent", Fault(200, {"errcode": 60020, "errmsg": "not allow to access from your ip"}))
        assert "trusted IP" in (await check(right))[0]


@pytest.mark.parametrize("name", ["corp_secret", "token", "aes_key", "corp_id"])
async def test_a_blank_setting_keeps_the_channel_shut(name: str, tmp_path: Path) -> None:
    section = SimulatedWeCom().settings().model_copy(update={name: " "})
    create_token(tmp_path)

    with pytest.raises(Misconfigured):
        list(connect(Settings(home=tmp_path, channels=Channels(wecom=section))))


def test_what_wecom_would_drop_silently_is_paced() -> None:
    rates = {(rate.count, rate.seconds, rate.per) for rate in map(dataclasses.replace, WeCom.capabilities.rates)}

    assert {(30, 60.0, "conversation"), (1000, 3600.0, "conversation")} <= rates
