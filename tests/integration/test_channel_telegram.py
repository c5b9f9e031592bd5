"""Telegram's channel against the simulated Telegram, with the real intake, database and outbox."""

import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest

from integrations.channels import Call, discover
from integrations.channels.simulators.base import CUT, CUT_AFTERWARDS, Fault
from integrations.channels.simulators.telegram import SimulatedTelegram
from integrations.channels.stream import EditedStream
from integrations.channels.telegram import Telegram
from integrations.channels.telegram.check import check
from integrations.database import Database
from integrations.errors import Unauthorized
from integrations.messages import Address, Choice, InboundMessage, OutboundMessage
from integrations.security.tokens import create_token
from integrations.settings import Settings
from integrations.settings_channels import Channels
from tests.rig import Rig, Script, echo, rigged


@pytest.fixture
async def telegram() -> AsyncIterator[SimulatedTelegram]:
    async with SimulatedTelegram() as telegram:
        yield telegram


def channel_of(telegram: SimulatedTelegram, home: Path, mode: str = "polling") -> Telegram:
    create_token(home)
    channel = discover(Settings(home=home, channels=Channels(telegram=telegram.settings(mode))))["telegram"]
    assert isinstance(channel, Telegram)
    return channel


@asynccontextmanager
async def connected(
    telegram: SimulatedTelegram, database: Database, home: Path, script: Script = echo
) -> AsyncGenerator[Rig]:
    async with rigged(database, channel_of(telegram, home), script) as (rig, _):
        yield rig


def to(conversation: str, text: str, **more: object) -> OutboundMessage:
    return OutboundMessage.model_validate(
        {"address": Address(channel="telegram", conversation=conversation), "text": text, **more}
    )


async def test_in_a_group_only_what_is_meant_for_the_bot_counts_and_is_answered_as_a_reply(
    telegram: SimulatedTelegram, database: Database, tmp_path: Path
) -> None:
    async with connected(telegram, database, tmp_path) as rig:
        await telegram.say(-100, "just talking")
        await telegram.say(-100, "/digest@another_bot")
        asked = await telegram.say(-100, "🎉🎉 @runbell_bot hello")
        await telegram.until(telegram.texts)

    assert [message.text for message in rig.fresh] == ["🎉🎉  hello"]
    assert not rig.fresh[0].direct
    assert next(iter(telegram.messages.values()))["reply_parameters"]["message_id"] == asked


async def test_a_button_says_its_text_and_belongs_to_who_was_asked(
    telegram: SimulatedTelegram, database: Database, tmp_path: Path
) -> None:
    def script(message: InboundMessage) -> list[OutboundMessage]:
        if message.kind == "action":
            return echo(message)
        choices = (Choice(label="Approve", text="/approve 17 with a text that is longer than a button may be"),)
        return [OutboundMessage(address=message.address, text="Refund?", choices=choices, asked=message.account)]

    async with connected(telegram, database, tmp_path, script) as rig:
        await telegram.say(-100, "@runbell_bot refund")
        await telegram.until(telegram.messages.keys)
        question = next(iter(telegram.messages))
        await telegram.press(question, "Approve", user=8)
        await telegram.press(question, "Approve")
        await telegram.until(lambda: len(telegram.messages) == 2)
        await telegram.until(lambda: len(telegram.called("answerCallbackQuery")) == 2)

    assert [message.kind for message in rig.fresh] == ["message", "action"]
    assert telegram.texts()[1].startswith("you said: /approve 17")
    assert telegram.called("answerCallbackQuery")[0]["show_alert"] is True


async def test_a_long_answer_comes_in_parts_of_utf16(
    telegram: SimulatedTelegram, database: Database, tmp_path: Path
) -> None:
    text = "\n\n".join("🎉字 word " * 150 for _ in range(6))
    async with connected(telegram, database, tmp_path) as rig:
        await rig.post(to("1", text))
        await telegram.until(lambda: rig.outbox("sent"))

    assert len(telegram.texts()) > 1
    assert "".join("".join(telegram.texts()).split()) == "".join(text.split())


@pytest.mark.parametrize("fault", [CUT_AFTERWARDS, CUT, Fault(500)])
async def test_what_may_have_been_sent_is_not_sent_again(
    telegram: SimulatedTelegram, database: Database, tmp_path: Path, fault: Fault
) -> None:
    telegram.fail("sendMessage", fault)
    async with connected(telegram, database, tmp_path) as rig:
        await rig.post(to("1", "perhaps"))
        await telegram.until(lambda: rig.outbox("unknown"))

    assert len(telegram.called("sendMessage")) == 1


async def test_an_answer_grows_by_edits_and_one_that_changes_nothing_is_fine(
    telegram: SimulatedTelegram, tmp_path: Path
) -> None:
    async with aclosing(channel_of(telegram, tmp_path)) as channel:
        stream = EditedStream(channel, to("1", ""))
        await stream.update("Hel")
        await stream.update("Hello")
        await stream.finish(to("1", "Hello!"))
        again = await stream.finish(to("1", "Hello!"))

    assert telegram.texts() == ["Hello!"]
    assert again.state == "sent"


async def test_files_come_in_and_go_out(telegram: SimulatedTelegram, database: Database, tmp_path: Path) -> None:
    def script(message: InboundMessage) -> list[OutboundMessage]:
        return [OutboundMessage(address=message.address, text="back", attachments=message.attachments)]

    telegram.files["F1"] = b"content"
    document = {"file_id": "F1", "file_name": "a.txt", "mime_type": "text/plain", "file_size": 7}
    huge = {"file_id": "F2", "file_name": "huge.mp4", "file_size": 10**9}
    async with connected(telegram, database, tmp_path, script) as rig:
        await telegram.say(1, "", caption="look", document=document, video=huge)
        await telegram.until(lambda: rig.outbox("sent"))

    assert telegram.called("sendDocument")[0]["document"] == b"content"
    assert [attachment.name for attachment in rig.fresh[0].attachments] == ["a.txt"]
    assert "huge.mp4" in rig.fresh[0].text


async def test_the_webhook_takes_updates_with_its_secret_and_refuses_others(
    telegram: SimulatedTelegram, database: Database, tmp_path: Path
) -> None:
    channel = channel_of(telegram, tmp_path, "webhook")
    secret = {"x-telegram-bot-api-secret-token": telegram.secret_token}
    update = (
        b'{"update_id": 5, "message": {"message_id": 1, "text": "hi", "chat": {"id": 1, "type": "private"},'
        b' "from": {"id": 7, "is_bot": false}}}'
    )
    async with rigged(database, channel) as (rig, receive):
        answer = await channel.accept(Call({}, {}, secret, update), receive)
        novelty = await channel.accept(Call({}, {}, secret, b'{"update_id": 6, "novelty": {}}'), receive)
        with pytest.raises(Unauthorized):
            await channel.accept(Call({}, {}, {"x-telegram-bot-api-secret-token": "x"}, update), receive)
        await telegram.until(telegram.texts)

    assert (answer.status, novelty.status) == (200, 200)
    assert [message.text for message in rig.fresh] == ["hi"]


async def test_the_token_is_in_no_log(
    telegram: SimulatedTelegram, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    telegram.fail("sendMessage", CUT)
    with caplog.at_level(logging.DEBUG):
        async with aclosing(channel_of(telegram, tmp_path)) as channel:
            delivery = await channel.send(to("1", "hello"))

    assert telegram.token not in caplog.text + str(delivery)


async def test_the_check_names_what_is_missing(telegram: SimulatedTelegram) -> None:
    assert await check(telegram.settings()) == []
    assert "@BotFather" in (await check(telegram.settings().model_copy(update={"bot_token": "1:no"})))[0]
    assert "setWebhook" in (await check(telegram.settings("webhook")))[0]
