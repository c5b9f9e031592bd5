"""The Ray actor around a worker: it loads its code location once and answers pings, also while runs execute."""

import io
import os
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO, cast

from orchestration.supervise.output import RotatingFile

NAMESPACE = "runbell"


class WarmActor:
    """A worker in a process that Ray placed."""

    def __init__(self, name: str, location: str, environment: Mapping[str, str], folder: str) -> None:
        # Ray starts processes with its own environment and folder; settings are read from both.
        os.environ.update(environment)
        os.chdir(folder)
        if folder not in sys.path:
            sys.path.insert(0, folder)
        from integrations import telemetry
        from integrations.settings import Settings
        from orchestration.warm.assembly import build_worker

        settings = Settings()
        chosen = settings.telemetry
        path = settings.state / "logs" / f"{name}.log"
        log = cast("TextIO", LogStream(path, megabytes=chosen.log_megabytes, files=chosen.log_files))
        sys.stdout = sys.stderr = log
        telemetry.setup(name, log_level=chosen.log_level, otlp_endpoint=chosen.otlp_endpoint, stream=log)
        self._worker = build_worker(location, settings).start()
        threading.Thread(target=self._end_when_done, name="recycle", daemon=True).start()

    def ping(self) -> str:
        """Return the id under which the worker holds its leases."""
        return self._worker.id

    def drain(self, grace_s: float) -> None:
        """Take nothing new, and hand back what does not end within the grace."""
        from integrations import telemetry

        self._worker.drain(grace_s=grace_s)
        telemetry.flush()

    def _end_when_done(self) -> None:
        """End the process of a worker that shall be replaced; the pool starts another."""
        self._worker.done.wait()
        self.drain(1.0)
        os._exit(0)  # a hanging thread lets no process end by itself


def make_actor(name: str, location: str, environment: Mapping[str, str], folder: str) -> Any:  # noqa: ANN401 - Ray types handles by class only
    """Start a worker; the handle is there at once, the worker when its first ping is answered."""
    import ray

    # A group of its own keeps pings, and the drain that may take a while, from waiting for each other.
    options: dict[str, Any] = {
        "name": name,
        "namespace": NAMESPACE,
        "lifetime": "detached",
        "max_restarts": 0,
        "max_task_retries": 0,
        "num_cpus": 0,
        "concurrency_groups": {"control": 2},
        "max_concurrency": 2,
    }
    return ray.remote(**options)(WarmActor).remote(name, location, environment, folder)


class LogStream(io.TextIOBase):
    """A text stream into rotated files, for what this process logs and prints."""

    def __init__(self, path: Path, *, megabytes: int, files: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = RotatingFile(path, limit=megabytes * 1024 * 1024, keep=files)
        self._lock = threading.Lock()
        self._part = ""

    def write(self, text: str, /) -> int:
        """Write whole lines; a part waits for its end."""
        with self._lock:
            *lines, self._part = (self._part + text).split("\n")
            for line in lines:
                self._file.write(line)
        return len(text)

    def writable(self) -> bool:
        """Always."""
        return True
