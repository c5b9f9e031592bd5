"""The page without a mouse: sending, history, suggestions, conversations."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.chat import Chat
from tests.browser.standin import Standin

HEALTH: dict[str, object] = {
    "name": "health", "description": "Check hosts and report what answers.", "description_zh": "检查主机。",
    "schema": {
        "type": "object", "required": ["targets"],
        "properties": {
            "targets": {"type": "array", "items": {"type": "string"}, "description": "Hosts or URLs"},
            "timeout_s": {"type": "number", "default": 5},
            "format": {"enum": ["table", "list"], "default": "table"},
            "verbose": {"type": "boolean", "default": False},
        },
    },
}  # fmt: skip
DIGEST: dict[str, object] = {
    "name": "digest", "description": "Post the morning digest now.", "description_zh": "立即发布早间摘要。",
    "schema": {"type": "object", "properties": {}, "required": []},
}  # fmt: skip


@pytest.fixture
def chat(new_page: Callable[..., Page], standin: Standin) -> Chat:
    standin.commands = [HEALTH, DIGEST]
    chat = Chat(new_page(viewport={"width": 1180, "height": 780})).open(standin.url)
    expect(chat.page.locator("#starters button")).to_have_count(2)
    return chat


def to_the_beginning(page: Page) -> None:
    """Let Tab begin at the top of the page."""
    page.evaluate("document.body.tabIndex = -1; document.body.focus(); document.body.removeAttribute('tabindex')")


def test_the_box_has_the_focus_from_the_start(chat: Chat) -> None:
    expect(chat.box).to_be_focused()


def test_enter_sends_and_shift_enter_begins_a_line(chat: Chat, standin: Standin) -> None:
    keyboard = chat.page.keyboard
    keyboard.type("first line")
    keyboard.press("Shift+Enter")
    keyboard.type("second line")
    keyboard.press("Enter")
    chat.wait_answer()
    assert standin.said("first line\nsecond line")
    expect(chat.box).to_have_value("")
    expect(chat.box).to_be_focused()


def test_nothing_is_sent_when_there_is_nothing_to_say(chat: Chat, standin: Standin) -> None:
    chat.box.fill("   \n ")
    chat.box.press("Enter")
    expect(chat.send_button).to_be_disabled()
    expect(chat.said_by_user).to_have_count(0)
    assert standin.received == []


def test_enter_that_ends_a_composition_does_not_send(chat: Chat) -> None:
    session = chat.page.context.new_cdp_session(chat.page)
    session.send("Input.imeSetComposition", {"text": "nihao", "selectionStart": 5, "selectionEnd": 5})
    key = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 229}
    session.send("Input.dispatchKeyEvent", {"type": "rawKeyDown", **key})
    session.send("Input.dispatchKeyEvent", {"type": "keyUp", **key})
    session.send("Input.insertText", {"text": "你好"})
    expect(chat.box).to_have_value("你好")
    expect(chat.said_by_user).to_have_count(0)
    chat.box.press("Enter")
    expect(chat.said_by_user).to_have_count(1)


def test_arrow_up_brings_back_what_was_said_and_arrow_down_goes_forward(chat: Chat) -> None:
    for text in ("one", "two"):
        chat.say(text)
        chat.wait_answer()
    keyboard = chat.page.keyboard
    for key, shown in (
        ("ArrowUp", "two"),
        ("ArrowUp", "one"),
        ("ArrowUp", "one"),
        ("ArrowDown", "two"),
        ("ArrowDown", ""),
    ):
        keyboard.press(key)
        expect(chat.box).to_have_value(shown)


def test_arrow_up_in_a_text_moves_the_caret_only(chat: Chat) -> None:
    chat.say("one")
    chat.wait_answer()
    chat.box.fill("a draft")
    chat.page.keyboard.press("ArrowUp")
    expect(chat.box).to_have_value("a draft")


def test_a_slash_offers_commands_and_tab_completes_name_argument_and_value(chat: Chat) -> None:
    keyboard = chat.page.keyboard
    keyboard.type("/he")
    expect(chat.suggestions).to_have_count(1)
    expect(chat.suggestions).to_contain_text("targets [timeout_s] [format] [verbose]")
    keyboard.press("Tab")
    expect(chat.box).to_have_value("/health ")
    expect(chat.suggestions).to_have_count(4)
    expect(chat.suggestions.first).to_contain_text("required")
    keyboard.type("fo")
    keyboard.press("Tab")
    expect(chat.box).to_have_value("/health format=")
    keyboard.press("ArrowDown")
    keyboard.press("Enter")
    expect(chat.box).to_have_value("/health format=list ")


def test_the_chosen_suggestion_is_told_to_assistive_technology(chat: Chat) -> None:
    chat.page.keyboard.type("/")
    expect(chat.box).to_have_attribute("aria-activedescendant", "suggestion-0")
    chat.page.keyboard.press("ArrowDown")
    expect(chat.box).to_have_attribute("aria-activedescendant", "suggestion-1")
    expect(chat.suggestions.nth(1)).to_have_attribute("aria-selected", "true")


def test_escape_closes_the_suggestions_and_keeps_the_text(chat: Chat) -> None:
    chat.page.keyboard.type("/di")
    expect(chat.suggestions).to_have_count(1)
    chat.page.keyboard.press("Escape")
    expect(chat.page.locator("#suggestions")).to_be_hidden()
    expect(chat.box).to_have_value("/di")


def test_enter_on_a_whole_command_sends_it(chat: Chat, standin: Standin) -> None:
    chat.page.keyboard.type("/digest")
    expect(chat.suggestions).to_have_count(1)
    chat.page.keyboard.press("Enter")
    expect(chat.said_by_user).to_contain_text("/digest")
    chat.wait_answer()
    assert standin.said("/digest")


def test_a_full_width_slash_offers_commands_too(chat: Chat) -> None:
    chat.page.keyboard.insert_text("／dig")
    expect(chat.suggestions).to_contain_text("/digest")


def test_a_slash_in_the_middle_offers_nothing(chat: Chat) -> None:
    chat.page.keyboard.type("either/or")
    expect(chat.page.locator("#suggestions")).to_be_hidden()


def test_a_starter_puts_its_command_into_the_box(chat: Chat) -> None:
    chat.page.get_by_role("button", name="/health").click()
    expect(chat.box).to_have_value("/health ")
    expect(chat.box).to_be_focused()


def test_the_whole_page_can_be_walked_by_tab_with_a_visible_focus(chat: Chat) -> None:
    chat.say("hello")
    chat.wait_answer()
    page = chat.page
    to_the_beginning(page)
    seen: list[str] = []
    for _ in range(20):
        page.keyboard.press("Tab")
        fact = page.evaluate("""() => {
            const node = document.activeElement;
            const style = getComputedStyle(node);
            const around = getComputedStyle(node.closest(".composer") ?? node);
            const plain = getComputedStyle(document.body).borderColor;
            const shown = style.outlineStyle !== "none" || around.borderColor !== plain;
            return [node.id || node.className || node.tagName, shown];
        }""")
        if fact[0] == "BODY":
            break
        seen.append(fact[0])
        assert fact[1], f"no visible focus on {fact[0]}"
    for wanted in ("skip", "new", "drop", "theme", "language", "run-link", "box"):
        assert wanted in seen, seen


def test_the_skip_link_leads_to_the_box(chat: Chat) -> None:
    page = chat.page
    to_the_beginning(page)
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.keyboard.press("Enter")
    expect(chat.box).to_be_focused()


def test_a_slash_anywhere_goes_to_the_box(chat: Chat) -> None:
    chat.page.locator("#new").focus()
    chat.page.keyboard.press("/")
    expect(chat.box).to_be_focused()
    expect(chat.box).to_have_value("/")


def test_a_conversation_is_opened_and_removed_by_keyboard(chat: Chat) -> None:
    chat.say("about apples")
    chat.wait_answer()
    chat.page.locator("#new").press("Enter")
    expect(chat.turns).to_have_count(0)
    chat.conversations.first.press("Enter")
    expect(chat.answers).to_contain_text("apples")
    chat.page.locator(".drop").press("Enter")
    expect(chat.conversations).to_have_count(0)
    expect(chat.turns).to_have_count(0)
