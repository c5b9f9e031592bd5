"""WeCom's intelligent robot against the simulated one: what members write and press, and what breaks meanwhile."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from integrations.channels import discover
from integrations.channels.outbound import Outbound
from integrations.channels.simulators.base import CUT_AFTERWARDS, Fault, Limit
from integrations.channels.simulators.wecom_robot import SimulatedWeComRobot
from integrations.channels.wecom.check import check
from integrations.channels.wecom.robot import WELCOME, Robot
from integrations.database import Database
from integrations.errors import Misconfigured, TemporaryError
from integrations.files import FileStore
from integrations.messages import Address, Card, Choice, Form, InboundMessage, OutboundMessage, Question
from integrations.security.tokens import create_token
from integrations.settings import Channels, Settings
from tests.rig import Rig, Script, echo, hurry, listening, rigged


@pytest.fixture
async def wecom() -> AsyncIterator[SimulatedWeComRobot]:
    async with SimulatedWeComRobot() as wecom:
        yield wecom


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch, wecom__robot_socket__CLOSE_SECONDS=0.02)


def channel_of(wecom: SimulatedWeComRobot, home: Path, **changed: object) -> Robot:
    create_token(home)
    section = wecom.settings().model_copy(update=changed)
    channel = discover(Settings(home=home, channels=Channels(wecom=section)))["wecom-robot"]
    assert isinstance(channel, Robot)
    return channel


@asynccontextmanager
async def connected(
    wecom: SimulatedWeComRobot, database: Database, home: Path, script: Script = echo
) -> AsyncGenerator[Rig]:
    channel = channel_of(wecom, home)
    async with rigged(database, channel, script) as (rig, _):
        await wecom.until(lambda: channel.link.state == "up")
        yield rig


def to(conversation: str, text: str, **more: object) -> OutboundMessage:
    return OutboundMessage.model_validate(
        {"address": Address(channel="wecom-robot", conversation=conversation), "text": text, **more}
    )


async def test_a_member_and_a_group_are_answered_where_they_spoke(
    wecom: SimulatedWeComRobot, database: Database, tmp_path: Path
) -> None:
    async with connected(wecom, database, tmp_path) as rig:
        await wecom.say("lin", "/digest topic=上海")
        await wecom.say("zoe", "你好", chat="G1")
        await wecom.until(lambda: wecom.texts("lin") and wecom.texts("G1"))

    assert (wecom.texts("lin"), wecom.texts("G1")) == (["you said: /digest topic=上海"], ["you said: 你好"])
    assert {(one.account, one.direct, one.mentioned) for one in rig.fresh} == {
        ("lin", True, False),
        ("zoe", False, True),
    }
    assert wecom.called("aibot_send_msg") == []


async def test_an_answer_grows_in_a_stream_and_ends_with_its_buttons(
    wecom: SimulatedWeComRobot, tmp_path: Path
) -> None:
    channel = channel_of(wecom, tmp_path)
    async with listening(channel) as received:
        await wecom.until(lambda: channel.link.state == "up")
        await wecom.say("lin", "how much?")
        await wecom.until(lambda: received)
        stream = await channel.open_stream(to("lin", "", in_reply_to=received[0].ref))
        for text in ("one", "one two"):
            await stream.update(text)
        long = "one two three " * 20
        await stream.finish(to("lin", long, choices=(Choice(label="More", text="more"),)))

    assert list(wecom.streams.values()) == [["one", "one two", long]]
    assert len(wecom.shown["lin"]) == 1
    assert wecom.cards("lin")[0]["button_list"][0]["text"] == "More"


async def test_a_stream_whose_connection_is_gone_leaves_a_new_message(
    wecom: SimulatedWeComRobot, tmp_path: Path
) -> None:
    channel = channel_of(wecom, tmp_path)
    async with listening(channel) as received:
        await wecom.until(lambda: channel.link.state == "up")
        await wecom.say("lin", "how much?")
        await wecom.until(lambda: received)
        stream = await channel.open_stream(to("lin", "", in_reply_to=received[0].ref))
        await stream.update("one")
        await wecom.cut()
        await wecom.until(lambda: len(wecom.called("aibot_subscribe")) == 2 and channel.link.state == "up")
        delivery = await stream.finish(to("lin", "one two"))

    assert delivery.state == "sent"
    assert wecom.called("aibot_send_msg")[0]["markdown"] == {"content": "one two"}


async def test_a_button_says_its_text_belongs_to_who_was_asked_and_shows_that_it_was_pressed(
    wecom: SimulatedWeComRobot, database: Database, tmp_path: Path
) -> None:
    async with connected(wecom, database, tmp_path) as rig:
        choices = (Choice(label="Approve", text="/approve 17"), Choice(label="No", text="/deny 17"))
        await rig.post(to("G1", "Refund?", choices=choices, asked="lin"))
        await wecom.until(lambda: wecom.cards("G1"))
        card = wecom.cards("G1")[0]
        await wecom.press("zoe", card, chat="G1")
        await wecom.press("lin", card, chat="G1", key="/approve 17")
        await wecom.until(lambda: len(wecom.updates) == 2)
        await wecom.press("lin", card, chat="G1")
        await wecom.until(lambda: len(wecom.updates) == 3)

    assert [(one.kind, one.text, one.account) for one in rig.fresh] == [("action", "/approve 17", "lin")]
    labels = [update["template_card"]["button_list"][0]["text"] for update in wecom.updates]
    assert labels == ["已失效 · ended", "已失效 · ended", "✓"]
    assert {update["template_card"]["task_id"] for update in wecom.updates} == {card["task_id"]}


async def test_missing_arguments_are_asked_as_questions(wecom: SimulatedWeComRobot, tmp_path: Path) -> None:
    form = Form(title="Refund", command="refund", questions=(Question(name="order", label="Order"),))
    channel = channel_of(wecom, tmp_path)
    async with listening(channel):
        await wecom.until(lambda: channel.link.state == "up")
        await Outbound(channel).send(to("lin", "What is missing?", form=form))

    assert "- Order (`order`)" in wecom.texts("lin")[0]
    assert "/refund order=…" in wecom.texts("lin")[0]


async def test_a_card_is_a_card_and_a_picture_is_decrypted_and_stored(
    wecom: SimulatedWeComRobot, database: Database, tmp_path: Path
) -> None:
    async with connected(wecom, database, tmp_path) as rig:
        await wecom.show("lin", b"\x89PNG....")
        await wecom.until(lambda: rig.fresh)
        await rig.post(to("lin", "", card=Card(title="nightly", state="succeeded", url="https://x.test/r")))
        await wecom.until(lambda: wecom.cards("lin"))

    (file,) = rig.fresh[0].attachments
    assert (file.name, file.media_type) == ("image.png", "image/png")
    assert FileStore(tmp_path / "files").path(file.id).read_bytes() == b"\x89PNG...."
    assert wecom.cards("lin")[0]["main_title"] == {"title": "✅ nightly"}


async def test_who_enters_is_welcomed_and_what_is_unknown_is_ignored(
    wecom: SimulatedWeComRobot, tmp_path: Path
) -> None:
    channel = channel_of(wecom, tmp_path)
    async with listening(channel) as received:
        await wecom.until(lambda: channel.link.state == "up")
        await wecom.event("feedback_event")
        await wecom.event("made_up")
        await wecom.say("", "nobody")
        await wecom.say("lin", "", msgtype="hologram")
        await wecom.enter("lin")
        await wecom.say("lin", "hello")
        await wecom.until(lambda: received and wecom.welcomes)

    assert [message.text for message in received] == ["hello"]
    assert wecom.welcomes == [{"msgtype": "text", "text": {"content": WELCOME}}]


async def test_a_server_that_falls_silent_is_left(
    wecom: SimulatedWeComRobot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("integrations.channels.wecom.robot_socket.PING_SECONDS", 0.05)
    monkeypatch.setattr("integrations.channels.wecom.robot_socket.ACK_SECONDS", 0.2)
    channel = channel_of(wecom, tmp_path)
    async with listening(channel) as received:
        await wecom.until(lambda: wecom.called("ping"))
        wecom.deaf = True
        await wecom.until(lambda: channel.link.state != "up")
        wecom.deaf = False
        await wecom.until(lambda: len(wecom.called("aibot_subscribe")) >= 2 and channel.link.state == "up")
        await wecom.say("lin", "hello")
        await wecom.until(lambda: received)

    assert received[0].text == "hello"


async def test_limits_delay_but_keep_the_order_and_what_is_unclear_is_not_repeated(
    wecom: SimulatedWeComRobot, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("integrations.channels.wecom.robot_socket.LIMITED_SECONDS", 0.2)
    async with connected(wecom, database, tmp_path) as rig:
        wecom.limits["aibot_send_msg"] = Limit(2, 0.3)
        await rig.post(*(to("lin", f"message {number}") for number in range(5)))
        await wecom.until(lambda: len(wecom.texts("lin")) == 5)
        wecom.limits.clear()
        wecom.fail("aibot_send_msg", CUT_AFTERWARDS)
        await rig.post(to("lin", "perhaps"))
        await wecom.until(lambda: rig.outbox("unknown"))

    assert wecom.texts("lin") == [*(f"message {number}" for number in range(5)), "perhaps"]
    assert rig.outbox("unknown") == ["perhaps"]


async def test_what_could_not_be_stored_is_tried_again(
    wecom: SimulatedWeComRobot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("integrations.channels.wecom.robot.RETRY_SECONDS", 0.02)
    channel = channel_of(wecom, tmp_path)
    async with listening(channel, TemporaryError("away"), TemporaryError("away")) as received:
        await wecom.until(lambda: channel.link.state == "up")
        for text in ("first", "second"):
            await wecom.say("lin", text)
        await wecom.until(lambda: len(received) == 2)

    assert [message.text for message in received] == ["first", "second"]


async def test_a_newer_connection_displaces_this_one_which_says_so(wecom: SimulatedWeComRobot, tmp_path: Path) -> None:
    first = channel_of(wecom, tmp_path)
    async with listening(first):
        await wecom.until(lambda: first.link.state == "up")
        async with listening(channel_of(wecom, tmp_path)):
            await wecom.until(lambda: first.link.state == "down")

    assert "only one may be open" in first.link.detail


async def test_a_wrong_secret_is_refused_and_not_shown(
    wecom: SimulatedWeComRobot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("integrations.channels.link.FIRST_PAUSE_SECONDS", 10.0)
    monkeypatch.setattr("integrations.channels.link.LONGEST_PAUSE_SECONDS", 10.0)
    channel = channel_of(wecom, tmp_path, bot_secret="wrong-s3cret")
    async with listening(channel):
        await wecom.until(lambda: channel.link.state == "refused")

    assert "bot_secret" in channel.link.detail
    assert "wrong-s3cret" not in channel.link.detail


async def test_files_go_out_in_pieces_after_the_text_of_the_answer(
    wecom: SimulatedWeComRobot, database: Database, tmp_path: Path
) -> None:
    store, large = FileStore(tmp_path / "files"), bytes(range(256)) * 5000  # Three pieces.
    report = store.put(large, name="report.bin")
    picture = store.put(b"\x89PNG....", name="plot.png", media_type="image/png")

    def script(message: InboundMessage) -> list[OutboundMessage]:
        text = "" if message.text == "only" else "here they are"
        answer = OutboundMessage(address=message.address, text=text, in_reply_to=message.ref)
        return [answer.model_copy(update={"attachments": (report, picture)})]

    wecom.fail("aibot_upload_media_chunk", Fault(body={"errcode": -1, "errmsg": "busy"}))
    async with connected(wecom, database, tmp_path, script) as rig:
        await wecom.say("lin", "report")
        await wecom.until(lambda: len(wecom.shown.get("lin", [])) == 3)
        await wecom.say("ann", "only")
        await wecom.until(lambda: len(wecom.shown.get("ann", [])) == 2)
        await wecom.until(lambda: len(rig.outbox("sent")) == 2)

    kinds = [(body["msgtype"], body.get(body["msgtype"], {}).get("media_id")) for body in wecom.shown["lin"]]
    assert kinds[0][0] == "markdown"  # The stream had ended when the upload was tried again.
    assert [(kind, wecom.uploads[str(media)]) for kind, media in kinds[1:]] == [
        ("file", large),
        ("image", b"\x89PNG...."),
    ]
    assert [body["msgtype"] for body in wecom.shown["ann"]] == ["file", "image"]


async def test_a_file_that_is_not_confirmed_is_not_sent_again(wecom: SimulatedWeComRobot, tmp_path: Path) -> None:
    report = FileStore(tmp_path / "files").put(b"content", name="report.txt")
    channel = channel_of(wecom, tmp_path)
    async with listening(channel):
        await wecom.until(lambda: channel.link.state == "up")
        wecom.fail("aibot_send_msg", CUT_AFTERWARDS)
        address = Address(channel="wecom-robot", conversation="lin")
        delivery = await channel.send(OutboundMessage(address=address, text="", attachments=(report,)))
    await channel.aclose()

    assert delivery.state == "unknown"
    assert len(wecom.shown["lin"]) == 1


async def test_the_check_says_what_is_wrong(wecom: SimulatedWeComRobot) -> None:
    right = wecom.settings()
    assert await check(right) == []
    assert "bot_id and bot_secret" in (await check(right.model_copy(update={"bot_secret": "no"})))[0]
    assert "channels.wecom.bot_secret" in (await check(right.model_copy(update={"bot_secret": " "})))[0]
    assert "can't be had" in (await check(right.model_copy(update={"socket_url": "ws://127.0.0.1:9"})))[0]
    wecom.fail("aibot_subscribe", Fault(body={"errcode": 45009, "errmsg": "freq"}))
    assert "limit" in (await check(right))[0]


async def test_a_blank_secret_keeps_the_robot_shut(wecom: SimulatedWeComRobot, tmp_path: Path) -> None:
    section = wecom.settings().model_copy(update={"bot_secret": " "})
    create_token(tmp_path)

    with pytest.raises(Misconfigured, match="bot_secret"):
        Robot.of(Settings(home=tmp_path, channels=Channels(wecom=section)), section)
