"""A schedule made in chat: it fires at the minute, the UI shows and switches it, and a lost right ends it."""

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from playwright.sync_api import Browser, expect

from integrations.database import Database, Schedule
from integrations.messages import Address
from tests.e2e.platform import Platform, eventually

pytestmark = pytest.mark.timeout(480)
TIMERS = Address(channel="webhook", conversation="alerts/timers")
SCHEDULE = """query ($name: String!) { scheduleOrError(scheduleSelector: {
  repositoryLocationName: "core", repositoryName: "__repository__", scheduleName: $name}) {
  __typename ... on Schedule { scheduleState { status ticks(limit: 20) { status timestamp runIds skipReason } } } } }"""
RUNS = """query ($name: String!) { runsOrError(filter: {tags: [{key: "dagster/schedule_name", value: $name}]}) {
  ... on Runs { results { id status jobName creationTime tags { key value } } } } }"""


@pytest.fixture
def database(platform: Platform) -> Iterator[Database]:
    endpoints = json.loads((platform.home / "run" / "endpoints.json").read_text())
    opened = Database(endpoints["database_url"], files=platform.home / "files", pool_size=2)
    yield opened
    for schedule in opened.schedules.all():
        opened.schedules.remove(schedule.id)
    with opened.engine.begin() as connection:
        connection.execute(sa.text("update runbell.principals set disabled_at = null"))
    opened.close()


def tell(platform: Platform, text: str) -> str:
    body: dict[str, object] = {"text": text, "conversation": "timers"}
    accepted = platform.post_webhook(body, event_id=f"timers-{uuid.uuid4()}")
    settled = platform.settled(accepted.json()["message_id"])
    return "\n".join(reply["text"] for reply in settled["replies"])


def state_of(platform: Platform, schedule: Schedule) -> dict[str, Any]:
    found = platform.graphql(SCHEDULE, name=schedule.name)["scheduleOrError"]
    return found["scheduleState"] if found["__typename"] == "Schedule" else {"status": "UNKNOWN", "ticks": []}


def ticks(platform: Platform, schedule: Schedule, status: str) -> list[dict[str, Any]]:
    return [tick for tick in state_of(platform, schedule)["ticks"] if tick["status"] == status]


def test_a_schedule_made_in_chat_fires_is_seen_in_the_ui_and_stops_when_its_owner_loses_the_right(
    platform: Platform, database: Database, browser: Browser
) -> None:
    arrived = platform.home / "marks" / "arrived"
    arrived.mkdir(parents=True, exist_ok=True)
    (arrived / "letter.txt").write_text("dear bell")
    told = tell(platform, '/schedule add "every minute" clock')
    (schedule,) = database.schedules.all()
    assert schedule.id in told

    # It is in the UI within seconds, and fires at the minute: a tick with its run, and the command's own run.
    eventually(lambda: state_of(platform, schedule)["status"] == "RUNNING", within_s=60, what="the schedule in Dagster")
    first = eventually(lambda: ticks(platform, schedule, "SUCCESS"), within_s=150, what="a tick")[-1]
    assert platform.run_ended(first["runIds"][0])["status"] == "SUCCESS"
    runs = eventually(lambda: _own_runs(platform, schedule), within_s=60, what="the command's own run")
    assert [run["jobName"] for run in runs] == ["clock"]
    assert first["timestamp"] % 60 == 0
    assert runs[0]["creationTime"] - first["timestamp"] < 60
    fired = database.schedules.get(schedule.id)
    assert fired is not None
    assert fired.last_message is not None
    assert platform.settled(fired.last_message)["status"] == "answered"

    # An operator switches it off in the browser: it is paused in the chat; the chat switches it on again.
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    page.goto(f"http://127.0.0.1:{platform.dagster}/locations/core/schedules/{schedule.name}")
    expect(page.get_by_text("ring").first).to_be_visible(timeout=60_000)
    page.locator("input[type=checkbox]").first.dispatch_event("click", timeout=60_000)
    eventually(lambda: state_of(platform, schedule)["status"] == "STOPPED", within_s=30, what="the switch")
    page.close()
    assert f"⏸ [{schedule.id}]" in tell(platform, "/schedule list")
    tell(platform, f"/schedule resume {schedule.id}")
    assert state_of(platform, schedule)["status"] == "RUNNING"

    # Its owner is disabled: the next tick fires nothing, switches it off and says so where it was made.
    database.principals.disable(schedule.what.principal_id)
    reasons = eventually(lambda: _lost(platform, schedule), within_s=150, what="the tick that finds the right gone")
    assert len(reasons) == 1
    assert state_of(platform, schedule)["status"] == "STOPPED"
    said = [entry.text for entry in database.transcript.recent(TIMERS)]
    assert len([text for text in said if f"The schedule `{schedule.id}`" in text and "is paused" in text]) == 1

    # Meanwhile the file that had arrived has led to one run of the job that waits for such.
    seen = platform.home / "marks" / "letter.txt.seen"
    eventually(seen.exists, within_s=60, what="the file's run")
    assert seen.read_text() == "first\n"


def _own_runs(platform: Platform, schedule: Schedule) -> list[dict[str, Any]]:
    found = platform.graphql(RUNS, name=schedule.name)["runsOrError"]["results"]
    return [run for run in found if {"key": "runbell/command", "value": "clock"} in run["tags"]]


def _lost(platform: Platform, schedule: Schedule) -> list[str]:
    skipped = ticks(platform, schedule, "SKIPPED")
    return [tick["skipReason"] for tick in skipped if "may not use Runbell" in tick["skipReason"]]
