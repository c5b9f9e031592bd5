"""A command's run on the page: ops that tick, a button that cancels it, then what can be done next."""

import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest
from playwright.sync_api import Page, expect

from orchestration.testing import House, Server
from tests.browser.chat import Chat
from tests.gateways import Gateway, running_gateway

GO_ON = threading.Event()


@dg.op
def load() -> int:
    return 7


@dg.op
def charge(order: int) -> str:
    while not GO_ON.wait(0.02):
        pass
    return f"Refunded order {order}"


@dg.job
def refund() -> None:
    """Give money back."""
    charge(load())


@pytest.fixture
def gateway(runbell_server: Server, tmp_path: Path) -> Iterator[Gateway]:
    GO_ON.clear()
    with House(runbell_server, dg.Definitions(jobs=[refund])) as house:
        with running_gateway(house.database.url, tmp_path / "home") as gateway:
            yield gateway
        GO_ON.set()


def test_a_run_ticks_is_canceled_and_is_run_again_once(new_page: Callable[..., Page], gateway: Gateway) -> None:
    chat = Chat(new_page()).open(gateway.client.post("/v1/session-links").json()["url"])

    chat.say("/refund")
    turn = chat.turns.first
    chat.wait_op("load", "succeeded", turn)
    chat.wait_op("charge", "started", turn)
    expect(turn.locator('.op[data-op="charge"] .ms')).to_have_text(re.compile(r"^\d\.\d s$"), timeout=10_000)
    turn.locator(".stop").click()
    assert "was canceled" in chat.wait_answer(turn)
    first = chat.run_link(turn)
    expect(turn.locator(".choice")).to_have_text(["Retry from failure", "Run again"])

    GO_ON.set()
    turn.locator(".choice", has_text="Run again").click()
    expect(chat.answers).to_have_count(2, timeout=10_000)
    again = chat.turns.last
    assert chat.wait_answer(again) == "Refunded order 7"
    assert chat.run_link(again) != first
    expect(again.locator(".choice")).to_have_text(["Run again"])

    expect(turn.locator(".choice", has_text="Run again")).to_be_disabled()
    twice = chat.say(f"/again {first.rsplit('/', 1)[-1]}")
    assert "done already" in chat.wait_answer(twice)
