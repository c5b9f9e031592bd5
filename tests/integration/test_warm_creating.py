"""Runs of a job are made like its first one; nobody can tell."""

import uuid

import dagster as dg
import pytest
from dagster_shared.record import as_dict

from orchestration.warm.creating import Creation
from orchestration.warm.engine import Preparation, prepare
from orchestration.warm.location import load_location
from tests.warming import WarmHome, warm

__all__ = ["warm"]

PLAIN: dict[str, object] = {"ops": {"one": {"config": {"start": 4}}}}
SHAPED: dict[str, object] = {"ops": {"one": {"config": {"start": 4}}}, "execution": {"config": {"in_process": {}}}}


def _other_than(run: dg.DagsterRun) -> dict[str, object]:
    return {name: value for name, value in as_dict(run).items() if name != "run_id"}


@pytest.mark.parametrize("config", [PLAIN, SHAPED])
def test_a_run_that_is_made_like_an_earlier_one_is_what_dagster_would_make(
    warm: WarmHome, config: dict[str, object]
) -> None:
    location = load_location(warm.settings, "jobs")
    creation, job = Creation(warm.instance, location), location.job("five")
    creation.create(str(uuid.uuid4()), Preparation(job, {}, {"of": "the first"}, warm.instance))
    prepared = Preparation(job, config, {"of": "the second"}, warm.instance)

    made = creation.create(str(uuid.uuid4()), prepared)

    stock = warm.instance.create_run_for_job(
        job.get_definition(),
        run_config=config,
        tags={"of": "the second"},
        remote_job_origin=location.remote_origin("five"),
        job_code_origin=location.code_origin("five"),
    )
    assert _other_than(made) == _other_than(stock)
    stored = warm.instance.get_run_by_id(made.run_id)
    assert stored is not None
    assert _other_than(stored) == _other_than(stock)


def test_what_a_run_fans_out_to_stays_its_own(warm: WarmHome) -> None:
    counts = (3, 1, 2)
    with warm.worker():
        runs = [warm.request("dynamic", {"ops": {"one": {"config": {"start": count - 1}}}}) for count in counts]
        ended = [warm.ended(run) for run in runs]

    assert ended == ["SUCCESS"] * 3
    doubled = [
        [step for kind, step in warm.kinds(run) if kind == "STEP_SUCCESS" and step and step.startswith("double[")]
        for run in runs
    ]
    assert [sorted(steps) for steps in doubled] == [[f"double[k{n}]" for n in range(count)] for count in counts]


def test_a_run_from_the_launchpad_shares_the_plan_of_its_job(warm: WarmHome) -> None:
    location = load_location(warm.settings, "jobs")
    job = location.job("five")
    run = warm.instance.create_run_for_job(job.get_definition(), run_config=PLAIN)

    prepared = prepare(job, run, warm.instance)

    assert prepared.plain
    assert prepared.plan.step_keys_to_execute == run.step_keys_to_execute
