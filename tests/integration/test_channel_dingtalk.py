"""DingTalk against its simulator: the Stream connection, the robot's messages, cards; a real inbox and outbox."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from integrations.channels.dingtalk import DingTalk, connect
from integrations.channels.dingtalk.check import check
from integrations.channels.simulators.base import CUT_AFTERWARDS, Fault
from integrations.channels.simulators.dingtalk import SimulatedDingTalk
from integrations.channels.stream import Throttle
from integrations.database import Database
from integrations.errors import Misconfigured, Rejected
from integrations.files import FileStore
from integrations.messages import Address, Choice, OutboundMessage
from integrations.security.tokens import create_token
from integrations.settings import Settings
from integrations.settings_channels import Channels
from tests.callbacks import Connection, connected


def channel_of(simulator: SimulatedDingTalk, home: Path, **changed: Any) -> DingTalk:
    create_token(home)
    section = simulator.settings().model_copy(update=changed)
    found = next(iter(connect(Settings(home=home, channels=Channels(dingtalk=section)))))
    assert isinstance(found, DingTalk)
    return found


@pytest.fixture
async def dingtalk() -> AsyncIterator[SimulatedDingTalk]:
    async with SimulatedDingTalk(template="card.schema") as simulator:
        yield simulator


@pytest.fixture
async def channel(dingtalk: SimulatedDingTalk, tmp_path: Path) -> AsyncIterator[DingTalk]:
    found = channel_of(dingtalk, tmp_path)
    yield found
    await found.aclose()


@pytest.fixture
async def connection(database: Database, dingtalk: SimulatedDingTalk, channel: DingTalk) -> AsyncIterator[Connection]:
    async with connected(database, channel) as running:
        await dingtalk.until(lambda: dingtalk.sockets)
        yield running


def to(conversation: str, text: str, **more: object) -> OutboundMessage:
    address = Address(channel="dingtalk", conversation=conversation)
    return OutboundMessage.model_validate({"address": address, "text": text, **more})


async def test_a_mention_in_a_group_is_answered_there(connection: Connection, dingtalk: SimulatedDingTalk) -> None:
    await dingtalk.say("状态", group="cidGroup==")
    await dingtalk.until(lambda: dingtalk.sent)

    assert (dingtalk.sent[0].place, dingtalk.sent[0].text) == ("cidGroup==", "echo: 状态")
    assert (connection.received[0].account, connection.received[0].direct) == ("ann", False)


async def test_one_person_is_answered_through_the_openapi(connection: Connection, dingtalk: SimulatedDingTalk) -> None:
    await dingtalk.say("hello")
    await dingtalk.until(lambda: dingtalk.sent)

    assert (dingtalk.sent[0].place, dingtalk.sent[0].text) == ("user/ann", "echo: hello")
    assert dingtalk.replies == []


async def test_a_guest_is_answered_while_the_session_lasts(
    connection: Connection, dingtalk: SimulatedDingTalk, channel: DingTalk
) -> None:
    await dingtalk.say("hello", by="guest")
    await dingtalk.until(lambda: dingtalk.replies)
    dingtalk.session_seconds = -1
    await dingtalk.say("again", by="guest")
    await dingtalk.until(lambda: len(connection.received) == 2)

    assert dingtalk.replies[0]["markdown"]["text"] == "echo: hello"
    with pytest.raises(Rejected, match="90 minutes"):
        await channel.send(to("session/cidguest", "late"))


async def test_frames_are_acknowledged_once_they_are_stored(
    connection: Connection, dingtalk: SimulatedDingTalk
) -> None:
    await dingtalk.say("hello")
    await asyncio.wait_for(dingtalk.event("bpms_task_change", {"title": "x"}), 10)
    ping = await dingtalk.push("SYSTEM", "ping", {"opaque": "o1"})
    await dingtalk.until(lambda: ping in dingtalk.acknowledged)

    assert dingtalk.acknowledged[ping]["data"] == '{"opaque": "o1"}'
    assert [message.text for message in connection.received] == ["hello"]


async def test_the_network_may_ask_to_connect_again(connection: Connection, dingtalk: SimulatedDingTalk) -> None:
    await dingtalk.push("SYSTEM", "disconnect", {"reason": "upgrade"})
    await dingtalk.until(lambda: len(dingtalk.called("open")) == 2 and dingtalk.sockets)
    await dingtalk.say("still there?")
    await dingtalk.until(lambda: dingtalk.sent)

    assert dingtalk.sent[0].text == "echo: still there?"


async def test_a_button_says_what_is_behind_it_to_the_one_who_was_asked(
    connection: Connection, dingtalk: SimulatedDingTalk, channel: DingTalk
) -> None:
    await channel.send(to("cidGroup==", "Deploy?", choices=[Choice(label="Approve", text="/approve 7")], asked="ann"))
    card = next(iter(dingtalk.cards.values()))
    await dingtalk.press(card, "Approve", by="bob")
    await dingtalk.press(card, "Approve", by="ann")
    await dingtalk.until(lambda: connection.received)

    assert [(m.kind, m.text, m.account) for m in connection.received] == [("action", "/approve 7", "ann")]


async def test_an_answer_grows_and_its_final_state_arrives(dingtalk: SimulatedDingTalk, channel: DingTalk) -> None:
    throttle = Throttle(await channel.open_stream(to("user/ann", "")), 0.01)
    dingtalk.fail("type", Fault(403, {"code": "Forbidden.AccessDenied.QpsLimitForApi"}))
    throttle.put("one")
    throttle.put("one two")
    await dingtalk.until(lambda: dingtalk.called("type"))
    await throttle.finish(to("user/ann", "one two three"))

    card = next(iter(dingtalk.cards.values()))
    assert (card.values["content"], card.final) == ("one two three", True)


async def test_a_file_is_stored_and_sent(
    connection: Connection, dingtalk: SimulatedDingTalk, channel: DingTalk, tmp_path: Path
) -> None:
    await dingtalk.attach(b"a,b\n", "表格.csv")
    await dingtalk.until(lambda: connection.received)
    files = FileStore(tmp_path / "files")
    await channel.send(to("user/ann", "", attachments=[files.put(b"pdf", name="report.pdf")]))

    attachment = connection.received[0].attachments[0]
    assert files.path(attachment.id).read_bytes() == b"a,b\n"
    assert dingtalk.sent[-1].content["fileName"] == "report.pdf"


async def test_what_may_have_arrived_is_not_sent_again(
    connection: Connection, dingtalk: SimulatedDingTalk, database: Database
) -> None:
    dingtalk.fail("send", CUT_AFTERWARDS)
    for number in range(2):
        await asyncio.to_thread(database.outbox.post, to("user/ann", str(number)), key=f"k{number}")
    await dingtalk.until(lambda: len(dingtalk.sent) == 2)

    assert [sent.text for sent in dingtalk.sent] == ["0", "1"]
    assert len(await asyncio.to_thread(database.outbox.find, ["unknown"])) == 1


async def test_a_long_text_arrives_in_parts(
    connection: Connection, dingtalk: SimulatedDingTalk, database: Database
) -> None:
    text = "\n\n".join(f"第 {number} 段 " * 40 for number in range(40))
    await asyncio.to_thread(database.outbox.post, to("user/ann", text), key="long")
    await dingtalk.until(lambda: dingtalk.sent and "第 39 段" in dingtalk.sent[-1].text)

    assert len(dingtalk.sent) > 1


async def test_a_token_that_was_revoked_is_replaced(dingtalk: SimulatedDingTalk, channel: DingTalk) -> None:
    await channel.send(to("user/ann", "one"))
    dingtalk.revoke()
    await channel.send(to("user/ann", "two"))

    assert [sent.text for sent in dingtalk.sent] == ["one", "two"]


async def test_wrong_credentials_are_told_as_such(dingtalk: SimulatedDingTalk, tmp_path: Path) -> None:
    channel = channel_of(dingtalk, tmp_path, app_secret="wrong")

    with pytest.raises(Misconfigured, match="app_key and app_secret"):
        await channel.send(to("user/ann", "hello"))
    await channel.aclose()
    assert await check(dingtalk.settings()) == []
    assert "app_key and app_secret" in (await check(dingtalk.settings().model_copy(update={"app_secret": "no"})))[0]


async def test_a_robot_in_http_mode_hears_what_is_signed(
    dingtalk: SimulatedDingTalk, database: Database, tmp_path: Path
) -> None:
    channel = channel_of(dingtalk, tmp_path, mode="http")
    body = dingtalk.message({"msgtype": "text", "text": {"content": "hello"}})
    async with connected(database, channel) as running, httpx.AsyncClient(trust_env=False) as client:
        signed = await client.post(f"{running.url}/robot", json=body, headers=dingtalk.signed())
        unsigned = await client.post(f"{running.url}/robot", json=body)
        await dingtalk.until(lambda: dingtalk.sent)
    await channel.aclose()

    assert (signed.status_code, unsigned.status_code) == (200, 401)
    assert dingtalk.sent[0].text == "echo: hello"


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/x", "https://evil.example/x", "https://oapi.dingtalk.com.evil.example/", "https://a@x/"]
)
def test_addresses_that_lead_elsewhere_are_refused(url: str, tmp_path: Path) -> None:
    simulator = SimulatedDingTalk()
    channel = channel_of(simulator, tmp_path, api_url="https://api.dingtalk.com")

    with pytest.raises(Rejected, match="does not lead"):
        channel._api.checked(url, (".dingtalk.com",))  # pyright: ignore[reportPrivateUsage]
