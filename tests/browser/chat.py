"""The chat page as a person uses it: a page object for tests of any level."""

from dataclasses import dataclass

from playwright.sync_api import Locator, Page, expect

WATCH = """() => {
  window.shown = [];
  new MutationObserver(() => {
    const text = document.querySelector(".by-bell.streaming")?.textContent;
    if (text && text !== window.shown.at(-1)) window.shown.push(text);
    document.body.toggleAttribute("data-grown", window.shown.length > 1);
  }).observe(document.body, { subtree: true, childList: true, characterData: true });
}"""


@dataclass(frozen=True)
class SeenOp:
    """One op of the strip."""

    name: str
    state: str
    time: str


class Chat:
    """The page in one browser tab. Locators wait by themselves; `timeout_ms` is the patience with answers."""

    def __init__(self, page: Page, *, timeout_ms: float = 10_000) -> None:
        self.page = page
        self.timeout_ms = timeout_ms
        self.box = page.locator("#box")
        self.send_button = page.locator("#send")
        self.turns = page.locator("#timeline > .turn")
        self.answers = page.locator(".by-bell:not(.streaming)")
        self.streaming = page.locator(".by-bell.streaming")
        self.said_by_user = page.locator(".by-user")
        self.suggestions = page.locator("#suggestions [role=option]")
        self.banner = page.locator("#banner")
        self.notices = page.locator("#notices .notice")
        self.conversations = page.locator("#conversations a")

    def open(self, url: str) -> "Chat":
        """Open the page (a one-time link, or its plain address) and wait until it is connected."""
        self.page.goto(url)
        self.wait_state("ready")
        return self

    def wait_state(self, state: str) -> None:
        """Wait for a state of the connection: connecting, ready, waiting, offline, locked."""
        expect(self.page.locator("#pill")).to_have_attribute("data-state", state, timeout=self.timeout_ms)

    def say(self, text: str) -> Locator:
        """Type a text, press Enter, and return its turn."""
        before = self.said_by_user.count()
        self.box.fill(text)
        self.box.press("Escape")
        self.box.press("Enter")
        expect(self.said_by_user).to_have_count(before + 1, timeout=self.timeout_ms)
        return self.turns.filter(has=self.said_by_user).last

    def fill_form(self, **values: str) -> Locator:
        """Fill in the open form, a field each, send it, and return the turn that it begins."""
        form = self.page.locator('.asking[data-state="open"]').last
        for name, value in values.items():
            form.locator(f'[data-field="{name}"] input').fill(value, timeout=self.timeout_ms)
        before = self.said_by_user.count()
        form.locator("[type=submit]").click()
        expect(self.said_by_user).to_have_count(before + 1, timeout=self.timeout_ms)
        return self.turns.filter(has=self.said_by_user).last

    def paste(self, text: str) -> None:
        """Paste a text into the box; the context needs the permissions of the clipboard."""
        self.page.evaluate("text => navigator.clipboard.writeText(text)", text)
        self.box.press("ControlOrMeta+v")

    def wait_token(self) -> None:
        """Wait until tokens of an answer appear."""
        self.streaming.first.wait_for(timeout=self.timeout_ms)

    def wait_tokens(self, text: str) -> None:
        """Wait until exactly this much of an answer is shown; each token may be drawn in a frame of its own."""
        expect(self.streaming.first).to_have_text(text, timeout=self.timeout_ms)

    def watch_growth(self) -> None:
        """Keep from now on every text that an answer shows while it streams, however short it is to be seen."""
        self.page.evaluate(WATCH)

    def wait_growth(self) -> list[str]:
        """Wait until an answer has been seen growing, and return the texts that it showed."""
        self.page.locator("body[data-grown]").wait_for(state="attached", timeout=self.timeout_ms)
        return self.page.evaluate("window.shown")

    def wait_answer(self, turn: Locator | None = None) -> str:
        """Wait for the whole answer of a turn (the last one by default), and return its text."""
        answer = (turn or self.turns.last).locator(".by-bell:not(.streaming) .prose").last
        answer.wait_for(timeout=self.timeout_ms)
        return answer.inner_text()

    def ops(self, turn: Locator | None = None) -> list[SeenOp]:
        """Return the ops of a turn as they are shown now."""
        items = (turn or self.turns.last).locator(".op")
        script = "nodes => nodes.map(n => [n.dataset.op, n.dataset.state, n.querySelector('.ms').textContent])"
        return [SeenOp(*fact) for fact in items.evaluate_all(script)]

    def wait_op(self, name: str, state: str, turn: Locator | None = None) -> None:
        """Wait until an op of a turn is in a state."""
        op = (turn or self.turns.last).locator(f'.op[data-op="{name}"]')
        expect(op).to_have_attribute("data-state", state, timeout=self.timeout_ms)

    def run_link(self, turn: Locator | None = None) -> str:
        """Return the address of a turn's run in the Dagster UI."""
        link = (turn or self.turns.last).locator(".run-link")
        link.wait_for(timeout=self.timeout_ms)
        return link.get_attribute("href") or ""

    def new_conversation(self) -> None:
        """Begin another conversation."""
        self.page.locator("#new").click()
        self.wait_state("ready")
