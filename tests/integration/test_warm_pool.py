"""The pool on a real Ray: workers for every code location, replaced when killed, drained and gone at the end."""

import os
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from integrations.database import WorkerState
from tests.serving import RayHead
from tests.warming import WarmHome, eventually, warm

__all__ = ["warm"]


@contextmanager
def pool(warm: WarmHome, ray: RayHead | None = None) -> Generator[subprocess.Popen[bytes]]:
    ray = ray or RayHead()
    try:
        ray.start()
        with (warm.folder / "pool.log").open("wb") as log:
            keeper = subprocess.Popen(
                [sys.executable, "-m", "orchestration.warm.pool"],
                env={**ray.environment, **warm.environment},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            yield keeper
        finally:
            with suppress(ProcessLookupError):
                os.killpg(keeper.pid, signal.SIGKILL)
            keeper.wait(timeout=10)
    finally:
        ray.stop()


@pytest.mark.timeout(240)
def test_workers_of_every_location_run_are_replaced_and_go_in_good_order(warm: WarmHome) -> None:
    _only_jobs(warm)
    with pool(warm) as keeper:
        eventually(lambda: _live(warm), "a worker is ready", 90)
        (first,) = _live(warm)
        assert warm.ended(warm.request("five")) == "SUCCESS"

        os.kill(first.pid, signal.SIGKILL)
        eventually(lambda: any(state.pid != first.pid for state in _live(warm)), "the worker is replaced", 60)
        assert warm.ended(warm.request("five")) == "SUCCESS"
        second = next(state for state in _live(warm) if state.pid != first.pid)

        keeper.send_signal(signal.SIGTERM)
        assert keeper.wait(timeout=40) == 0
        eventually(lambda: not Path(f"/proc/{second.pid}").exists(), "the worker has ended", 10)
        assert second.id not in {state.id for state in _live(warm)}
    assert '"worker is ready"' in (warm.folder / "logs" / "worker-jobs-0.log").read_text()


@pytest.mark.timeout(240)
def test_what_a_killed_worker_held_is_taken_over_before_its_lease_ends(warm: WarmHome) -> None:
    _only_jobs(warm)
    warm.environment["RUNBELL_WORKERS__LEASE_S"] = "600"
    with pool(warm) as keeper:
        eventually(lambda: _live(warm), "a worker is ready", 90)
        (first,) = _live(warm)
        run_id = warm.request("waiting")
        eventually((warm.folder / f"{run_id}.started").exists, "the op waits")

        os.kill(first.pid, signal.SIGKILL)
        (warm.folder / f"{run_id}.go").touch()

        assert warm.ended(run_id, within_s=90) == "SUCCESS"
        assert first.id not in {state.id for state in _live(warm)}
        keeper.send_signal(signal.SIGTERM)
        assert keeper.wait(timeout=40) == 0


@pytest.mark.timeout(240)
def test_a_pool_whose_ray_was_killed_ends_to_meet_the_next_one(warm: WarmHome) -> None:
    _only_jobs(warm)
    ray = RayHead()
    with pool(warm, ray) as keeper:
        eventually(lambda: "worker starts" in (warm.folder / "pool.log").read_text(), "the pool is at work", 90)
        for process in reversed(ray.processes()):
            process.kill()

        assert keeper.wait(timeout=60) != 0


def _live(warm: WarmHome) -> list[WorkerState]:
    return warm.database.workers.live()


def _only_jobs(warm: WarmHome) -> None:
    workspace = warm.folder / "workspace.yaml"
    text = workspace.read_text()
    workspace.write_text(text[: text.index("- python_file", text.index("- python_file") + 1)])
