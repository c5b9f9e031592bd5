"""A person in a real browser: types, sees tokens and ops appear, follows the link into the Dagster UI."""

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.chat import Chat
from tests.e2e.platform import Platform

pytestmark = pytest.mark.timeout(600)


def link(platform: Platform) -> str:
    with platform.rest() as client:
        response = client.post("/v1/session-links")
    assert response.status_code in {200, 201}, response.text
    return str(response.json()["url"])


def test_a_question_is_answered_and_leads_to_its_run(
    platform: Platform, new_page: Callable[..., Page], shots: Path
) -> None:
    page = new_page(viewport={"width": 1180, "height": 1460})
    chat = Chat(page, timeout_ms=120_000).open(link(platform))
    turn = chat.say("What is the capital of France?")
    assert "Paris" in chat.wait_answer(turn)
    chat.wait_op("remember", "succeeded", turn)
    assert [op.name for op in chat.ops(turn)][:3] == ["receive", "recall", "think"]
    run = chat.run_link(turn)

    sales = chat.say("/sales")
    expect(sales.locator("img").first).to_be_visible(timeout=120_000)
    expect(sales.locator("img").first).to_have_js_property("complete", True, timeout=120_000)
    page.screenshot(path=shots / "chat.png")

    page.set_viewport_size({"width": 1180, "height": 900})
    page.goto(run)
    page.get_by_role("button", name="gantt_flat").click(timeout=60_000)
    for op in ("receive", "recall", "think", "reply", "remember"):
        expect(page.get_by_text(op, exact=True).first).to_be_visible(timeout=60_000)
    expect(page.get_by_text("Success", exact=True).first).to_be_visible(timeout=60_000)
    expect(page.get_by_text("RUN_SUCCESS").first).to_be_visible(timeout=60_000)
    page.screenshot(path=shots / "run.png")


def test_an_answer_streams_and_a_reload_in_its_middle_shows_it_once(
    platform: Platform, new_page: Callable[..., Page]
) -> None:
    chat = Chat(new_page(), timeout_ms=120_000).open(link(platform))
    chat.watch_growth()
    chat.say("Write a long poem about the sea.")
    shown = chat.wait_growth()
    assert len(shown[-1]) > len(shown[0])

    chat.page.reload()
    chat.wait_state("ready")

    chat.wait_answer()
    expect(chat.answers).to_have_count(1, timeout=30_000)
    expect(chat.streaming).to_have_count(0)
