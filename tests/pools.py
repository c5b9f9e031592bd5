"""The pool on a real Ray, over a code location whose file a test may edit."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from integrations.database import WorkerState
from tests.serving import RayHead
from tests.warming import WarmHome, eventually

SHOP = """
import os
import time
from datetime import timedelta
from pathlib import Path

import dagster as dg

from orchestration.waiting import wait_for_event

VERSION = "one"
FOLDER = Path(os.environ["RUNBELL_HOME"])


@dg.op
def begins(context: dg.OpExecutionContext) -> str:
    (FOLDER / f"{context.run_id}.started").touch()
    while not (FOLDER / f"{context.run_id}.go").exists():
        time.sleep(0.02)
    return VERSION


@dg.op
def says(context: dg.OpExecutionContext, value: str) -> str:
    (FOLDER / f"{context.run_id}.said").write_text(f"{value} {VERSION} {os.getpid()}")
    return VERSION


@dg.op
def first() -> str:
    return VERSION


@dg.op
def after(approval: dict[str, object]) -> str:
    return VERSION


@dg.job
def slow() -> None:
    says(begins())


@dg.job
def quick() -> None:
    says(first())


@dg.job
def parking() -> None:
    says(after(wait_for_event("go", timedelta(hours=1), start=first())))


@dg.job(tags={"runbell/isolation": "ray", "runbell/cpus": "0.5", "runbell/environment": "marked"})
def apart() -> None:
    says(first())


defs = dg.Definitions(jobs=[slow, quick, parking, apart])
"""


@pytest.fixture(scope="module")
def ray() -> Iterator[RayHead]:
    head = RayHead()
    try:
        head.start()
        yield head
    finally:
        head.stop()


class Shop:
    """A location `shop` of one file, and the pool that keeps its workers."""

    def __init__(self, warm: WarmHome, ray: RayHead) -> None:
        self.warm = warm
        self.file = warm.folder / "shop" / "shop.py"
        self.file.parent.mkdir()
        self.file.write_text(SHOP)
        self.environment = {**ray.environment, **warm.environment}
        self.write_workspace()

    def write_workspace(self, **options: str) -> None:
        folder, relative = str(self.file.parent), str(self.file)
        entry = {"relative_path": relative, "location_name": "shop", "working_directory": folder, **options}
        (self.warm.folder / "workspace.yaml").write_text(yaml.safe_dump({"load_from": [{"python_file": entry}]}))

    @contextmanager
    def pool(self, **workers: object) -> Generator[subprocess.Popen[bytes]]:
        """Keep workers; they are all gone at the end."""
        settings = {f"RUNBELL_WORKERS__{name.upper()}": str(value) for name, value in workers.items()}
        with (self.warm.folder / "pool.log").open("ab") as log:
            keeper = subprocess.Popen(
                [sys.executable, "-m", "orchestration.warm.pool"],
                env={**self.environment, **settings},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            eventually(self.live, "a worker is ready", 120)
            yield keeper
        finally:
            keeper.send_signal(signal.SIGTERM)
            try:
                keeper.wait(timeout=60)
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(keeper.pid, signal.SIGKILL)

    def edit(self, old: str, new: str) -> None:
        self.file.write_text(self.file.read_text().replace(old, new))

    def live(self, state: str = "ready") -> list[WorkerState]:
        return [worker for worker in self.warm.database.workers.live() if worker.state == state]

    def shown(self) -> dict[str, Any]:
        with suppress(OSError):
            return json.loads((self.warm.folder / "run" / "workers.json").read_text())["locations"][0]
        return {}

    def begun(self, job: str = "slow") -> str:
        """Start a run, and return once its first op executes."""
        run_id = self.warm.request(job, location="shop")
        eventually((self.warm.folder / f"{run_id}.started").exists, "the op executes", 60)
        return run_id

    def let_go(self, run_id: str) -> str:
        """Let a run go on; returns what it says: the versions of its two ops, and the process."""
        (self.warm.folder / f"{run_id}.go").touch()
        return self.said(run_id)

    def said(self, run_id: str) -> str:
        assert self.warm.ended(run_id, within_s=60) == "SUCCESS"
        return (self.warm.folder / f"{run_id}.said").read_text()

    def quick(self) -> str:
        return self.said(self.warm.request("quick", location="shop"))


@pytest.fixture
def shop(warm: WarmHome, ray: RayHead) -> Shop:
    return Shop(warm, ray)


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()
