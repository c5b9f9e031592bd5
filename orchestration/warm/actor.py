"""The Ray actor around a worker: it loads its code location once and answers pings, also while runs execute."""

import io
import logging
import os
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, cast

import psutil

from integrations.errors import Misconfigured, RunbellError
from integrations.heap import settle
from orchestration.supervise.output import RotatingFile

if TYPE_CHECKING:
    from integrations.settings import Settings

NAMESPACE = "runbell"
PASSED_ON = ("RUNBELL_", "DAGSTER_", "RAY_SERVE_", "ORT_", "ANONYMIZED_", "OTEL_", "PATH", "TZ", "LANG", "LC_")
"""Which variables a process that Ray starts gets from ours."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a worker says of itself. `state` is `loaded` until it is told to begin, then as `Worker.state` has it."""

    worker: str
    state: str
    version: str
    busy: int
    runs: int
    megabytes: float
    roots: tuple[str, ...]
    fingerprint: str


class WarmActor:
    """A worker in a process that Ray placed. It loads its code at once, and works once it is told to begin."""

    def __init__(self, name: str, location: str, environment: Mapping[str, str], folder: str) -> None:
        settings = enter(name, environment, folder)
        from orchestration.warm.assembly import build_worker
        from orchestration.warm.internals import DagsterUserCodeLoadError

        try:
            self._worker = build_worker(location, settings)
        except DagsterUserCodeLoadError as error:
            logging.getLogger(__name__).exception("the code of %s does not load", location)
            raise Misconfigured(root_cause(error)) from None
        settle()
        self._begun = False
        self._process = psutil.Process()
        threading.Thread(target=self._end_when_done, name="recycle", daemon=True).start()

    def ping(self) -> Report:
        """Tell how the worker is."""
        worker, code = self._worker, self._worker.code
        busy, runs = worker.load
        return Report(
            worker=worker.id,
            state=worker.state if self._begun else "loaded",
            version="" if code is None else code.label,
            busy=busy,
            runs=runs,
            megabytes=self._process.memory_info().rss / 2**20,
            roots=() if code is None else code.roots,
            fingerprint="" if code is None else code.fingerprint,
        )

    def begin(self) -> None:
        """Let the worker work; its commands are those of its location from now on. Idempotent."""
        if not self._begun:
            self._worker.start()
            self._begun = True

    def leave(self) -> None:
        """Take nothing new, and end with the last run that is under way. Idempotent."""
        if self._begun:
            self._worker.leave()
        else:
            os._exit(0)

    def drain(self, grace_s: float) -> None:
        """Take nothing new, and hand back what does not end within the grace."""
        from integrations import telemetry

        if self._begun:
            self._worker.drain(grace_s=grace_s)
        telemetry.flush()

    def end(self, grace_s: float) -> None:
        """Drain, and end the process."""
        self.drain(grace_s)
        os._exit(0)  # a hanging thread lets no process end by itself

    def _end_when_done(self) -> None:
        """End the process of a worker that shall be replaced; the pool starts another."""
        self._worker.done.wait()
        self.end(1.0)


def enter(name: str, environment: Mapping[str, str], folder: str) -> "Settings":
    """Make this process, which Ray started with its own environment and folder, one of the platform's."""
    os.environ.update(environment)
    os.chdir(folder)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    from integrations import telemetry
    from integrations.settings import Settings

    settings = Settings()
    chosen = settings.telemetry
    path = settings.state / "logs" / f"{name}.log"
    log = cast("TextIO", LogStream(path, megabytes=chosen.log_megabytes, files=chosen.log_files))
    sys.stdout = sys.stderr = log
    telemetry.setup(name, log_level=chosen.log_level, otlp_endpoint=chosen.otlp_endpoint, stream=log)
    return settings


def root_cause(error: BaseException) -> str:
    """Return in one line what was wrong in the first place; our own errors need no class's name."""
    while (cause := error.__cause__ or (None if error.__suppress_context__ else error.__context__)) is not None:
        error = cause
    said = " ".join(str(error).split())
    return (said if isinstance(error, RunbellError) else f"{type(error).__name__}: {said}")[:1_000]


def make_actor(name: str, location: str, environment: Mapping[str, str], folder: str, python: str | None = None) -> Any:  # noqa: ANN401 - Ray types handles by class only
    """Start a worker; the handle is there at once, the worker when its first ping is answered.

    `python` is the interpreter of a location that has an environment of its own.
    """
    import ray

    # Runs are not calls: what is asked here never waits behind them, and a ping not behind a drain.
    options: dict[str, Any] = {
        "name": name,
        "namespace": NAMESPACE,
        "lifetime": "detached",
        "max_restarts": 0,
        "max_task_retries": 0,
        "num_cpus": 0,
        "max_concurrency": 3,
    }
    if python is not None:
        options["runtime_env"] = {"py_executable": python}
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
