"""Half a minute of kills at random; `benchmarks/chaos.py` does it to a whole installation, for as long as wanted."""

import os
import secrets

import pytest

from benchmarks.chaos import storm, told

SEED = "RUNBELL_CHAOS_SEED"
"""The environment variable that repeats a storm: its messages and the order and instants of its kills."""


@pytest.mark.timeout(300)
def test_nothing_is_lost_doubled_or_stuck_while_everything_is_killed() -> None:
    seed = int(os.environ.get(SEED) or secrets.randbelow(1_000_000))
    print(f"{SEED}={seed}")  # noqa: T201 - shown where the test fails

    results = storm(seed, seconds=20, kills_per_minute=24, messages=120, small=True, patience_s=120)

    assert not results["faults"], told(results)
    assert results["answers"] == 120
    assert results["kills"]
