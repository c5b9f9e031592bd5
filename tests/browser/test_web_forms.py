"""The form of a command's missing arguments on the page, with the real gateway, PostgreSQL and dispatcher."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import dagster as dg
import pytest
import sqlalchemy as sa
from playwright.sync_api import Locator, Page, expect
from pydantic import Field

from integrations.database import ClaimedMessage, Database
from integrations.messages import OutboundMessage
from integrations.settings import Settings
from orchestration.arguments import Day, Instant, Secret
from orchestration.authoring import command
from orchestration.commands.catalogue import compile_location
from orchestration.commands.dispatch import Dispatcher
from orchestration.commands.publishing import publish
from tests.browser.chat import Chat
from tests.browser.test_web_look import CONTRAST, NAMELESS, PHONE
from tests.gateways import Gateway, ScriptedWorker, running_gateway

WORD = "correct-horse-battery"


class Order(dg.Config):
    customer: str = Field(description="Who pays", json_schema_extra={"description_zh": "付款人"})
    amount: int = Field(description="How much", ge=1, le=100, json_schema_extra={"description_zh": "金额"})
    region: Literal["eu", "us", "亚洲"] = Field(description="Where", json_schema_extra={"description_zh": "地区"})
    due: Day = Field(description="Value date", json_schema_extra={"description_zh": "起息日"})
    at: Instant = Field(description="When it is sent", json_schema_extra={"description_zh": "发送时间"})
    urgent: bool = Field(description="Before all others", json_schema_extra={"description_zh": "优先处理"})
    token: Secret = Field(
        description="The bank's token", min_length=8, json_schema_extra={"description_zh": "银行令牌"}
    )
    note: str = ""


class Greet(dg.Config):
    name: str = Field(description="Whom to greet")


@dg.op
def order_op(config: Order) -> str:
    return repr(config)


@dg.op
def greet_op(config: Greet) -> str:
    return config.name


@command("order", aliases="下单", description_zh="下一个订单。")
@dg.job
def order() -> None:
    order_op()


@dg.job
def greet() -> None:
    greet_op()


class Dispatching(ScriptedWorker):
    """Routes as a worker does; each run ends at once and says with which config it was to start."""

    def _handle(self, claimed: ClaimedMessage) -> None:
        self.handled.append(claimed.message_id)
        claim = Dispatcher(self.database, Settings(), worker="scripted")(claimed)
        if claim is None:
            return
        assert claim.request is not None
        (op,) = claim.request["run_config"]["ops"].values()
        told = "```\n" + json.dumps(op["config"], ensure_ascii=False) + "\n```"
        reply = OutboundMessage(address=claimed.message.address, text=told)
        self.database.inbox.answer(claimed.message_id, [reply], run_id=claim.run_id)
        self.database.runs.finish(claim)


@pytest.fixture
def gateway(database_url: str, tmp_path: Path) -> Iterator[Gateway]:
    with running_gateway(database_url, tmp_path / "home") as gateway:
        yield gateway


@pytest.fixture
def database(gateway: Gateway) -> Iterator[Database]:
    opened = Database(gateway.database_url, files=gateway.home / "files", pool_size=4)
    repository = dg.Definitions(jobs=[order, greet]).get_repository_def()
    publish(opened, "core", compile_location(repository, "core"))
    with Dispatching(opened):
        yield opened
    opened.close()


@pytest.fixture
def open_chat(new_page: Callable[..., Page], gateway: Gateway, database: Database) -> Callable[..., Chat]:
    def make(**options: object) -> Chat:
        return Chat(new_page(**options)).open(gateway.client.post("/v1/session-links").json()["url"])

    return make


def form_of(chat: Chat, state: str = "open") -> Locator:
    form = chat.page.locator(f'.asking[data-state="{state}"]').last
    form.wait_for(timeout=chat.timeout_ms)
    return form


def fill_order(form: Locator, **changed: str) -> None:
    values = {"Who pays": "Ada", "How much": "7", "Value date": "2026-12-01", "When it is sent": "2026-12-01T09:30"}
    for label, value in {**values, "The bank's token": WORD, **changed}.items():
        form.get_by_label(label).fill(value)
    form.get_by_label("Where").select_option("亚洲")
    form.get_by_label("Before all others").select_option("Yes")


def started(chat: Chat) -> dict[str, object]:
    return json.loads(chat.wait_answer().splitlines()[-1])


def types_of(form: Locator) -> list[str]:
    return form.locator("input, select").evaluate_all("nodes => nodes.map((node) => node.type)")


def test_a_form_has_the_right_field_for_each_argument_and_runs_the_command(open_chat: Callable[..., Chat]) -> None:
    chat = open_chat()
    chat.say("/order note=gift")
    form = form_of(chat)

    assert types_of(form) == ["text", "number", "select-one", "date", "datetime-local", "select-one", "password"]
    expect(form.locator(".form-known")).to_have_text("notegift")
    expect(form.get_by_label("How much")).to_have_accessible_description("a whole number (from 1 to 100)")
    fill_order(form)
    form.get_by_role("button", name="Run").click()
    said = chat.turns.last.locator(".by-user .plain")
    expect(said).to_contain_text('customer="Ada"')
    expect(said).to_contain_text('token="•••"')

    config = started(chat)
    assert {name: config[name] for name in ("customer", "amount", "due", "urgent", "note")} == {
        "customer": "Ada", "amount": 7, "due": "2026-12-01", "urgent": True, "note": "gift",
    }  # fmt: skip
    assert str(config["at"]).startswith("2026-12-01T09:30:00")
    expect(form_of(chat, "answered")).to_contain_text("/order")
    expect(chat.page.locator("form.form")).to_have_count(0)


def test_a_form_that_is_sent_by_a_double_click_is_sent_once(open_chat: Callable[..., Chat]) -> None:
    chat = open_chat()
    chat.say("/greet")
    form = form_of(chat)
    form.get_by_label("Whom to greet").fill("Ada")
    form.get_by_role("button", name="Run").dblclick()
    started(chat)
    chat.say("/whoami")

    expect(chat.answers.last).to_contain_text("owner")
    expect(chat.said_by_user).to_have_count(3)


def test_a_picked_instant_is_one_of_the_browser_s_time_zone(open_chat: Callable[..., Chat]) -> None:
    chat = open_chat(timezone_id="America/New_York")
    chat.say("/order")
    form = form_of(chat)
    fill_order(form, **{"How much": "700"})
    form.get_by_role("button", name="Run").click()
    form.locator(".field-error").wait_for()
    chat.page.reload()
    expect(form.get_by_label("When it is sent")).to_have_value("2026-12-01T09:30")
    form.get_by_label("How much").fill("70")
    form.get_by_role("button", name="Run").click()

    assert datetime.fromisoformat(str(started(chat)["at"])) == datetime(2026, 12, 1, 14, 30, tzinfo=UTC)


def test_the_keyboard_alone_fills_a_form_in_and_sends_it(open_chat: Callable[..., Chat]) -> None:
    chat = open_chat()
    chat.say("/greet")
    form_of(chat)
    expect(chat.page.get_by_label("Whom to greet")).to_be_focused()
    chat.page.keyboard.type("Ada")
    chat.page.keyboard.press("Enter")

    assert started(chat) == {"name": "Ada"}


def test_what_is_wrong_is_told_beside_its_field_and_all_else_stays(open_chat: Callable[..., Chat]) -> None:
    chat = open_chat()
    chat.say("/order")
    form = form_of(chat)
    fill_order(form, **{"How much": "700", "Who pays": ""})
    form.get_by_role("button", name="Run").click()
    wrong = form.locator('[data-field="amount"]')

    expect(wrong.locator(".field-error")).to_have_text(
        "Expected a whole number (from 1 to 100), not '700'.", timeout=10_000
    )
    expect(form.get_by_label("How much")).to_have_attribute("aria-invalid", "true")
    expect(form.locator('[data-field="customer"] .field-error')).to_have_text("Please fill this in.")
    expect(form.get_by_label("Who pays")).to_be_focused()
    expect(form.get_by_label("Value date")).to_have_value("2026-12-01")
    expect(form.get_by_label("The bank's token")).to_have_count(0)
    expect(form.locator(".form-known")).to_have_text("token•••")
    expect(chat.turns.filter(visible=True)).to_have_count(1)
    form.get_by_label("How much").fill("70")
    form.get_by_label("Who pays").fill("Ada")
    form.get_by_role("button", name="Run").click()
    assert started(chat)["amount"] == 70


def test_a_secret_stands_nowhere_but_in_its_field(
    open_chat: Callable[..., Chat], database: Database, gateway: Gateway
) -> None:
    chat = open_chat()
    other = Chat(chat.page.context.new_page())
    seen: list[str] = []
    other.page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: seen.append(str(frame))))
    chat.say("/order")
    form = form_of(chat)
    other.open(chat.page.url)
    form_of(other)
    fill_order(form, **{"How much": "700"})
    form.get_by_role("button", name="Run").click()
    form.locator(".field-error").wait_for()
    form.get_by_label("How much").fill("70")
    form.get_by_role("button", name="Run").click()
    chat.wait_answer()
    other.wait_answer()

    tables = ("inbox", "outbox", "transcript", "questions", "run_queue", "progress")
    with database.engine.begin() as connection:
        rows = str([connection.execute(sa.text(f"select * from runbell.{name}")).all() for name in tables])
    kept = chat.page.evaluate("JSON.stringify(localStorage) + document.body.innerHTML")
    assert "Ada" in rows
    assert "Ada" in str(seen)
    assert [WORD in text for text in (rows, kept, str(seen), gateway.log.read_text())] == [False] * 4


def test_a_form_is_there_again_after_a_reload_and_final_in_every_tab_once_answered(
    open_chat: Callable[..., Chat],
) -> None:
    chat = open_chat()
    chat.say("/greet")
    form_of(chat)
    chat.page.reload()
    other = Chat(chat.page.context.new_page()).open(chat.page.url)
    form_of(other)
    form_of(chat).get_by_label("Whom to greet").fill("Ada")
    chat.page.get_by_role("button", name="Run").click()

    for page in (chat, other):
        expect(form_of(page, "answered")).to_contain_text("Answered")
        page.page.reload()
        expect(form_of(page, "answered")).to_contain_text("Answered")


def test_a_form_survives_a_gateway_that_is_killed(open_chat: Callable[..., Chat], gateway: Gateway) -> None:
    chat = open_chat()
    chat.say("/greet")
    form_of(chat).get_by_label("Whom to greet").fill("Ada")
    gateway.kill()
    chat.wait_state("waiting")
    chat.page.get_by_role("button", name="Run").click()
    expect(form_of(chat).get_by_role("button", name="Sending…")).to_be_disabled()
    gateway.start()

    expect(form_of(chat, "answered")).to_be_visible(timeout=30_000)
    assert started(chat) == {"name": "Ada"}


@pytest.mark.parametrize(("end", "state"), [("/stop", "cancelled"), ("/order", "replaced"), ("Ada", "answered")])
def test_a_form_is_final_when_what_is_typed_ends_it(open_chat: Callable[..., Chat], end: str, state: str) -> None:
    chat = open_chat()
    chat.say("/greet")
    form_of(chat)
    chat.say(end)

    expect(chat.page.locator(f'.asking[data-state="{state}"]')).to_contain_text("/greet")


def test_a_form_is_cancelled_by_its_button(open_chat: Callable[..., Chat]) -> None:
    chat = open_chat()
    chat.say("/greet")
    form_of(chat).get_by_role("button", name="Cancel").click()

    expect(form_of(chat, "cancelled")).to_contain_text("Cancelled")
    assert chat.wait_answer() == "All right, I ask no further."


def test_a_form_that_was_answered_elsewhere_does_nothing_more_and_that_is_told(
    open_chat: Callable[..., Chat], database: Database
) -> None:
    chat = open_chat()
    chat.say("/greet")
    form_of(chat).get_by_label("Whom to greet").fill("Ada")
    with database.engine.begin() as connection:
        connection.execute(sa.text("delete from runbell.questions"))
    chat.page.get_by_role("button", name="Run").click()

    expect(form_of(chat).locator(".form-problem")).to_contain_text("Nothing was done")
    expect(chat.turns.filter(visible=True)).to_have_count(1)
    expect(chat.page.get_by_label("Whom to greet")).to_have_value("Ada")


def test_a_form_that_is_asked_for_once_more_has_its_time_anew(open_chat: Callable[..., Chat]) -> None:
    chat = open_chat()
    chat.page.clock.install()
    chat.say("/greet")
    form = form_of(chat)
    chat.page.clock.fast_forward(6 * 60 * 1000)
    form.get_by_role("button", name="Run").click()
    form.locator(".field-error").wait_for()
    chat.page.clock.fast_forward(6 * 60 * 1000)
    expect(form).to_be_visible()
    chat.page.clock.fast_forward(6 * 60 * 1000)

    expect(form_of(chat, "expired")).to_contain_text("/greet")


def test_a_form_closes_when_its_time_is_over(open_chat: Callable[..., Chat], database: Database) -> None:
    chat = open_chat()
    chat.page.clock.install()
    chat.say("/greet")
    form_of(chat)
    chat.page.clock.fast_forward(11 * 60 * 1000)

    expect(form_of(chat, "expired")).to_contain_text("ten minutes")
    with database.engine.begin() as connection:
        connection.execute(sa.text("update runbell.transcript set body = jsonb_set(body, '{form,until}', :long_ago) "
                                   "where body ? 'form'"), {"long_ago": '"2026-01-01T00:00:00Z"'})  # fmt: skip
    chat.page.reload()
    expect(form_of(chat, "expired")).to_contain_text("/greet")


def test_a_form_speaks_chinese(open_chat: Callable[..., Chat], shots: Path) -> None:
    chat = open_chat(locale="zh-CN", **PHONE)
    chat.say("/下单")
    form = form_of(chat)

    expect(form.get_by_role("heading")).to_have_text("/order 还需要一些信息")
    form.get_by_label("金额").fill("700")
    form.get_by_role("button", name="运行").click()
    expect(form.locator('[data-field="amount"] .field-error')).to_contain_text("应为整数")
    expect(form.locator('[data-field="region"] .field-error')).to_have_text("请填写此项。")
    chat.page.screenshot(path=shots / "form-zh-phone.png")
    form.get_by_role("button", name="取消").click()
    expect(form_of(chat, "cancelled")).to_contain_text("已取消")
    assert chat.wait_answer() == "好的，不再询问。"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1180, 360])
def test_a_form_can_be_read_and_fits(open_chat: Callable[..., Chat], shots: Path, scheme: str, width: int) -> None:
    size = PHONE if width == 360 else {"viewport": {"width": 1180, "height": 1250}}
    chat = open_chat(color_scheme=scheme, **size)
    chat.say("/order note=gift")
    form = form_of(chat)
    form.get_by_label("How much").fill("700")
    form.get_by_label("The bank's token").fill(WORD)
    chat.page.screenshot(path=shots / f"form-{scheme}-{width}-new.png")
    form.get_by_role("button", name="Run").click()
    form.locator(".field-error").first.wait_for()

    expect(form.locator("[aria-invalid=true]").first).to_be_in_viewport()
    assert chat.page.evaluate(CONTRAST) == []
    assert chat.page.evaluate(NAMELESS) == []
    assert chat.page.evaluate("document.getElementById('scroller').scrollWidth <= innerWidth")
    chat.page.screenshot(path=shots / f"form-{scheme}-{width}.png")
    form.get_by_role("button", name="Cancel").click()
    form_of(chat, "cancelled")
    assert chat.page.evaluate(CONTRAST) == []
    chat.page.screenshot(path=shots / f"form-{scheme}-{width}-end.png")
