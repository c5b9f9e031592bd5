"""Every night what is old is deleted. Turn it off, or see its ticks, in the Dagster UI."""

import dagster as dg

from orchestration.jobs.housekeeping import housekeeping

nightly_housekeeping = dg.ScheduleDefinition(
    name="nightly_housekeeping",
    job=housekeeping,
    cron_schedule="30 3 * * *",
    execution_timezone="UTC",
    tags={"runbell/trigger": "schedule"},
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Deletes what has been kept for long enough, at 3:30 UTC.",
)
