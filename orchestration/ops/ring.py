"""Op of the job `ring`: say a scheduled command in its conversation, in its owner's name, once per instant."""

from datetime import datetime

import dagster as dg
from pydantic import Field

from integrations.access import Refused
from integrations.database import Database, Schedule
from integrations.messages import OutboundMessage, run_id_for
from integrations.settings import Settings
from orchestration.commands.publishing import load
from orchestration.commands.standing import lapse, paused_notice
from orchestration.warm.clockwork import Clockwork


class Firing(dg.Config):
    """Which schedule, and for which instants."""

    schedule: str = Field(description="The id of the schedule, as `/schedule list` shows it")
    instants: list[str] = Field(description="Instants in ISO 8601; each is said once, however often this runs")


@dg.op(tags={"runbell/acts": "true"})
def say_scheduled(
    context: dg.OpExecutionContext,
    config: Firing,
    database: dg.ResourceParam[Database],
    settings: dg.ResourceParam[Settings],
) -> str:
    """Check once more that its owner may, then put the command into the inbox; its own run answers there."""
    schedule = database.schedules.get(config.schedule)
    if schedule is None:
        return "The schedule was removed."
    why = lapse(database, settings, load(database), schedule)
    if why is not None:
        pause(database, Clockwork(context.instance, settings), schedule, why, config.instants[-1])
        raise dg.Failure(f"Paused: {why.reason}", allow_retries=False)
    runs: list[str] = []
    for instant in config.instants:
        message_id = database.schedules.fire(schedule, instant, instant=datetime.fromisoformat(instant))
        runs.append(run_id_for(message_id))
    context.add_output_metadata(
        {
            "command": f"/{schedule.what.command}",
            "conversation": f"{schedule.what.address.channel}/{schedule.what.address.conversation}",
            **{f"run {number}": dg.MetadataValue.url(settings.run_url(run)) for number, run in enumerate(runs, 1)},
        }
    )
    return f"/{schedule.what.command} was said {len(runs)} times."


def pause(database: Database, clockwork: Clockwork, schedule: Schedule, why: Refused, tick: str) -> None:
    """Switch a schedule off at a tick and say so where it was made, once."""
    clockwork.off(schedule.name, schedule.what.cron)
    database.schedules.pause(schedule.id, why.reason)
    notice = OutboundMessage(address=schedule.what.address, text=paused_notice(schedule, why), kind="notice")
    database.outbox.post(notice, key=f"schedule:{schedule.id}:paused:{tick}")
