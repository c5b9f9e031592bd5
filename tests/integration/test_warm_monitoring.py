"""The real dagster-daemon with run monitoring on: beside runs that wait, left the queue, or take too long."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from integrations.database import RunClaim
from integrations.messages import MessageStatus
from tests.warming import WarmHome, eventually, warm

__all__ = ["warm"]


@contextmanager
def monitored(warm: WarmHome) -> Iterator[Callable[[str], int]]:
    """Run the daemon, looking every second; gives a function that counts how often it has looked at a run."""
    path = warm.folder / "dagster" / "dagster.yaml"
    content = yaml.safe_load(path.read_text())
    content["run_monitoring"]["poll_interval_seconds"] = 1
    path.write_text(yaml.safe_dump(content))
    log = warm.folder / "daemon.log"
    program = str(Path(sys.executable).with_name("dagster-daemon"))
    with log.open("wb") as output:
        daemon = subprocess.Popen(
            [program, "run", "-w", str(warm.folder / "workspace.yaml")],
            env={**os.environ, **warm.environment},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield lambda run_id: log.read_text().count(f"Checking run {run_id}")
        finally:
            daemon.terminate()  # its code servers end with it
            daemon.wait(timeout=20)


def test_the_monitor_leaves_parked_runs_alone_resumes_lost_ones_and_ends_those_that_take_too_long(
    warm: WarmHome,
) -> None:
    with warm.worker():
        _, waiting = warm.message("approving")
        lost = warm.request("approving")
        message_id, slow = warm.message("approving")
        for run_id in (waiting, lost, slow):
            eventually(lambda run_id=run_id: warm.queue_state(run_id) == "parked", "parked")
    give_up(warm, lost)
    warm.instance.add_run_tags(slow, {"dagster/max_runtime": "1"})

    with monitored(warm) as looked, warm.worker():
        eventually(lambda: looked(waiting) >= 3, "the monitor has looked at the waiting run three times", 60)
        assert (warm.status(waiting), warm.queue_state(waiting)) == ("STARTED", "parked")
        assert not [text for text in told(warm, waiting) if "Detected run worker status" in text]

        eventually(lambda: warm.queue_state(lost) == "parked", "the lost run is resumed, and waits again")
        assert [text for text in told(warm, lost) if "Resuming run" in text]
        for run_id in (waiting, lost):
            assert warm.database.events.send("approved", run_id, {"by": "ada"})
            assert warm.ended(run_id) == "SUCCESS"
            assert [step for kind, step in warm.kinds(run_id) if kind == "STEP_SUCCESS"] == [
                "order",
                "wait_for_approved_1h",
                "pay",
            ]

        # Dagster cancels first; the worker that carries this out may be quicker than the monitor's next word.
        eventually(lambda: warm.status(slow) == "FAILURE", "the slow run has failed")
        eventually(lambda: warm.queue_state(slow) == "finished", "it has left the queue")
        assert "Exceeded maximum runtime of 1 seconds." in told(warm, slow)
        assert warm.answered(message_id).status is MessageStatus.FAILED


def give_up(warm: WarmHome, run_id: str) -> None:
    """End a run's row in the queue though the run has not ended."""
    warm.database.runs.wake(run_id)
    claims: list[RunClaim] = warm.database.runs.claim("jobs", "someone", limit=1)
    assert [claim.run_id for claim in claims] == [run_id]
    warm.database.runs.finish(claims[0])


def told(warm: WarmHome, run_id: str) -> list[str]:
    """Return what the run's own events say."""
    return [event.message or "" for event in warm.events(run_id)]
