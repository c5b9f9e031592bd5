"""An operator in the unchanged Dagster UI: launches, watches, reads logs, cancels and re-executes warm runs."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.platform import Platform

pytestmark = pytest.mark.timeout(300)
PATIENCE_MS = 60_000


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    # Dagster's page writes errors of its own on the console: they are not ours to judge.
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    page.set_default_timeout(PATIENCE_MS)
    yield page
    page.close()


class Ui:
    """What the tests do on Dagster's pages."""

    def __init__(self, platform: Platform, page: Page) -> None:
        self.platform = platform
        self.page = page
        (platform.home / "marks").mkdir(exist_ok=True)

    def launch(self, job: str, config: str = "") -> str:
        """Launch a job of the location `bells` on its launchpad; returns the id of the run, whose page is shown."""
        self.page.goto(f"http://127.0.0.1:{self.platform.dagster}/locations/bells/jobs/{job}/playground")
        editor = self.page.locator(".CodeMirror").first
        expect(editor).to_be_visible(timeout=PATIENCE_MS)
        if config:
            editor.click()
            self.page.keyboard.press("Control+A")
            self.page.keyboard.type(config)
        button = self.page.get_by_role("button", name="Launch Run")
        expect(button).to_be_enabled(timeout=PATIENCE_MS)
        button.click()
        return self.run_id()

    def run_id(self, before: str = "") -> str:
        """Wait for the page of a run, another one than before."""
        self.page.wait_for_url(lambda url: "/runs/" in url and (not before or before not in url))
        return self.page.url.rpartition("/runs/")[2].partition("?")[0]

    def shows(self, text: str) -> None:
        expect(self.page.get_by_text(text, exact=True).first).to_be_visible(timeout=PATIENCE_MS)

    def select(self, run_id: str, op: str) -> None:
        """Open a run's page with an op selected: the address that a click on the op leads to."""
        self.page.goto(f"http://127.0.0.1:{self.platform.dagster}/runs/{run_id}?selection=name%3A%22{op}%22")

    def re_execute(self, run_id: str, way: str) -> str:
        """Choose a way from the menu beside "Re-execute all"; returns the new run's id."""
        self.page.get_by_role("button", name="Re-execute").locator("xpath=following::button[1]").click()
        self.page.get_by_role("menuitem", name=way).click()
        return self.run_id(before=run_id)

    def executed(self, run_id: str) -> set[str]:
        run = self.platform.run_ended(run_id)
        assert run["status"] == "SUCCESS"
        return {step["stepKey"] for step in run["stepStats"]}


def test_a_run_launched_in_the_ui_is_watched_live_and_its_output_is_shown(platform: Platform, page: Page) -> None:
    ui = Ui(platform, page)
    ui.launch("marks", "{ops: {first: {config: {name: watched}}}}")

    ui.shows("waiting for watched.go")
    ui.shows("Started")
    page.get_by_role("link", name="View stdout / stderr").click()
    page.get_by_role("button", name="stdout").click()
    expect(page.get_by_text("lingering").locator("visible=true").first).to_be_visible(timeout=PATIENCE_MS)
    page.get_by_role("button", name="Events").click()
    (platform.home / "marks" / "watched.go").touch()

    ui.shows("RUN_SUCCESS")
    ui.shows("Success")


def test_a_run_is_terminated_in_the_ui(platform: Platform, page: Page) -> None:
    ui = Ui(platform, page)
    run_id = ui.launch("marks", "{ops: {first: {config: {name: unwanted}}}}")
    ui.shows("waiting for unwanted.go")

    page.get_by_role("button", name="Terminate").click()
    page.get_by_role("dialog").get_by_role("button", name="Terminate").click()

    assert platform.run_ended(run_id)["status"] == "CANCELED"


def test_a_failed_run_is_re_executed_from_its_failure_and_from_a_selection(platform: Platform, page: Page) -> None:
    ui = Ui(platform, page)
    failed = ui.launch("repair")
    ui.shows("Failure")
    (platform.home / "marks" / "mended").touch()

    whole = ui.re_execute(failed, "From failure")
    ui.shows("Success")
    assert ui.executed(whole) == {"mend", "fit"}

    ui.select(whole, "fit")
    selected = ui.re_execute(whole, "Selected step")
    assert ui.executed(selected) == {"fit"}
