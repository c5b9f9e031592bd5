"""What a person sees of a message and its answer. The gateway is the stand-in."""

import base64
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.chat import Chat
from tests.browser.script import Answer, Body, Gate, Op, Settle, assistant, delta
from tests.browser.standin import Standin

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
HOSTILE = """<script>window.hacked = 1</script>
<img src=x onerror="window.hacked = 2"> <svg onload="window.hacked = 3"></svg>
[click](javascript:window.hacked=4) <a href="data:text/html,<script>1</script>">data</a>
<iframe src="/"></iframe><form action="/v1/messages"><button>send</button></form>
<p style="position:fixed;inset:0" onclick="window.hacked=5" class="send">styled</p>
<math><mtext><table><mglyph><style><img src=x onerror="window.hacked=6"></style></mglyph></table></mtext></math>
![tracker](https://example.com/pixel.png) ![inline](data:image/svg+xml,<svg/onload=alert(1)>)
<input type="password" autofocus onfocus="window.hacked=7">"""


def test_tokens_appear_before_the_answer_is_whole(chat: Chat, standin: Standin) -> None:
    standin.scripts["hello"] = assistant(Answer("one two three four"), hold="middle")
    chat.say("hello")
    chat.wait_tokens("one two")
    standin.open("middle")
    assert chat.wait_answer() == "one two three four"
    expect(chat.streaming).to_have_count(0)
    expect(chat.answers).to_have_count(1)


def test_the_ops_of_the_run_are_shown_as_they_happen(chat: Chat, standin: Standin) -> None:
    standin.scripts["hello"] = assistant(Answer("one two three four"), hold="middle")
    turn = chat.say("hello")
    chat.wait_op("think", "started", turn)
    assert [(op.name, op.state) for op in chat.ops(turn)] == [
        ("receive", "succeeded"), ("recall", "succeeded"), ("think", "started"),
        ("act", "pending"), ("reply", "pending"), ("remember", "pending"),
    ]  # fmt: skip
    assert chat.run_link(turn) == f"http://127.0.0.1:3000/runs/{standin.said('hello')[0].run_id}"
    standin.open("middle")
    chat.wait_op("remember", "succeeded", turn)
    assert [op.time for op in chat.ops(turn)] == ["3 ms", "12 ms", "840 ms", "", "6 ms", "21 ms"]


def test_the_time_of_a_running_op_ticks(chat: Chat, standin: Standin) -> None:
    standin.scripts["hello"] = [Op("receive", "started"), Gate("middle"), Answer("done"), Settle()]
    chat.say("hello")
    time = chat.page.locator('.op[data-op="receive"] .ms')
    expect(time).to_contain_text("ms")
    first = time.inner_text()
    expect(time).not_to_have_text(first)
    standin.open("middle")


def test_mapped_ops_are_one_stage_with_their_number(chat: Chat, standin: Standin) -> None:
    mapped = [Op("receive", ms=1), Op("act.carry_out[a]", ms=10), Op("act.carry_out[b]", "started"), Gate("middle")]
    standin.scripts["go"] = [*mapped, Op("act.carry_out[b]", ms=5), Answer("done"), Settle()]
    chat.say("go")
    chat.wait_op("act", "started")
    standin.open("middle")
    chat.wait_op("act", "succeeded")
    expect(chat.page.locator('.op[data-op="act"]')).to_contain_text("act ×2")
    assert chat.ops()[1].time == "15 ms"


def test_a_resumed_run_streams_anew(chat: Chat, standin: Standin) -> None:
    standin.scripts["go"] = [
        delta("lost "),
        Body({"type": "reset"}),
        delta("kept"),
        Gate("end"),
        Answer("kept"),
        Settle(),
    ]
    chat.say("go")
    standin.wait_at("end")
    expect(chat.streaming).to_have_text("kept")
    standin.open("end")
    assert chat.wait_answer() == "kept"


def test_a_run_is_stopped_by_its_button(chat: Chat, standin: Standin) -> None:
    stopped = Answer("⏹ Cancelled.")
    standin.scripts["go"] = [Op("think", "started"), Gate("end"), stopped, Settle("failed")]
    turn = chat.say("go")
    chat.wait_op("think", "started", turn)
    turn.get_by_role("button", name="Stop").click()
    expect(turn.locator(".stop")).to_have_text("Stopping…")
    assert standin.cancelled == [standin.said("go")[0].run_id]
    standin.open("end")
    assert chat.wait_answer(turn) == "⏹ Cancelled."
    expect(turn.locator(".stop")).to_have_count(0)
    chat.wait_op("think", "stopped", turn)
    expect(turn.locator(".strip-status")).to_have_text("Stopped")


def test_a_run_that_cannot_be_stopped_says_why(chat: Chat, standin: Standin) -> None:
    standin.scripts["go"] = [Op("think", "started"), Gate("end"), Answer("done"), Settle()]
    turn = chat.say("go")
    chat.wait_op("think", "started", turn)
    standin.ended.append(standin.said("go")[0].run_id)
    turn.get_by_role("button", name="Stop").click()
    expect(chat.notices).to_contain_text("This run has ended already.")
    expect(turn.get_by_role("button", name="Stop")).to_be_enabled()
    standin.open("end")


def test_a_failed_run_is_told_with_its_link(chat: Chat, standin: Standin) -> None:
    standin.scripts["go"] = [
        Op("think", "started"),
        Op("think", "failed", 12),
        Answer("⚠️ The model is away."),
        Settle("failed"),
    ]
    turn = chat.say("go")
    assert chat.wait_answer(turn) == "⚠️ The model is away."
    expect(turn.locator(".strip-status")).to_have_text("Failed")
    assert chat.run_link(turn)


def test_a_message_that_ends_without_an_answer_says_so(chat: Chat, standin: Standin) -> None:
    standin.scripts["go"] = [Settle("dead")]
    turn = chat.say("go")
    expect(turn.get_by_role("alert")).to_contain_text("ended without an answer")


def test_a_waiting_run_says_that_it_waits(chat: Chat, standin: Standin) -> None:
    standin.scripts["go"] = [
        Op("act", "started"),
        Body({"type": "status", "status": "waiting"}),
        Gate("end"),
        Answer("done"),
        Settle(),
    ]
    turn = chat.say("go")
    expect(turn.locator(".strip-status")).to_have_text("Waiting for a decision")
    standin.open("end")
    chat.wait_answer(turn)


def test_an_answer_that_comes_late_stands_at_the_end_and_quotes_its_question(chat: Chat, standin: Standin) -> None:
    standin.scripts["slow question"] = [Gate("later"), Answer("slow answer"), Settle()]
    chat.say("slow question")
    standin.wait_at("later")
    standin.release_turns()
    chat.say("quick question")
    chat.wait_answer()
    standin.open("later")
    expect(chat.answers.last).to_contain_text("slow answer")
    assert chat.turns.last.locator(".in-answer-to").inner_text() == "In answer to “slow question”"


def test_a_choice_is_said_when_pressed_and_stays_marked(chat: Chat, standin: Standin) -> None:
    choices: tuple[dict[str, object], ...] = ({"label": "Yes, run it", "text": "yes"}, {"label": "No", "text": "no"})
    standin.scripts["check"] = [Answer("Shall I?", choices=choices), Settle()]
    chat.say("check")
    chat.page.get_by_role("button", name="Yes, run it").click()
    expect(chat.said_by_user.last).to_contain_text("yes")
    assert chat.wait_answer() == "You said: yes"
    pressed = chat.page.get_by_role("button", name="Yes, run it")
    expect(pressed).to_have_attribute("aria-pressed", "true")
    expect(pressed).to_be_disabled()


def test_pictures_of_an_answer_are_shown_and_other_files_offered(chat: Chat, standin: Standin) -> None:
    sha = "a" * 64
    standin.files[sha] = (PIXEL, "image/png")
    picture = {"id": sha, "name": "sales.png", "media_type": "image/png", "size": len(PIXEL), "url": f"/v1/files/{sha}"}
    drawing = {**picture, "name": "plan.svg", "media_type": "image/svg+xml", "size": 48_000}
    standin.scripts["chart"] = [Answer("Here.", attachments=(picture, drawing)), Settle()]
    chat.say("chart")
    chat.wait_answer()
    image = chat.page.get_by_role("img", name="sales.png")
    expect(image).to_be_visible()
    assert image.evaluate("node => node.decode().then(() => node.naturalWidth)") == 1
    expect(chat.page.get_by_role("link", name="plan.svg 47 KB")).to_be_visible()


def test_markdown_is_drawn(chat: Chat, standin: Standin) -> None:
    standin.scripts["md"] = [
        Answer("**bold** and `code`\n\n| a | b |\n|--|--:|\n| 1 | 2 |\n\n- [x] done\n\n> quote"),
        Settle(),
    ]
    chat.say("md")
    chat.wait_answer()
    prose = chat.answers.locator(".prose")
    assert prose.locator("strong, code, table, blockquote, li input:checked").count() == 5
    assert prose.locator("td").last.evaluate("node => getComputedStyle(node).textAlign") == "right"


def test_markdown_cannot_run_anything_or_load_from_outside(chat: Chat, standin: Standin) -> None:
    asked: list[str] = []
    chat.page.on("request", lambda request: asked.append(request.url))
    standin.scripts["evil"] = [Answer(HOSTILE), Settle()]
    chat.say("evil")
    chat.wait_answer()
    chat.page.wait_for_load_state("networkidle")
    prose = chat.answers.locator(".prose")
    assert chat.page.evaluate("window.hacked === undefined")
    assert (
        prose.locator(
            "script, iframe, form, button, svg, style, img, input, [style], [onclick], [onerror], .send"
        ).count()
        == 0
    )
    links = prose.locator("a").evaluate_all("all => all.map(a => a.getAttribute('href'))")
    assert [address for address in links if address and not address.startswith("http")] == []
    assert [url for url in asked if not url.startswith(standin.url)] == []


def test_links_open_elsewhere_without_telling_where_from(chat: Chat, standin: Standin) -> None:
    standin.scripts["link"] = [Answer("[docs](https://example.com/)"), Settle()]
    chat.say("link")
    chat.wait_answer()
    link = chat.answers.get_by_role("link", name="docs")
    assert (link.get_attribute("target"), link.get_attribute("rel")) == ("_blank", "noopener noreferrer")


def test_code_is_copied_by_its_button(new_page: Callable[..., Page], standin: Standin) -> None:
    chat = Chat(new_page(permissions=["clipboard-read", "clipboard-write"])).open(standin.url)
    standin.scripts["code"] = [Answer("```sql\nselect 1;\nselect 2;\n```"), Settle()]
    chat.say("code")
    chat.wait_answer()
    chat.page.get_by_role("button", name="Copy").click()
    expect(chat.page.locator(".copy")).to_have_text("Copied")
    assert chat.page.evaluate("navigator.clipboard.readText()").strip() == "select 1;\nselect 2;"


def test_what_the_user_writes_is_shown_as_text(chat: Chat) -> None:
    chat.say("<b>bold</b> **stars** <img src=x onerror=alert(1)>")
    expect(chat.said_by_user.locator(".plain")).to_have_text("<b>bold</b> **stars** <img src=x onerror=alert(1)>")


def test_a_post_of_a_timer_appears(chat: Chat, standin: Standin) -> None:
    chat.say("hello")
    chat.wait_answer()
    standin.post(standin.said("hello")[0].conversation, "Good morning: 3 orders.")
    expect(chat.answers.last).to_contain_text("Good morning: 3 orders.")


def test_an_answer_is_announced_once_to_screen_readers(chat: Chat) -> None:
    chat.say("hello")
    chat.wait_answer()
    expect(chat.page.locator("#announcer")).to_have_text("You said: hello")


@pytest.mark.parametrize("text", ["你好，世界", "👩‍👩‍👧 🇫🇷", "مرحبا", "a" * 5000, "line\n" * 50])
def test_texts_of_every_kind_come_back_as_they_were(chat: Chat, standin: Standin, text: str) -> None:
    chat.say(text)
    chat.wait_answer()
    assert standin.received[-1]["text"] == text
