"""Feishu against its simulator: a real inbox and outbox, signed and encrypted events, cards."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from integrations.channels.feishu import Feishu, connect
from integrations.channels.feishu.check import check
from integrations.channels.simulators.base import CUT_AFTERWARDS, Fault, Limit
from integrations.channels.simulators.feishu import SimulatedFeishu, text_of
from integrations.channels.stream import Throttle
from integrations.database import Database
from integrations.errors import Rejected
from integrations.files import FileStore
from integrations.messages import Address, Card, Choice, Form, OutboundMessage, Question, Step
from integrations.security.tokens import create_token
from integrations.settings import Settings
from integrations.settings_channels import Channels
from tests.callbacks import Connection, connected


@pytest.fixture
async def feishu() -> AsyncIterator[SimulatedFeishu]:
    async with SimulatedFeishu() as simulator:
        yield simulator


@pytest.fixture
async def channel(feishu: SimulatedFeishu, tmp_path: Path) -> AsyncIterator[Feishu]:
    create_token(tmp_path)
    found = next(iter(connect(Settings(home=tmp_path, channels=Channels(feishu=feishu.settings())))))
    assert isinstance(found, Feishu)
    yield found
    await found.aclose()


@pytest.fixture
async def connection(database: Database, feishu: SimulatedFeishu, channel: Feishu) -> AsyncIterator[Connection]:
    async with connected(database, channel) as running:
        feishu.callback_url = f"{running.url}/channels/feishu/events"
        yield running


def to(conversation: str, text: str, **more: object) -> OutboundMessage:
    address = Address(channel="feishu", conversation=conversation)
    return OutboundMessage.model_validate({"address": address, "text": text, **more})


async def test_a_mention_in_a_group_is_answered_in_its_thread(connection: Connection, feishu: SimulatedFeishu) -> None:
    message_id = await feishu.say("/status 状态", chat="oc_group", group=True)
    await feishu.until(lambda: feishu.sent)

    assert feishu.sent[0].place == message_id
    assert feishu.called("send")[0]["reply_in_thread"] is True
    assert text_of(feishu.shown(feishu.sent[0])) == "echo: /status 状态"


async def test_a_thread_goes_on_in_one_conversation(connection: Connection, feishu: SimulatedFeishu) -> None:
    root = await feishu.say("one", chat="oc_group", group=True)
    await feishu.say("two", chat="oc_group", group=True, root=root)
    await feishu.until(lambda: len(feishu.sent) == 2)

    assert {message.address.conversation for message in connection.received} == {f"oc_group/{root}"}
    assert [message.direct for message in connection.received] == [False, False]


async def test_a_group_that_speaks_to_others_is_left_alone(connection: Connection, feishu: SimulatedFeishu) -> None:
    await feishu.say("not for you", chat="oc_group", group=True, at_bot=False)
    await feishu.push("im.chat.disbanded_v1", {"chat_id": "oc_group"})
    await feishu.say("for you", chat="oc_dm")

    assert [message.text for message in connection.received] == ["for you"]


async def test_a_button_says_what_is_behind_it(
    connection: Connection, feishu: SimulatedFeishu, channel: Feishu
) -> None:
    feishu.chats["oc_dm"] = "p2p"
    choices = (Choice(label="Approve", text="/approve 7", style="primary"),)
    await channel.send(to("oc_dm", "Deploy?", choices=choices, asked="ou_ann"))

    stranger = await feishu.press(feishu.sent[0], "Approve", by="ou_eve")
    shown = await feishu.press(feishu.sent[0], "Approve", by="ou_ann")

    assert (stranger["toast"]["type"], shown["toast"]["type"]) == ("warning", "success")
    assert [(m.kind, m.text, m.account) for m in connection.received] == [("action", "/approve 7", "ou_ann")]
    assert connection.received[0].subject == feishu.sent[0].message_id


async def test_a_form_gives_the_arguments_that_were_missing(
    connection: Connection, feishu: SimulatedFeishu, channel: Feishu
) -> None:
    feishu.chats["oc_dm"] = "p2p"
    questions = (Question(name="city", label="City"), Question(name="when", label="When", kind="date"))
    form = Form(title="Weather", command="weather", questions=questions, args={"unit": "C"})
    await channel.send(to("oc_dm", "", form=form))

    await feishu.press(feishu.sent[0], "Send", values={"city": "上海", "when": ""})

    received = connection.received[0]
    assert (received.kind, received.command, received.args) == ("form", "weather", {"unit": "C", "city": "上海"})


async def test_a_file_is_stored_and_passed_by_reference(
    connection: Connection, feishu: SimulatedFeishu, tmp_path: Path
) -> None:
    await feishu.attach(b"a,b\n1,2\n", "表格.csv")

    attachment = connection.received[0].attachments[0]
    assert (attachment.name, attachment.size) == ("表格.csv", 8)
    assert FileStore(tmp_path / "files").path(attachment.id).read_bytes() == b"a,b\n1,2\n"


async def test_what_is_taken_back_is_told(connection: Connection, feishu: SimulatedFeishu) -> None:
    message_id = await feishu.say("oops")
    await feishu.recall(message_id)

    last = connection.received[-1]
    assert (last.kind, last.subject, last.account) == ("delete", message_id, "ou_ann")


async def test_a_slow_file_is_stored_though_the_event_was_refused(
    connection: Connection, feishu: SimulatedFeishu, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("integrations.channels.feishu.channel.DEADLINE_SECONDS", 0.05)
    feishu.retry_scale = 0.02
    feishu.fail("resource", Fault(delay_s=0.2, done=True))
    await feishu.attach(b"data", "slow.bin")

    assert {message.event_id for message in connection.received} == {connection.received[0].event_id}


async def test_the_final_state_of_a_stream_arrives(feishu: SimulatedFeishu, channel: Feishu) -> None:
    feishu.chats["oc_dm"] = "p2p"
    throttle = Throttle(await channel.open_stream(to("oc_dm", "")), 0.01)
    feishu.limits["cardkit"] = Limit(4, 0.3)
    for end in range(1, 40):
        throttle.put("word " * end)
        await asyncio.sleep(0.005)
    await asyncio.sleep(0.3)
    delivery = await throttle.finish(to("oc_dm", "the end", choices=[Choice(label="More", text="more")]))

    card = feishu.shown(feishu.sent[0])
    assert delivery.platform_id == feishu.sent[0].message_id
    assert text_of(card) == "the end"
    assert "streaming_mode" not in card["config"]


async def test_a_card_of_progress_is_changed_in_its_place(feishu: SimulatedFeishu, channel: Feishu) -> None:
    feishu.chats["oc_dm"] = "p2p"
    steps = (Step(name="load", state="running"),)
    first = await channel.send(to("oc_dm", "", card=Card(title="report", state="running", steps=steps)))
    await channel.edit(str(first.platform_id), to("oc_dm", "", card=Card(title="report", state="succeeded")))

    assert len(feishu.sent) == 1
    assert feishu.shown(feishu.sent[0])["header"]["template"] == "green"


async def test_what_was_sent_though_the_connection_broke_is_not_seen_twice(
    connection: Connection, feishu: SimulatedFeishu
) -> None:
    feishu.fail("send", CUT_AFTERWARDS)
    await feishu.say("hello")
    await feishu.until(lambda: len(feishu.called("send")) == 2)

    assert len(feishu.sent) == 1


async def test_a_long_text_arrives_in_parts(
    connection: Connection, feishu: SimulatedFeishu, database: Database
) -> None:
    feishu.chats["oc_dm"] = "p2p"
    text = "\n\n".join(f"段落 {number} “quoted” " * 40 for number in range(30))
    await asyncio.to_thread(database.outbox.post, to("oc_dm", text), key="long")
    parts = len(text.encode()) // 12_000 + 1
    await feishu.until(lambda: len(feishu.sent) >= parts)

    assert "段落 29" in text_of(feishu.shown(feishu.sent[-1]))


async def test_pictures_and_files_are_uploaded(feishu: SimulatedFeishu, channel: Feishu, tmp_path: Path) -> None:
    feishu.chats["oc_dm"] = "p2p"
    files = FileStore(tmp_path / "files")
    attachments = (files.put(b"png", name="chart.png"), files.put(b"pdf", name="report.pdf"))
    await channel.send(to("oc_dm", "Here", attachments=attachments, key="k"))

    assert sorted(feishu.uploads.values()) == [b"pdf", b"png"]
    assert [sent.kind for sent in feishu.sent] == ["interactive", "file"]


async def test_a_token_that_was_revoked_is_replaced(feishu: SimulatedFeishu, channel: Feishu) -> None:
    feishu.chats["oc_dm"] = "p2p"
    await channel.send(to("oc_dm", "one"))
    feishu.revoke()
    await channel.send(to("oc_dm", "two"))

    assert len(feishu.called("token")) == 2
    assert len(feishu.sent) == 2


async def test_an_unknown_conversation_is_refused(feishu: SimulatedFeishu, channel: Feishu) -> None:
    with pytest.raises(Rejected, match="receive_id"):
        await channel.send(to("oc_unknown", "hello"))


async def test_an_unsigned_challenge_opens_no_hole(connection: Connection, feishu: SimulatedFeishu) -> None:
    challenge = {"type": "url_verification", "challenge": "c1", "token": feishu.verification_token}
    event = feishu.envelope("im.message.receive_v1", {}) | {"type": "url_verification"}
    message = feishu.envelope("im.message.receive_v1", {"message": {"message_id": "om_1"}})
    async with httpx.AsyncClient(trust_env=False) as client:
        answered = await client.post(feishu.callback_url, json=challenge)
        wrong = await client.post(feishu.callback_url, json={**challenge, "token": "guessed"})
        disguised = await client.post(feishu.callback_url, json=event)
        unsigned = await client.post(feishu.callback_url, json=message)

    assert (answered.status_code, answered.json()) == (200, {"challenge": "c1"})
    assert (wrong.status_code, unsigned.status_code) == (401, 401)
    assert disguised.json() == {"challenge": ""}
    assert connection.received == []


async def test_the_long_connection_needs_no_address(
    feishu: SimulatedFeishu, database: Database, tmp_path: Path
) -> None:
    create_token(tmp_path)
    section = feishu.settings().model_copy(update={"mode": "socket"})
    channel = next(iter(connect(Settings(home=tmp_path, channels=Channels(feishu=section)))))
    assert isinstance(channel, Feishu)
    async with connected(database, channel):
        await feishu.until(lambda: feishu.sockets)
        await feishu.say("hello")
        await feishu.until(lambda: feishu.sent)
        await channel.send(to("oc_dm", "Deploy?", choices=[Choice(label="Yes", text="yes")]))
        toast = await feishu.press(feishu.sent[-1], "Yes")
    await channel.aclose()

    assert text_of(feishu.shown(feishu.sent[0])) == "echo: hello"
    assert toast["toast"]["type"] == "success"
    assert feishu.called("ping")


async def test_a_check_says_what_is_missing(feishu: SimulatedFeishu) -> None:
    section = feishu.settings()

    assert await check(section) == []
    assert await check(section.model_copy(update={"mode": "socket"})) == []
    assert "app_id and app_secret" in (await check(section.model_copy(update={"app_secret": "no"})))[0]
    assert "app_id is missing" in (await check(section.model_copy(update={"app_id": " "})))[0]
