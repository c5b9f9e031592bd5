"""Every morning the digest of yesterday is posted. Turn it off, or see its ticks, in the Dagster UI."""

import dagster as dg

from orchestration.jobs.digest import digest

morning_digest = dg.ScheduleDefinition(
    name="morning_digest",
    job=digest,
    cron_schedule="0 8 * * *",
    execution_timezone="UTC",
    # Where it is posted, and whose midnight counts.
    run_config=dg.RunConfig(
        ops={
            "count_day": {"config": {"day": "yesterday", "timezone": "UTC"}},
            "post_digest": {"config": {"channel": "web", "conversation": "daily"}},
        }
    ),
    tags={"runbell/trigger": "schedule"},
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Posts the digest of yesterday into web/daily at 8:00 UTC.",
)
