"""How the page looks and fits: widths, schemes, contrast, labels, languages, long texts, nothing from outside."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.chat import Chat
from tests.browser.script import Answer, Settle, assistant
from tests.browser.standin import Standin

PHONE = {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True}
RICH = f"""# Title

Some **bold** `code` [link](https://example.com)

| region | orders | revenue | margin | share |
|--|--|--|--|--|
| North | 1,204 | 88,310 € | 12 % | 40 % |

```python
print("a rather long line of code that is wider than a phone by far, really")
```

> quote

https://example.com/{"long" * 60}"""
CONTRAST = """() => {
    const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const rgba = (color) => {
        canvas.clearRect(0, 0, 1, 1);
        canvas.fillStyle = color;
        canvas.fillRect(0, 0, 1, 1);
        return [...canvas.getImageData(0, 0, 1, 1).data];
    };
    const behind = (node) => {
        for (let each = node; each; each = each.parentElement) {
            const color = rgba(getComputedStyle(each).backgroundColor);
            if (color[3] > 250) return color;
        }
        return [255, 255, 255, 255];
    };
    const light = (color) => {
        const part = (value) => (value /= 255) <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
        return 0.2126 * part(color[0]) + 0.7152 * part(color[1]) + 0.0722 * part(color[2]);
    };
    const poor = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let text = walker.nextNode(); text; text = walker.nextNode()) {
        const node = text.parentElement;
        const seen = node.checkVisibility({ visibilityProperty: true, opacityProperty: true });
        if (!text.data.trim() || !seen || node.closest(".sr, .skip, :disabled, noscript, option")) continue;
        const [one, two] = [light(rgba(getComputedStyle(node).color)), light(behind(node))].sort((a, b) => b - a);
        const ratio = (one + 0.05) / (two + 0.05);
        const name = node.className || node.tagName;
        if (ratio < 4.5) poor.push(`${text.data.trim().slice(0, 30)} (${name}): ${ratio.toFixed(2)}`);
    }
    return poor;
}"""
NAMELESS = """() => [...document.querySelectorAll("button, a[href], input, select, textarea, img, [role=listbox]")]
    .filter((node) => node.checkVisibility())
    .filter((node) => !(node.getAttribute("aria-label") || node.textContent.trim() || node.labels?.length || node.alt))
    .map((node) => node.outerHTML.slice(0, 80))"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_has_enough_contrast(
    new_page: Callable[..., Page], standin: Standin, shots: Path, scheme: str
) -> None:
    chat = Chat(new_page(color_scheme=scheme)).open(standin.url)
    standin.scripts["rich"] = assistant(Answer(RICH, choices=({"label": "Yes", "text": "yes"},)))
    standin.scripts["fail"] = [Answer("It failed."), Settle("failed")]
    standin.problems["refused"] = "Too many messages wait."
    for text in ("rich", "fail"):
        chat.say(text)
        chat.wait_answer()
    chat.say("refused")
    standin.away = True
    standin.drop()
    chat.say("unsent")
    expect(chat.banner).to_be_visible()
    assert chat.page.evaluate(CONTRAST) == []
    assert chat.page.evaluate(NAMELESS) == []
    chat.page.screenshot(path=shots / f"web-{scheme}.png")


@pytest.mark.parametrize("locale", ["en-GB", "zh-CN"])
def test_a_phone_needs_no_sideways_scrolling(
    new_page: Callable[..., Page], standin: Standin, shots: Path, locale: str
) -> None:
    chat = Chat(new_page(locale=locale, **PHONE)).open(standin.url)
    standin.scripts["rich"] = assistant(Answer(RICH))
    chat.say("rich")
    chat.wait_answer()
    chat.wait_op("remember", "succeeded")
    assert chat.page.evaluate(
        "[document.documentElement.scrollWidth, document.getElementById('scroller').scrollWidth]"
    ) == [360, 360]
    chat.page.screenshot(path=shots / f"web-phone-{locale}.png")


def test_the_drawer_of_a_phone_opens_holds_the_focus_and_closes(
    new_page: Callable[..., Page], standin: Standin
) -> None:
    chat = Chat(new_page(**PHONE)).open(standin.url)
    opener, sidebar = chat.page.locator("#opener"), chat.page.locator("#sidebar")
    expect(sidebar).not_to_be_in_viewport()
    opener.click()
    expect(sidebar).to_be_in_viewport()
    expect(chat.page.locator("#new")).to_be_focused()
    chat.page.keyboard.press("Escape")
    expect(sidebar).not_to_be_in_viewport()
    expect(opener).to_be_focused()
    expect(opener).to_have_attribute("aria-expanded", "false")


def test_targets_on_a_phone_are_large_enough(new_page: Callable[..., Page], standin: Standin) -> None:
    chat = Chat(new_page(**PHONE)).open(standin.url)
    for name in ("#opener", "#send"):
        box = chat.page.locator(name).bounding_box()
        assert box
        assert min(box["width"], box["height"]) >= 40


def test_the_browser_s_language_is_spoken_and_can_be_switched(new_page: Callable[..., Page], standin: Standin) -> None:
    chat = Chat(new_page(locale="zh-CN")).open(standin.url)
    expect(chat.page.locator("#pill")).to_have_text("已连接")
    expect(chat.page.locator("html")).to_have_attribute("lang", "zh-CN")
    chat.say("你好")
    chat.wait_answer()
    expect(chat.page.locator(".run-link")).to_have_text("打开运行")
    chat.page.locator("#language").select_option("en")
    expect(chat.page.locator("#pill")).to_have_text("Connected")
    expect(chat.page.locator(".run-link")).to_have_text("Open the run")
    chat.page.reload()
    expect(chat.box).to_have_attribute("placeholder", "Message, or / for commands")


def test_both_languages_have_every_word(chat: Chat) -> None:
    keys = chat.page.evaluate("import('/app/words.js').then((words) => words.keys())")
    assert keys["en"] == keys["zh"]


def test_the_theme_follows_the_system_until_one_is_chosen(new_page: Callable[..., Page], standin: Standin) -> None:
    chat = Chat(new_page(color_scheme="dark")).open(standin.url)
    page = chat.page
    background = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(background)
    page.emulate_media(color_scheme="light")
    light = page.evaluate(background)
    assert light != dark
    page.locator("#theme").select_option("dark")
    assert page.evaluate(background) == dark
    page.reload()
    chat.wait_state("ready")
    assert page.evaluate(background) == dark
    page.locator("#theme").select_option("auto")
    assert page.evaluate(background) == light


def test_ten_thousand_pasted_lines_are_counted_sent_and_folded(new_page: Callable[..., Page], standin: Standin) -> None:
    chat = Chat(new_page(permissions=["clipboard-read", "clipboard-write"])).open(standin.url)
    text = "\n".join(f"line {i}" for i in range(10_000))
    standin.scripts[text] = [Answer("Read."), Settle()]
    began_at = time.monotonic()
    chat.paste(text)
    expect(chat.page.locator("#count")).to_have_text("98,889 of 100,000 characters")
    chat.box.press("Enter")
    assert chat.wait_answer() == "Read."
    assert time.monotonic() - began_at < 10
    assert standin.said(text)
    bubble = chat.said_by_user.locator(".plain")
    assert bubble.inner_text().count("\n") < 12
    chat.page.get_by_role("button", name="Show all (10,000 lines)").click()
    expect(bubble).to_contain_text("line 9999")


def test_a_long_text_of_one_line_is_folded_by_its_characters(chat: Chat, standin: Standin) -> None:
    text = "铃" * 2_000
    standin.scripts[text] = [Answer("Read."), Settle()]
    chat.paste(text)
    chat.box.press("Enter")

    assert chat.wait_answer() == "Read."
    chat.page.get_by_role("button", name="Show all (2,000 characters)").click()
    expect(chat.said_by_user.locator(".plain")).to_have_text(text)


def test_a_text_that_is_too_long_is_told_before_it_is_sent(chat: Chat, standin: Standin) -> None:
    chat.box.fill("😀" * 100_000)
    expect(chat.page.locator("#count")).to_have_text("100,000 of 100,000 characters")
    expect(chat.send_button).to_be_enabled()
    chat.box.fill("😀" * 100_001)
    expect(chat.page.locator("#count")).to_contain_text("1 characters too many")
    expect(chat.send_button).to_be_disabled()
    chat.box.press("Enter")
    expect(chat.said_by_user).to_have_count(0)
    assert standin.received == []


def test_scrolling_up_is_not_disturbed_by_an_answer(chat: Chat, standin: Standin) -> None:
    standin.scripts["long"] = [Answer("\n\n".join(f"paragraph {i}" for i in range(60))), Settle()]
    chat.say("long")
    chat.wait_answer()
    scroller = chat.page.locator("#scroller")
    scroller.evaluate("node => node.scrollTo(0, 0)")
    expect(scroller).to_have_js_property("scrollTop", 0)
    standin.post(standin.said("long")[0].conversation, "news")
    latest = chat.page.locator("#latest")
    expect(latest).to_be_visible()
    assert scroller.evaluate("node => node.scrollTop") == 0
    latest.click()
    expect(chat.answers.last).to_be_in_viewport()


def test_the_end_stays_in_sight_when_a_banner_appears(chat: Chat, standin: Standin) -> None:
    standin.scripts["long"] = [Answer("\n\n".join(f"paragraph {i}" for i in range(60))), Settle()]
    chat.say("long")
    chat.wait_answer()
    standin.away = True
    standin.drop()
    expect(chat.banner).to_be_visible()
    expect(chat.page.locator(".by-bell .meta")).to_be_in_viewport()


def test_the_first_load_is_small_and_all_from_here(new_page: Callable[..., Page], standin: Standin) -> None:
    page = new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    session = page.context.new_cdp_session(page)
    sizes: list[float] = []
    session.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
    session.send("Network.enable")
    Chat(page).open(standin.url)
    page.wait_for_load_state("networkidle")
    assert [url for url in asked if not url.startswith(standin.url)] == []
    assert len(asked) <= 30
    assert sum(sizes) < 270_000


def test_storage_that_is_full_is_told(chat: Chat) -> None:
    chat.page.evaluate("""() => {
        for (const size of [1e6, 1e5, 1e4, 1e3, 100, 10]) {
            const filler = "x".repeat(size);
            try { for (let i = 0; ; i++) localStorage.setItem(`filler ${size} ${i}`, filler); } catch { /* full */ }
        }
    }""")
    chat.say("no room for this in the store " * 50)
    expect(chat.notices).to_contain_text("storage is full")
    chat.wait_answer()
