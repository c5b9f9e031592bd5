"""Cron as Dagster's daemon reckons it: what it takes, and the instants, also where clocks change."""

from collections.abc import Iterator
from datetime import datetime

from orchestration.warm.internals import is_valid_cron_string, schedule_execution_time_iterator


def is_cron(cron: str) -> bool:
    """Whether Dagster takes this expression."""
    return is_valid_cron_string(cron)


def instants(cron: str, zone: str, after: datetime) -> Iterator[datetime]:
    """Return the endless instants after one, in the time zone."""
    # Dagster's iterator begins with the instant itself.
    return schedule_execution_time_iterator(after.timestamp() + 0.001, cron, zone)
