"""The schedules that people have made in chat, as Dagster's: one definition per row, read when the location loads.

When one is made or removed, the pool lets the code server load its code anew (`warm/pool.py`); whether one is on is
Dagster's state alone. A tick launches the job `ring`, which says the command in its conversation; that message's run
is the command's own, in whatever code location it lives.
"""

import logging
from collections.abc import Callable
from datetime import UTC, datetime

import dagster as dg

from integrations.database import Database, Schedule
from integrations.errors import Unavailable
from integrations.messages import utc_now
from integrations.settings import Settings
from orchestration.commands.publishing import load
from orchestration.commands.standing import lapse
from orchestration.jobs.ring import ring
from orchestration.ops.ring import pause
from orchestration.timing.firing import due
from orchestration.warm.clockwork import Clockwork

log = logging.getLogger(__name__)


def schedules_from_chat(database: Database) -> list[dg.ScheduleDefinition]:
    """Return a definition for each schedule; none while the database is away, and then the log says so."""
    try:
        found = database.schedules.all()
    except Unavailable as error:
        log.warning("schedules from chat are not loaded", extra={"error": str(error)})
        return []
    return [_definition(schedule) for schedule in found]


def _definition(schedule: Schedule) -> dg.ScheduleDefinition:
    what = schedule.what
    place = f"{what.address.channel}/{what.address.conversation}"
    return dg.ScheduleDefinition(
        name=schedule.name,
        job=ring,
        cron_schedule=what.cron,
        execution_timezone=what.timezone,
        execution_fn=_evaluation(schedule.id),
        description=f"/{what.command}, {what.said}; made in {place}. Stopping it here pauses it there, too.",
        metadata={"command": what.command, "conversation": place, "missed": what.missed},
        required_resource_keys={"database", "settings"},
    )


def _evaluation(schedule_id: str) -> Callable[[dg.ScheduleEvaluationContext], dg.RunRequest | dg.SkipReason]:
    def evaluate(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        database, settings = context.resources.database, context.resources.settings
        assert isinstance(database, Database)
        assert isinstance(settings, Settings)
        clockwork = Clockwork(context.instance, settings)
        tick = context.scheduled_execution_time.astimezone(UTC)
        return tick_of(database, settings, clockwork, schedule_id, tick, utc_now())

    return evaluate


def tick_of(
    database: Database, settings: Settings, clockwork: Clockwork, schedule_id: str, tick: datetime, now: datetime
) -> dg.RunRequest | dg.SkipReason:
    """Return the run that a tick asks for, or why there is none."""
    schedule = database.schedules.get(schedule_id)
    if schedule is None:
        return dg.SkipReason("It was removed.")
    since = clockwork.since(schedule.name)
    if since is None:
        return dg.SkipReason("It was paused a moment ago.")
    why = lapse(database, settings, load(database), schedule)
    if why is not None:
        pause(database, clockwork, schedule, why, tick.isoformat())
        return dg.SkipReason(f"Paused: {why.reason}")
    if schedule.paused_why is not None:
        database.schedules.resume(schedule.id)
    instants = due(schedule, tick, datetime.fromtimestamp(since, UTC), now)
    if isinstance(instants, str):
        database.schedules.skip(schedule.id, tick)
        return dg.SkipReason(instants)
    if _is_busy(database, schedule):
        if schedule.what.missed != "all":
            database.schedules.skip(schedule.id, tick)
        return dg.SkipReason("What it said the time before is not answered yet.")
    shown = [instant.astimezone(UTC).isoformat() for instant in instants]
    return dg.RunRequest(
        run_key=f"{schedule.id}:{shown[-1]}",
        run_config={"ops": {"say_scheduled": {"config": {"schedule": schedule.id, "instants": shown}}}},
        tags={
            "runbell/trigger": "schedule",
            "runbell/tenant": schedule.what.address.tenant,
            "runbell/principal": schedule.what.principal_id,
            "runbell/channel": schedule.what.address.channel,
            "runbell/conversation": schedule.what.address.conversation,
        },
    )


def _is_busy(database: Database, schedule: Schedule) -> bool:
    view = database.inbox.get(schedule.last_message) if schedule.last_message else None
    return view is not None and not view.status.settled
