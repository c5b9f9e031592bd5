"""The digest: counted from the real database, posted by the clock or answered where it was asked for."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import dagster as dg
import pytest
from dagster._core.test_utils import create_run_for_test

from integrations.database import Database
from integrations.messages import Address, InboundMessage, MessageStatus, OutboundMessage
from integrations.settings import Settings
from orchestration.jobs.digest import digest
from orchestration.ops.digest import span_of
from orchestration.triggers.morning import morning_digest

DAILY = Address(channel="web", conversation="daily")
HERE = Address(channel="web", conversation="here")


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def run_digest(database: Database, instance: dg.DagsterInstance, *, day: str = "today", **tags: str) -> str:
    result = digest.execute_in_process(
        run_config={"ops": {"count_day": {"config": {"day": day}}}},
        resources={"database": database, "settings": Settings()},
        instance=instance,
        tags={f"runbell/{key}": value for key, value in tags.items()},
    )
    return result.output_for_node("post_digest")


def say(database: Database, text: str, *, status: MessageStatus = MessageStatus.ANSWERED) -> str:
    event = f"e{database.transcript.recent(HERE, limit=100).__len__()}"
    (received,) = database.inbox.receive([InboundMessage(address=HERE, event_id=event, account="ada", text=text)])
    (claimed,) = database.inbox.claim("w1")
    principal = database.principals.resolve("default", "web", "ada")
    reply = OutboundMessage(address=HERE, text="ok")
    database.inbox.settle(claimed, [reply], principal_id=principal.id, status=status)
    return received.message_id


def test_a_day_is_counted(database, instance):
    say(database, "hello")
    say(database, "broken", status=MessageStatus.FAILED)
    database.usage.record(tenant="default", model="m", tokens_in=30, tokens_out=12, total_ms=5)
    create_run_for_test(instance, job_name="sales", status=dg.DagsterRunStatus.SUCCESS)
    failed = create_run_for_test(instance, job_name="health", status=dg.DagsterRunStatus.FAILURE)

    text = run_digest(database, instance)

    assert f"**Digest of {datetime.now(UTC):%Y-%m-%d}**" in text
    assert "- Messages: 2 from 1 person in 1 conversation; 1 answered" in text
    assert "1 failed." in text
    assert "- Runs: 3, 1 of them failed" in text  # the digest itself is the third
    assert "health 1" in text
    assert f"❌ health [{failed.run_id[:8]}](http://127.0.0.1:3000/runs/{failed.run_id})" in text
    assert "- Model: 1 call, 30 tokens in, 12 out." in text


def test_an_empty_day_says_so(database, instance):
    say(database, "hello, today")

    assert "- No messages." in run_digest(database, instance, day="yesterday")


def test_the_clock_posts_the_digest_once_per_run(database, instance):
    text = run_digest(database, instance, trigger="schedule")

    (entry,) = database.transcript.recent(DAILY)
    assert entry.text == text
    assert entry.run_id is not None
    assert not database.outbox.post(OutboundMessage(address=DAILY, text="again"), key=f"{entry.run_id}:post_digest:0")


def test_a_digest_that_was_asked_for_is_not_posted_elsewhere(database, instance):
    message_id = say(database, "/日报")

    text = run_digest(database, instance, message=message_id)

    assert "日报" in text
    assert database.transcript.recent(DAILY) == []


def test_a_person_sees_how_many_runs_failed_but_not_which_of_others(database, instance):
    ada = database.principals.resolve("default", "web", "ada")
    root = database.principals.resolve("default", "web", "root", roles=("admin",))
    mine = create_run_for_test(
        instance, job_name="mine", status=dg.DagsterRunStatus.FAILURE, tags={"runbell/principal": ada.id}
    )
    other = create_run_for_test(instance, job_name="theirs", status=dg.DagsterRunStatus.FAILURE)

    for_ada = run_digest(database, instance, principal=ada.id, message=say(database, "/digest"))
    for_root = run_digest(database, instance, principal=root.id, message=say(database, "/digest"))

    assert mine.run_id in for_ada
    assert other.run_id not in for_ada
    assert "2 of them failed" in for_ada
    assert "… and 1 more." in for_ada
    assert other.run_id in for_root


def test_a_day_begins_at_midnight_of_its_time_zone_also_when_the_clocks_change():
    noon = datetime(2026, 3, 30, 12, tzinfo=UTC)  # the day after Berlin turned its clocks

    since, until = span_of("yesterday", "Europe/Berlin", noon)

    assert since == datetime(2026, 3, 29, 0, tzinfo=ZoneInfo("Europe/Berlin"))
    assert until - since == timedelta(hours=23)
    assert span_of("today", "UTC", noon) == (datetime(2026, 3, 30, tzinfo=UTC), noon)


def test_an_unknown_time_zone_is_explained():
    with pytest.raises(dg.Failure, match="no time zone 'Mars'"):
        span_of("today", "Mars", datetime.now(UTC))


def test_the_schedule_ticks_every_morning_with_a_config_that_fits():
    at = datetime(2026, 11, 21, 8, tzinfo=UTC)

    with dg.build_schedule_context(scheduled_execution_time=at) as context:
        tick = morning_digest.evaluate_tick(context)

    (request,) = tick.run_requests
    assert request.tags["runbell/trigger"] == "schedule"
    assert dg.validate_run_config(digest, request.run_config)
    assert morning_digest.default_status == dg.DefaultScheduleStatus.RUNNING
    assert morning_digest.cron_schedule == "0 8 * * *"
