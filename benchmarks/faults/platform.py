"""An installation to be shot at, under Runbell's own supervisor: `python -m benchmarks.faults.platform`.

Whole, it is what `runbell up` starts, without models and memory, which no typed command needs. Small, it is a
database, a gateway and two workers without Ray: ready in seconds.
"""

import argparse
import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import httpx
import psutil
import yaml

from benchmarks.ending import started, unwinding
from benchmarks.load import free_port

ROOT = Path(__file__).parents[2]
LEFT_OUT = {"models", "serving", "chroma", "readiness"}
SMALL = {"database", "tables", "gateway"}
WORKERS = 2


@dataclass
class Platform:
    """Ports, folder and processes of one installation."""

    small: bool
    lease_s: float
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="rbfault", dir="/tmp")))
    gateway: int = field(default_factory=free_port)
    dagster: int = field(default_factory=free_port)
    supervisor: psutil.Process | None = None

    @property
    def home(self) -> Path:
        return self.folder / "h"

    @property
    def database_url(self) -> str:
        return f"postgresql://postgres@/runbell?host={self.home / 'run'}"

    @property
    def environment(self) -> dict[str, str]:
        keep = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
        return {
            **keep,
            "RUNBELL_HOME": str(self.home),
            "RUNBELL_GATEWAY__PORT": str(self.gateway),
            "RUNBELL_GATEWAY__REQUESTS_PER_MINUTE": "100000",
            "RUNBELL_DAGSTER__PORT": str(self.dagster),
            "RUNBELL_DAGSTER__WORKSPACE": str(self.folder / "workspace.yaml"),
            "RUNBELL_WORKERS__LEASE_S": str(self.lease_s),
            "RUNBELL_WORKERS__COUNT": str(WORKERS),
            "PYTHONPATH": str(ROOT),
        }

    def client(self) -> httpx.Client:
        """Speak to the gateway as a program does."""
        headers = {"authorization": f"Bearer {(self.home / 'token').read_text().strip()}"}
        return httpx.Client(base_url=f"http://127.0.0.1:{self.gateway}", headers=headers, timeout=5, trust_env=False)

    def family(self) -> list[psutil.Process]:
        """Return every process of it, the supervisor left out."""
        with suppress(psutil.Error):
            return [] if self.supervisor is None else self.supervisor.children(recursive=True)
        return []

    def logs(self) -> str:
        """Return the last lines of every log."""
        files = sorted((self.home / "logs").glob("*.log"))
        return "\n".join(f"== {file.name}\n" + "\n".join(file.read_text().splitlines()[-12:]) for file in files)


@contextmanager
def running(*, small: bool, lease_s: float) -> Generator[Platform]:
    """Give a platform that answers; nothing of it is left at the end."""
    platform = Platform(small=small, lease_s=lease_s)
    entry = {"python_module": {"module_name": "benchmarks.faults.location", "location_name": "core"}}
    (platform.folder / "workspace.yaml").write_text(yaml.safe_dump({"load_from": [entry]}))
    command = [sys.executable, "-m", "benchmarks.faults.platform", *(["--small"] if small else [])]
    with (platform.folder / "supervisor.log").open("wb") as log:
        process = started(command, orphaned=signal.SIGTERM, cwd=ROOT, env=platform.environment, stdout=log, stderr=log)
    platform.supervisor = psutil.Process(process.pid)
    try:
        with unwinding():
            _wait_ready(platform)
            yield platform
    finally:
        family = platform.family()
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(90)
        for one in (*family, platform.supervisor):
            with suppress(psutil.Error):
                one.kill()
        process.wait(10)
        shutil.rmtree(platform.folder, ignore_errors=True)


def _wait_ready(platform: Platform) -> None:
    """Wait until commands are known and the gateway and all workers are there."""
    import psycopg

    ready = "select (select count(*) from runbell.commands) > 0 and (select count(*) from runbell.workers) >= %s"
    until = time.monotonic() + 180
    while True:
        with suppress(psycopg.Error, httpx.TransportError), psycopg.connect(platform.database_url) as connection:
            row = connection.execute(ready, [WORKERS]).fetchone()
            with platform.client() as client:
                if row and row[0] and client.get("/healthz").status_code == 200:
                    return
        if time.monotonic() > until:
            said = (platform.folder / "supervisor.log").read_text()[-2000:]
            raise TimeoutError(f"the platform did not get ready\n{said}\n{platform.logs()}")
        time.sleep(0.2)


def main() -> None:
    """Supervise until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true")
    small = parser.parse_args().small

    from integrations.settings import Settings
    from orchestration.supervise.board import Board, Row, Snapshot
    from orchestration.supervise.home import Home
    from orchestration.supervise.output import Output, RotatingFile
    from orchestration.supervise.plan import choose_endpoints, environment, make_plan
    from orchestration.supervise.processes import become_subreaper
    from orchestration.supervise.spec import Spec, Step, python
    from orchestration.supervise.supervisor import Supervisor

    settings = Settings()
    home = Home(settings.state)
    home.create()
    endpoints = choose_endpoints(settings, home)
    plan: Sequence[Spec | Step] = [
        what
        for what in make_plan(settings, home, endpoints)
        if what.name not in LEFT_OUT and (not small or what.name in SMALL)
    ]
    if small:
        worker = Spec("worker", python("orchestration.warm.worker", "core"), needs=("tables",))
        plan = [*plan, *(replace(worker, name=f"worker-{number}") for number in range(WORKERS))]
    board = Board(home.state, Snapshot(os.getpid(), began_at=time.time()))
    board.snapshot.rows = {what.name: Row(what.name) for what in plan}

    def output(name: str) -> Output:
        return Output(name, RotatingFile(home.log(name), limit=50_000_000, keep=1), now=lambda: datetime.now(UTC))

    async def supervise() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await Supervisor(plan, board, output, environment(home, endpoints)).run(stop)

    become_subreaper()
    asyncio.run(supervise())


if __name__ == "__main__":
    main()
