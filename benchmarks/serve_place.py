"""A Ray head with `serving.app` over a folder's models.yaml, for benchmarks; this process is attached to it."""

import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import yaml

from benchmarks.ending import end, started, unwinding
from benchmarks.load import free_port

ROOT = Path(__file__).parent.parent
TOKEN = "benchmark-" + "0" * 24


@contextmanager
def served(home: Path, models: dict[str, Any], *, load_s: float = 120, attached: bool = True) -> Generator[str]:
    """Serve the models, attach this process to Ray (or not), and give the address of the HTTP interface."""
    from orchestration.supervise import ray_head
    from serving.handles import connect

    temp = Path(tempfile.mkdtemp(prefix="rb-", dir="/tmp"))  # short: Ray's sockets live below
    port, http = free_port(), free_port()
    (home / "ray_token").write_text(TOKEN)
    (home / "ray_token").chmod(0o600)
    (home / "token").write_text(TOKEN)
    (home / "token").chmod(0o600)
    (home / "models.yaml").write_text(yaml.safe_dump(models), encoding="utf-8")
    ours = {
        **ray_head.environment(f"127.0.0.1:{port}", home / "ray_token"),
        "RUNBELL_HOME": str(home),
        "RUNBELL_SERVING__MODELS_FILE": str(home / "models.yaml"),
        "RUNBELL_SERVING__PORT": str(http),
        "RUNBELL_SERVING__REQUEST_TIMEOUT_S": "600",
        "ORT_DISABLE_TELEMETRY": "1",
        "PYTHONPATH": str(ROOT),
    }
    os.environ.update(ours)
    with ExitStack() as stack:
        stack.enter_context(unwinding())
        stack.callback(shutil.rmtree, temp, ignore_errors=True)
        log = stack.enter_context((home / "benchmark.log").open("wb"))

        def start(*command: str, orphaned: int = signal.SIGKILL, grace_s: float = 30) -> None:
            stack.callback(end, started(command, orphaned=orphaned, cwd=ROOT, stdout=log, stderr=log), grace_s)

        # The head waits for workers that are gone already.
        start(*ray_head.command(temp, port), orphaned=signal.SIGTERM, grace_s=4)
        ray_head.prepare(temp)
        _wait(lambda: b"Ray runtime started" in (home / "benchmark.log").read_bytes(), home, 60)
        start(sys.executable, "-m", "serving.app")
        _wait((home / "run" / "serving.ready").exists, home, load_s)
        if attached:
            connect()
            stack.callback(_leave)
            stack.enter_context(unwinding())  # Ray has set handlers of its own
        yield f"http://127.0.0.1:{http}/v1"


def _leave() -> None:
    import ray

    ray.shutdown()


def _wait(there: Callable[[], bool], home: Path, within_s: float) -> None:
    until = time.monotonic() + within_s
    while not there():
        if time.monotonic() > until:
            problem = home / "run" / "serving.problem"
            said = problem.read_text() if problem.exists() else (home / "benchmark.log").read_text()[-3000:]
            raise SystemExit(f"the models did not get ready: {said}")
        time.sleep(0.05)
