"""Ops of the job `digest`: count a day, put it into words by template, post it or answer with it."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

import dagster as dg
from pydantic import Field

from integrations.database import Database
from integrations.database.daily import Daily
from integrations.messages import Address, OutboundMessage, utc_now
from integrations.settings import Settings
from orchestration.commands.language import Language, language_of
from orchestration.ops.digest_wording import Day, FailedRun, as_markdown

MOST_RUNS = 2_000
MOST_FAILURES = 10


class Span(dg.Config):
    """Which day."""

    day: Literal["yesterday", "today"] = Field(
        default="yesterday", description="Which day to look at", json_schema_extra={"description_zh": "看哪一天"}
    )
    timezone: str = Field(
        default="UTC",
        description="Whose midnight, such as Europe/Berlin",
        json_schema_extra={"description_zh": "按哪个时区的零点，例如 Asia/Shanghai"},
    )


class Place(dg.Config):
    """Where the timer posts; a digest that was asked for in a conversation answers there."""

    channel: str = Field(
        default="web",
        description="Channel to which the timer posts",
        json_schema_extra={"description_zh": "定时发送到的渠道"},
    )
    conversation: str = Field(
        default="daily",
        description="Conversation to which the timer posts",
        json_schema_extra={"description_zh": "定时发送到的会话"},
    )


@dg.op
def count_day(
    context: dg.OpExecutionContext,
    config: Span,
    database: dg.ResourceParam[Database],
    settings: dg.ResourceParam[Settings],
) -> Day:
    """Count messages, runs and failures of the day; failed runs of others are counted, not named."""
    since, until = span_of(config.day, config.timezone, utc_now())
    traffic = Daily(database.engine).traffic(settings.tenant, since, until)
    span = dg.RunsFilter(created_after=since, created_before=until)
    failing = dg.RunsFilter(created_after=since, created_before=until, statuses=[dg.DagsterRunStatus.FAILURE])
    failed = context.instance.get_runs(failing, limit=MOST_RUNS)
    asker = context.run.tags.get("runbell/principal")
    shown = [run for run in failed if _may_see(run, asker, database)][:MOST_FAILURES]
    day = Day(
        date=since.astimezone(_zone(config.timezone)).date(),
        traffic=traffic,
        runs=context.instance.get_runs_count(span),
        by_job=_by_job(context.instance, span),
        failed=context.instance.get_runs_count(failing),
        failures=tuple(FailedRun(run.job_name, run.run_id, settings.run_url(run.run_id)) for run in shown),
    )
    context.add_output_metadata({"messages": traffic.messages, "runs": day.runs, "failed_runs": day.failed})
    return day


@dg.op
def word_digest(context: dg.OpExecutionContext, day: Day, database: dg.ResourceParam[Database]) -> str:
    """Put the figures into sentences by template: nothing in them is made up."""
    return as_markdown(day, _language(context.run.tags.get("runbell/message"), database))


@dg.op(tags={"runbell/acts": "true"})
def post_digest(
    context: dg.OpExecutionContext,
    config: Place,
    text: str,
    database: dg.ResourceParam[Database],
    settings: dg.ResourceParam[Settings],
) -> str:
    """Post the digest, once per run; where a message asked for it, the worker answers that message with it."""
    if "runbell/message" in context.run.tags:
        context.add_output_metadata({"answers": context.run.tags["runbell/message"]})
        return text
    address = Address(channel=config.channel, conversation=config.conversation, tenant=settings.tenant)
    message = OutboundMessage(address=address, text=text, kind="post", run_id=context.run_id)
    posted = database.outbox.post(message, key=f"{context.run_id}:post_digest:0")
    context.add_output_metadata({"conversation": f"{config.channel}/{config.conversation}", "posted": posted})
    return text


def span_of(day: str, timezone: str, now: datetime) -> tuple[datetime, datetime]:
    """Return from when to when the day lasts, in UTC. Fails the run for an unknown time zone."""
    zone = _zone(timezone)
    local = now.astimezone(zone)
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
    if day == "today":
        return midnight.astimezone(UTC), now
    before = (midnight - timedelta(hours=12)).replace(hour=0)
    return before.astimezone(UTC), midnight.astimezone(UTC)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        description = f"There is no time zone {name!r}; write one such as Europe/Berlin."
        raise dg.Failure(description, allow_retries=False) from error


def _by_job(instance: dg.DagsterInstance, span: dg.RunsFilter) -> tuple[tuple[str, int], ...]:
    """Return the jobs that ran most, among the latest runs of the span."""
    return tuple(Counter(run.job_name for run in instance.get_runs(span, limit=MOST_RUNS)).most_common(8))


def _may_see(run: dg.DagsterRun, asker: str | None, database: Database) -> bool:
    """A timer's digest is for the operator who set it up; a person sees their own runs, an administrator all."""
    if asker is None or run.tags.get("runbell/principal") == asker:
        return True
    principal = database.principals.get(asker)
    return principal is not None and "admin" in principal.roles


def _language(message_id: str | None, database: Database) -> Language:
    view = database.inbox.get(message_id) if message_id else None
    return language_of(view.text) if view else "en"
