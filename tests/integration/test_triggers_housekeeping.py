"""The nightly job on the platform's own storage: it sweeps everything, and tells what runs take up."""

from datetime import datetime, timedelta

from integrations.messages import utc_now
from orchestration.jobs.housekeeping import housekeeping
from orchestration.triggers.nightly import nightly_housekeeping
from tests.warming import WarmHome, warm

__all__ = ["warm"]


class ForgetfulMemory:
    def __init__(self) -> None:
        self.asked: list[datetime] = []

    def expire(self, older_than: datetime) -> int:
        self.asked.append(older_than)
        return 3


def test_housekeeping_sweeps_messages_runs_and_memory(warm: WarmHome) -> None:
    memory = ForgetfulMemory()

    result = housekeeping.execute_in_process(
        instance=warm.instance, resources={"database": warm.database, "settings": warm.settings, "memory": memory}
    )

    assert result.output_for_node("told_housekeeping") == (
        "Deleted 0 rows of messages, 0 of runs and 3 passages of memory."
    )
    assert utc_now() - memory.asked[0] - timedelta(days=365) < timedelta(minutes=1)
    (reported,) = [
        event.step_output_data.metadata
        for event in result.all_events
        if event.is_successful_output and event.step_key == "sweep_runs"
    ]
    assert int(str(reported["bytes_per_run"].value)) > 0


def test_housekeeping_runs_every_night_and_is_not_listed() -> None:
    assert housekeeping.metadata["runbell/command"].value["hidden"] is True
    assert nightly_housekeeping.cron_schedule == "30 3 * * *"
    assert nightly_housekeeping.job is housekeeping
