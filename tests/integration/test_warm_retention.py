"""What is old goes from Dagster's tables too; what failed stays longer; what is unfinished stays."""

import time
from pathlib import Path

import sqlalchemy as sa

from integrations.database import Keep
from orchestration.warm import retention
from tests.warming import WarmHome, warm

__all__ = ["warm"]

KEEP = retention.KeepRuns(detail=30, failed=90, summary=365)


def test_events_outputs_and_then_runs_go_by_their_age(warm: WarmHome) -> None:
    with warm.worker():
        run_id, failed = warm.request("five"), warm.request("failing")
        assert (warm.ended(run_id), warm.ended(failed)) == ("SUCCESS", "FAILURE")
    engine = warm.instance.warm_storage.engine
    assert retention.bytes_per_run(engine) > 0

    assert sum(retention.sweep(engine, KEEP, time.time()).values()) == 0

    gone = retention.sweep(engine, KEEP, time.time() + 31 * 86_400)
    assert gone["events"] > 20
    assert gone["outputs"] > 3
    assert warm.events(run_id) == []
    assert warm.events(failed) != []
    assert warm.status(run_id) == "SUCCESS"

    retention.sweep(engine, KEEP, time.time() + 91 * 86_400)
    assert warm.events(failed) == []
    assert warm.status(failed) == "FAILURE"

    assert retention.sweep(engine, KEEP, time.time() + 366 * 86_400)["runs"] == 2
    assert warm.status(run_id) is None


def test_outputs_of_a_run_that_still_waits_stay(warm: WarmHome) -> None:
    claim = warm.claim("five")
    outputs = warm.instance.warm_storage.outputs
    outputs.put(claim.run_id, "one", "result", b"1")
    with warm.database.engine.begin() as connection:
        connection.execute(sa.text("update runbell.op_outputs set at = now() - interval '400 days'"))

    assert warm.database.retention.sweep(Keep())["op_outputs"] == 0

    warm.database.runs.finish(claim)
    assert warm.database.retention.sweep(Keep())["op_outputs"] == 1


def test_output_files_go_with_the_rows_that_point_at_them(warm: WarmHome, tmp_path: Path) -> None:
    needed, left = tmp_path / "outputs" / "aa" / "needed", tmp_path / "outputs" / "bb" / "left"
    for run in (needed, left):
        run.mkdir(parents=True)
        (run / "value").write_bytes(b"value")
    storage = warm.instance.warm_storage
    storage.outputs.put("needed", "one", "result", None, (needed / "value").as_uri())

    assert retention.sweep_files(storage.engine, tmp_path / "outputs", 1) == 0
    assert retention.sweep_files(storage.engine, tmp_path / "outputs", -1) == 1

    assert needed.exists()
    assert not left.exists()
