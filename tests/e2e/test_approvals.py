"""Asked for on the page and on Slack, decided on Slack and on Telegram, with gateway and workers killed in between."""

import json
import os
import signal
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from playwright.sync_api import Page, expect

from integrations.approvals.values import Approval
from integrations.database import Database
from tests.approvals import let_pass
from tests.browser.chat import Chat
from tests.e2e.platform import Platform, eventually
from tests.e2e.test_browser import link
from tests.e2e.test_faults import all_well, pid_of, workers
from tests.e2e.town import Json, Town

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def database(platform: Platform) -> Iterator[Database]:
    endpoints = json.loads((platform.home / "run" / "endpoints.json").read_text())
    opened = Database(endpoints["database_url"], files=platform.home / "files", pool_size=2)
    yield opened
    opened.close()


def paid(platform: Platform) -> list[str]:
    file = platform.home / "marks" / "paid"
    return file.read_text().split() if file.exists() else []


def approval_of(database: Database, card: Json) -> Approval:
    """Return the approval that a card shows."""
    boss = database.principals.resolve("default", "web", "owner")
    shown = json.dumps(card)
    return next(one for one in database.approvals.concerning(boss, state=None) if f"Approval {one.id}" in shown)


def kill(platform: Platform) -> None:
    """Send SIGKILL to the gateway and to every worker, and wait until others are there."""
    gateway = pid_of(platform, "gateway")
    doomed = [*workers(platform, "bells"), *workers(platform, "core")]
    for worker in doomed:
        worker.kill()
    os.kill(gateway, signal.SIGKILL)
    eventually(all_well(platform), within_s=120, what="the platform to be ready again")


@contextmanager
def twice(town: Town) -> Generator[None]:
    """Let both networks deliver everything twice."""
    town.slack.switches.duplicate = town.telegram.switches.duplicate = 1
    yield
    town.slack.switches.duplicate = town.telegram.switches.duplicate = 0


def test_what_others_approve_elsewhere_after_everything_was_killed_happens_once(
    platform: Platform, town: Town, database: Database, new_page: Callable[..., Page]
) -> None:
    chat = Chat(new_page(), timeout_ms=90_000).open(link(platform))
    chat.say("/settle")
    turn = chat.fill_form(order="7")
    chat.wait_op("look_up", "succeeded", turn)
    settle = town.on_slack("Settle this order?", '"order', ": 7", channel="C1")
    town.says("/pay", user="U1", channel="D1")
    town.fills(town.on_slack("/pay", "Run", channel="D1"), user="U1", order="8")
    town.on_slack("waits for approval", "telegram:8", channel="D1")
    pay = town.on_telegram("/pay order=8", chat=2)
    run_id = approval_of(database, settle).run_id
    assert run_id is not None
    eventually(lambda: database.runs.get(run_id).state == "parked", within_s=60, what="the run to be parked")
    assert paid(platform) == []

    kill(platform)
    with twice(town):
        town.presses(settle, "Approve", user="UBOSS")
        town.do(town.telegram.press(pay["message_id"], "Approve", user=8))
        expect(turn).to_contain_text("Order 7 is paid.", timeout=90_000)
        town.on_slack("Order 8 is paid.", channel="D1")

    # Every view of it is final, and what was pressed twice was answered once.
    chat.wait_op("pay_up", "succeeded", turn)
    assert platform.run_ended(run_id)["status"] == "SUCCESS"
    final = town.on_slack("Settle this order?", "approved", "UBOSS", channel="C1")
    assert "actions" not in [block["type"] for block in final["blocks"]]
    town.on_telegram("/pay order=8", "· approved", chat=2)
    town.presses(settle, "Approve", user="UBOSS")
    town.on_slack("is over: approved")
    told = town.look(lambda: json.dumps(town.slack.posted()))
    assert told.count(f"`{approval_of(database, settle).id}` is approved") == 1
    assert town.look(lambda: "\n".join(town.telegram.texts(2))).count("is approved") == 1
    assert sorted(paid(platform)) == ["7", "8"]


def test_what_is_not_approved_does_not_happen_and_everybody_is_told(
    platform: Platform, town: Town, database: Database
) -> None:
    before = paid(platform)

    # Denied by one who may; who may not, and whoever forges, is told so.
    town.do(town.telegram.say(1, "/settle order=9"))
    denied = town.on_slack("Settle this order?", ": 9", channel="C1")
    town.presses(denied, "Approve", user="UEVE")
    town.on_slack("not among those who may decide")
    town.presses(forged(denied), "Approve", user="UBOSS")
    town.do(town.slack.until(lambda: "was not made here" in str(town.slack.called("chat.postEphemeral")), seconds=60))
    town.presses(denied, "Deny", user="UDEPUTY")
    town.on_telegram("denied approval", chat=1)
    town.on_slack("Settle this order?", ": 9", "denied", channel="C1")

    # Approved by whoever asked for it, and then expired.
    town.says("/settle order=10", user="UBOSS", channel="D2")
    expired = town.on_slack("Settle this order?", ": 10", channel="C1")
    town.presses(expired, "Approve", user="UBOSS")
    town.on_slack("asked for", "yourself")
    let_pass(database, approval_of(database, expired), timedelta(days=8))
    town.on_slack("Nobody decided", channel="D2")
    town.on_slack("Settle this order?", ": 10", "expired", channel="C1")

    # Void since other arguments are wanted now; the button of the old ones counts for nothing.
    said = town.says("/pay order=11", user="U1", channel="D1")
    voided = town.on_telegram("/pay order=11", chat=2)
    token = voided["reply_markup"]["inline_keyboard"][0][0]["callback_data"]
    town.changes(said, "/pay order=11", "/pay order=12", user="U1", channel="D1")
    wanted = town.on_telegram("/pay order=12", chat=2)
    town.on_telegram("/pay order=11", "void", chat=2)
    town.do(town.telegram.update(pressed(token, user=8)))
    town.on_telegram("is over: void", chat=2)
    town.on_slack("/pay order=12", "waits for approval", channel="D1")
    town.do(town.telegram.press(wanted["message_id"], "Deny", user=8))
    town.on_slack("/pay order=12", "denied", "Nothing was run", channel="D1")

    assert paid(platform) == before


def forged(card: Json) -> Json:
    """Return the card with buttons that say something else than ours."""
    text = json.dumps(card)
    values = [one["value"] for block in card["blocks"] for one in block.get("elements", ()) if "value" in one]
    for value in values:
        text = text.replace(value, value[:-4] + ("AAAA" if value[-4:] != "AAAA" else "BBBB"))
    return json.loads(text)


def pressed(token: str, *, user: int) -> Json:
    """Return a press that Telegram tells of, of a button that its message has no more."""
    chat, person = {"id": 2, "type": "private"}, {"id": user, "is_bot": False, "first_name": "Someone"}
    message = {"message_id": 1, "date": 1, "chat": chat, "from": {"id": 999, "is_bot": True, "first_name": "Bell"}}
    return {"callback_query": {"id": "again", "from": person, "message": message, "data": token}}
