"""Slack's channel against the simulated Slack, by the vendor's client, with the real intake, database and outbox."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from integrations.channels import Call, Hooked, Receive, discover
from integrations.channels.simulators.base import CUT, CUT_AFTERWARDS, Fault
from integrations.channels.simulators.slack import SimulatedSlack
from integrations.channels.slack import Slack
from integrations.channels.slack.check import check
from integrations.database import Database
from integrations.errors import RunbellError, TemporaryError
from integrations.messages import Address, Choice, Form, InboundMessage, OutboundMessage, Question
from integrations.security.tokens import create_token
from integrations.settings import Settings
from integrations.settings_channels import Channels
from tests.rig import Rig, Script, echo, rigged


@pytest.fixture
async def slack() -> AsyncIterator[SimulatedSlack]:
    async with SimulatedSlack() as slack:
        yield slack


def channel_of(slack: SimulatedSlack, home: Path, mode: str = "socket") -> Slack:
    create_token(home)
    channel = discover(Settings(home=home, channels=Channels(slack=slack.settings(mode))))["slack"]
    assert isinstance(channel, Slack)
    return channel


@asynccontextmanager
async def connected(
    slack: SimulatedSlack, database: Database, home: Path, script: Script = echo
) -> AsyncGenerator[Rig]:
    async with rigged(database, channel_of(slack, home), script) as (rig, _):
        await slack.until(lambda: slack.sockets)
        yield rig


def to(conversation: str, text: str, **more: object) -> OutboundMessage:
    return OutboundMessage.model_validate(
        {"address": Address(channel="slack", conversation=conversation), "text": text, **more}
    )


def said(slack: SimulatedSlack, channel: str = "") -> list[str]:
    return [one.get("markdown_text") or one["text"] for one in slack.posted(channel)]


async def test_a_direct_message_and_a_slash_command_are_answered_where_they_were_said(
    slack: SimulatedSlack, database: Database, tmp_path: Path
) -> None:
    async with connected(slack, database, tmp_path) as rig:
        await slack.say("D1", "hello")
        await slack.until(lambda: said(slack) == ["you said: hello"])
        await slack.command("/runbell", "digest topic=x")
        await slack.until(lambda: len(slack.posted()) == 2)

    assert said(slack, "D1")[1] == "you said: /digest topic=x"
    assert all(message.direct for message in rig.fresh)
    assert not any("thread_ts" in one for one in slack.posted())


async def test_an_event_that_could_not_be_stored_comes_again(slack: SimulatedSlack, tmp_path: Path) -> None:
    attempts: list[str] = []

    async def receive(message: InboundMessage) -> object:
        attempts.append(message.event_id)
        if len(attempts) < 3:
            raise TemporaryError("the database is away")
        return None

    task = asyncio.create_task(channel_of(slack, tmp_path).listen(receive))  # pyright: ignore
    await slack.until(lambda: slack.sockets)
    await slack.say("D1", "patience")
    await slack.until(lambda: slack.acknowledged)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert len(attempts) == 3
    assert len(set(attempts)) == 1


async def test_a_button_says_its_text_and_belongs_to_who_was_asked(
    slack: SimulatedSlack, database: Database, tmp_path: Path
) -> None:
    def script(message: InboundMessage) -> list[OutboundMessage]:
        if message.kind == "action":
            return echo(message)
        choices = (Choice(label="Approve", text="/approve 17", style="primary"), Choice(label="No", text="/deny 17"))
        return [OutboundMessage(address=message.address, text="Refund?", choices=choices, asked=message.account)]

    async with connected(slack, database, tmp_path, script) as rig:
        await slack.say("C1", "<@UBOT> refund")
        await slack.until(slack.posted)
        question = slack.posted()[0]["ts"]
        await slack.press(question, "Approve", user="U2")
        await slack.until(lambda: slack.called("chat.postEphemeral"))
        await slack.press(question, "Approve")
        await slack.until(lambda: len(slack.posted()) == 2)

    assert said(slack)[1] == "you said: /approve 17"
    assert slack.called("chat.postEphemeral")[0]["user"] == "U2"
    assert [message.kind for message in rig.fresh] == ["message", "action"]
    assert slack.posted()[1]["thread_ts"] == slack.posted()[0]["thread_ts"]


async def test_missing_arguments_are_asked_by_a_modal(
    slack: SimulatedSlack, database: Database, tmp_path: Path
) -> None:
    form = Form(
        title="Refund",
        command="refund",
        args={"amount": 5},
        questions=(
            Question(name="order", label="Order"),
            Question(name="why", label="Why", kind="choice", options=(Choice(label="Broken", text="broken"),)),
        ),
    )
    async with connected(slack, database, tmp_path, lambda message: []) as rig:
        await rig.post(to("D1", "What is missing?", form=form, asked="U1"))
        await slack.until(slack.posted)
        await slack.press(slack.posted()[0]["ts"], "Refund")
        await slack.until(lambda: slack.views)
        refused = await slack.submit({"Order": "", "Why": "Broken"})
        await slack.until(lambda: refused in slack.acknowledged)
        await slack.submit({"Order": "A-17", "Why": "Broken"})
        await slack.until(lambda: rig.fresh)

    assert slack.acknowledged[refused] == {"response_action": "errors", "errors": {"q0": "This is needed."}}
    assert rig.fresh[0].command == "refund"
    assert rig.fresh[0].args == {"amount": 5, "order": "A-17", "why": "broken"}
    assert rig.fresh[0].kind == "form"


async def test_a_new_connection_that_slack_announces_is_taken(
    slack: SimulatedSlack, database: Database, tmp_path: Path
) -> None:
    async with connected(slack, database, tmp_path):
        first = slack.sockets[0]
        await slack.refresh()
        await slack.until(lambda: slack.sockets and first not in slack.sockets)
        await slack.say("D1", "still there?")
        await slack.until(slack.posted)

    assert said(slack) == ["you said: still there?"]


async def test_a_long_answer_comes_in_parts(slack: SimulatedSlack, database: Database, tmp_path: Path) -> None:
    text = "\n\n".join(f"Paragraph {number}. " + "word 字 " * 300 for number in range(8))
    async with connected(slack, database, tmp_path) as rig:
        await rig.post(to("D1", text))
        await slack.until(lambda: rig.outbox("sent"))

    assert len(slack.posted()) == 2
    assert "".join("".join(said(slack)).split()) == "".join(text.split())


@pytest.mark.parametrize(("fault", "state"), [(CUT_AFTERWARDS, "unknown"), (CUT, "unknown"), (Fault(500), "unknown")])
async def test_what_may_have_been_posted_is_not_posted_again(
    slack: SimulatedSlack, database: Database, tmp_path: Path, fault: Fault, state: str
) -> None:
    slack.fail("chat.postMessage", fault)
    async with connected(slack, database, tmp_path) as rig:
        await rig.post(to("D1", "perhaps"))
        await slack.until(lambda: rig.outbox(state))

    assert len(slack.called("chat.postMessage")) == 1


async def test_an_answer_streams_in_a_thread_and_ends_exactly(slack: SimulatedSlack, tmp_path: Path) -> None:
    stream = await channel_of(slack, tmp_path).open_stream(to("C1/1.1", "", asked="U1"))
    await stream.update("Hel")
    await stream.update("Hello, wor")
    delivery = await stream.finish(to("C1/1.1", "Hello, world!", asked="U1"))

    assert [call["markdown_text"] for call in slack.called("chat.appendStream")] == ["lo, wor"]
    assert slack.messages[delivery.platform_id or ""]["blocks"] == [{"type": "markdown", "text": "Hello, world!"}]
    assert len(slack.messages) == 1


async def test_files_come_in_by_reference_and_go_out_after_the_text(
    slack: SimulatedSlack, database: Database, tmp_path: Path
) -> None:
    slack.files["a.txt"] = b"content"
    script: Script = lambda message: [  # noqa: E731
        OutboundMessage(address=message.address, text="back", attachments=message.attachments)
    ]
    file = {"name": "a.txt", "mimetype": "text/plain", "url_private_download": f"{slack.url}/files/a.txt"}
    elsewhere = {"name": "b.txt", "url_private_download": "http://169.254.169.254/latest"}
    async with connected(slack, database, tmp_path, script) as rig:
        await slack.say("D1", "look", subtype="file_share", files=[file, elsewhere])
        await slack.until(lambda: slack.called("files.completeUploadExternal"))

    assert list(slack.uploads.values()) == [b"content"]
    assert [attachment.name for attachment in rig.fresh[0].attachments] == ["a.txt"]
    assert "not Slack's" in rig.fresh[0].text


async def test_signed_requests_are_taken_and_forged_or_old_ones_refused(
    slack: SimulatedSlack, database: Database, tmp_path: Path
) -> None:
    channel = channel_of(slack, tmp_path, "http")
    async with rigged(database, channel) as (rig, receive), served(channel, receive) as url:
        slack.request_url = url
        await slack.say("C1", "<@UBOT> by HTTP")
        await slack.command("/runbell", "help")
        await slack.until(lambda: len(slack.posted()) == 2)
        refused = [await slack.post("events_api", {}, secret="wrong"), await slack.post("events_api", {}, at=1.0)]
        unknown = await slack.post("events_api", {"type": "event_callback", "event": {"type": "novelty"}})

    assert set(said(slack)) == {"you said: by HTTP", "you said: /help"}
    assert refused == [401, 401]
    assert unknown == 200
    assert len(rig.fresh) == 2


async def test_the_check_names_what_is_missing(slack: SimulatedSlack) -> None:
    assert await check(slack.settings()) == []
    slack.scopes.discard("im:history")

    assert "im:history" in (await check(slack.settings()))[0]
    assert "OAuth & Permissions" in (await check(slack.settings().model_copy(update={"bot_token": "xoxb-no"})))[0]
    assert "Socket Mode" in (await check(slack.settings().model_copy(update={"app_token": "xapp-no"})))[-1]
    assert "Signing Secret" in (await check(slack.settings("http").model_copy(update={"signing_secret": " "})))[-1]


@asynccontextmanager
async def served(channel: Hooked, receive: Receive) -> AsyncGenerator[str]:
    async def events(request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        try:
            answer = await channel.accept(Call({}, {}, headers, await request.read()), receive)
        except RunbellError:
            return web.Response(status=401)
        return web.json_response(answer.content, status=answer.status) if answer.content else web.Response()

    app = web.Application()
    app.router.add_post("/events", events)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/events"
    finally:
        await runner.cleanup()
