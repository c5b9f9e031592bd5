"""The page against the real gateway and PostgreSQL; a scripted worker takes the place of runs and models."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from integrations.database import ClaimedMessage, Database, NewRun
from integrations.files import FileStore
from integrations.messages import Attachment, Choice, MessageStatus, OutboundMessage
from tests.browser.chat import Chat
from tests.gateways import Gateway, ScriptedWorker, running_gateway

OPS = ("receive", "recall", "think", "act", "reply", "remember")


class OpsWorker(ScriptedWorker):
    """Plays the assistant's ops; holds `think` in the middle of its tokens while `go_on` is not set."""

    def _handle(self, claimed: ClaimedMessage) -> None:
        message, database = claimed.message, self.database
        principal = database.principals.resolve(message.address.tenant, message.address.channel, message.account)
        run = database.inbox.start(
            claimed, NewRun("core", "assistant", {}, {}), principal_id=principal.id, worker="scripted"
        )
        assert run is not None

        def publish(body: dict[str, object]) -> None:
            database.progress.publish(claimed.message_id, message.address, body)

        publish(
            {"type": "run", "run_id": run.run_id, "url": f"http://127.0.0.1:3000/runs/{run.run_id}", "job": "assistant"}
        )
        for op in OPS[:4]:
            publish({"type": "op", "op": op, "state": "started"})
            if op == "think":
                publish({"type": "delta", "text": "Paris "})
                self.go_on.wait(20)
                publish({"type": "delta", "text": "**it is**"})
            publish({"type": "op", "op": op, "state": "succeeded", "ms": 12.5})
        self.handled.append(claimed.message_id)
        database.inbox.answer(
            claimed.message_id, [self._reply(claimed)], run_id=run.run_id, status=MessageStatus.ANSWERED
        )
        database.runs.finish(run)
        for op in OPS[4:]:
            publish({"type": "op", "op": op, "state": "succeeded", "ms": 3.0})

    def _reply(self, claimed: ClaimedMessage) -> OutboundMessage:
        files: tuple[Attachment, ...] = ()
        choices: tuple[Choice, ...] = ()
        if claimed.message.text == "chart":
            files = (self.picture,)
        if claimed.message.text == "ask":
            choices = (Choice(label="Yes", text="yes"),)
        text = f"Paris **it is** ({claimed.message.text[:40]})"
        return OutboundMessage(address=claimed.message.address, text=text, attachments=files, choices=choices)

    picture: Attachment


@pytest.fixture
def gateway(database_url: str, tmp_path: Path) -> Iterator[Gateway]:
    with running_gateway(database_url, tmp_path / "home") as gateway:
        yield gateway


@pytest.fixture
def worker(gateway: Gateway, tmp_path: Path) -> Iterator[OpsWorker]:
    database = Database(gateway.database_url, files=gateway.home / "files", pool_size=4)
    with OpsWorker(database) as worker:
        yield worker
    database.close()


def one_time_link(gateway: Gateway) -> str:
    answer = gateway.client.post("/v1/session-links")
    assert answer.status_code == 201, answer.text
    return answer.json()["url"]


@pytest.fixture
def chat(new_page: Callable[..., Page], gateway: Gateway, worker: OpsWorker) -> Chat:
    return Chat(new_page()).open(one_time_link(gateway))


def test_a_one_time_link_opens_the_page_and_a_message_is_answered_as_it_is_made(chat: Chat, worker: OpsWorker) -> None:
    worker.go_on.clear()
    turn = chat.say("What is the capital of France?")
    chat.wait_tokens("Paris")
    chat.wait_op("think", "started", turn)
    assert "/runs/" in chat.run_link(turn)
    worker.go_on.set()
    assert chat.wait_answer(turn) == "Paris it is (What is the capital of France?)"
    chat.wait_op("remember", "succeeded", turn)
    assert [op.state for op in chat.ops(turn)] == ["succeeded"] * 6
    expect(chat.turns).to_have_count(1)
    assert "key=" not in chat.page.url


def test_without_a_session_the_page_shows_how_to_get_one(
    new_page: Callable[..., Page], gateway: Gateway, worker: OpsWorker
) -> None:
    page = new_page()
    page.goto(gateway.url)
    chat = Chat(page)
    chat.wait_state("locked")
    expect(chat.banner).to_contain_text("runbell up")
    chat.open(one_time_link(gateway))
    chat.say("hello")
    chat.wait_answer()


def test_a_gateway_killed_while_tokens_stream_costs_nothing(chat: Chat, gateway: Gateway, worker: OpsWorker) -> None:
    worker.go_on.clear()
    chat.say("first")
    chat.wait_token()
    gateway.kill()
    chat.wait_state("waiting")
    chat.say("second")
    worker.go_on.set()
    gateway.start()
    expect(chat.answers).to_have_count(2, timeout=20_000)
    assert chat.wait_answer() == "Paris it is (second)"
    expect(chat.said_by_user).to_have_count(2)
    expect(chat.streaming).to_have_count(0)
    assert len(worker.handled) == 2


def test_two_gateways_serve_one_conversation_without_knowing_of_each_other(
    chat: Chat, new_page: Callable[..., Page], gateway: Gateway, worker: OpsWorker
) -> None:
    with running_gateway(gateway.database_url, gateway.home) as second:
        worker.go_on.clear()
        turn = chat.say("hello")
        query = chat.page.evaluate("location.search")
        other = Chat(new_page(chat.page.context)).open(f"{second.url}/{query}")
        other.wait_tokens("Paris")
        worker.go_on.set()
        assert chat.wait_answer(turn) == other.wait_answer() == "Paris it is (hello)"
        other.say("and there")
        expect(chat.answers.last).to_contain_text("(and there)")


def test_a_picture_made_by_a_run_is_shown(chat: Chat, gateway: Gateway, worker: OpsWorker, tmp_path: Path) -> None:
    from tests.browser.test_web_answers import PIXEL

    path = tmp_path / "sales.png"
    path.write_bytes(PIXEL)
    worker.picture = FileStore(gateway.home / "files").add(path)
    chat.say("chart")
    chat.wait_answer()
    image = chat.page.get_by_role("img", name="sales.png")
    assert image.evaluate("node => node.decode().then(() => node.naturalWidth)") == 1


def test_a_run_is_asked_to_stop(chat: Chat, worker: OpsWorker) -> None:
    worker.go_on.clear()
    turn = chat.say("go on and on")
    chat.wait_token()
    turn.get_by_role("button", name="Stop").click()
    expect(turn.locator(".stop")).to_have_text("Stopping…")
    expect(chat.notices).to_have_count(0)
    worker.go_on.set()
    chat.wait_answer(turn)


def test_a_choice_is_answered(chat: Chat, worker: OpsWorker) -> None:
    chat.say("ask")
    chat.page.get_by_role("button", name="Yes").click()
    expect(chat.answers.last).to_contain_text("(yes)")


def test_a_text_that_the_gateway_refuses_is_shown_as_not_sent(chat: Chat) -> None:
    turn = chat.say("a\x00b")
    expect(turn).to_contain_text("Not sent")


def test_a_hundred_thousand_characters_of_chinese_are_accepted(chat: Chat, worker: OpsWorker) -> None:
    chat.box.evaluate("(box, text) => { box.value = text; box.dispatchEvent(new Event('input')); }", "字" * 100_000)
    chat.box.press("Enter")
    chat.wait_answer()
    expect(chat.page.get_by_role("button", name="Show all")).to_be_visible()


def test_everything_the_page_loads_comes_from_the_gateway(
    new_page: Callable[..., Page], gateway: Gateway, worker: OpsWorker
) -> None:
    page = new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    Chat(page).open(one_time_link(gateway)).say("hello")
    Chat(page).wait_answer()
    assert [url for url in asked if not url.startswith(gateway.url)] == []
