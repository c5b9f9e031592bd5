"""Runs that do not execute in their worker's thread: in a process or a Ray actor of their own, as their job asks.

The worker that claimed the run keeps a thread for it, so that what runs at once stays bounded, and extends its lease.
The other process does what the worker would: it creates, executes, parks and answers under the same lease and token.
If it dies, the run is handed back for another attempt.
"""

import logging
import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from typing import Any, Protocol

from pydantic import TypeAdapter

from integrations.database import RunClaim, Wait
from integrations.errors import LeaseLost, Misconfigured, NotFound
from orchestration.warm import runs
from orchestration.warm.actor import PASSED_ON
from orchestration.warm.interrupt import Interrupt, Reason
from orchestration.warm.isolation import RAY, WARM, Isolation, isolation_of
from orchestration.warm.runs import MAX_ATTEMPTS, Runtime

log = logging.getLogger(__name__)

LOOK_S = 0.2
STOP_S = 10.0
"""How long a run that was canceled may take to stop by itself; then its process is ended, and it is canceled here."""
PLACED_S = 180.0
"""How long Ray may take to find room for a run and to load its code."""


CLAIMS = TypeAdapter(RunClaim)
"""How a claim is given to the other process."""


class Elsewhere(Protocol):
    """Where one run executes."""

    def ended(self, seconds: float) -> bool:
        """Wait so long for its end. Raises `Died`."""
        ...

    def kill(self) -> None:
        """End it at once; nothing where it has ended."""
        ...


class Died(Exception):
    """The run's own process has died."""


def carry_out(runtime: Runtime, claim: RunClaim, switch: Interrupt) -> list[Wait]:
    """Bring a claimed run to its end, here or where its job wants it; return what it waits for, to be parked with."""
    isolation = _wanted(runtime, claim)
    if isolation.kind == WARM:
        return runs.carry_out(runtime, claim, switch)
    # Its own process notices cancel requests, time limits and a lost lease; here only the lease is extended.
    switch.ending = True
    log.info("a run goes elsewhere", extra={"run_id": claim.run_id, "job": claim.job, "isolation": isolation.kind})
    try:
        elsewhere = Actor(runtime, claim, isolation) if isolation.kind == RAY else Process(runtime, claim)
        _follow(elsewhere, claim, switch)
    except Died as error:
        log.warning("a run's own process died", extra={"run_id": claim.run_id, "reason": str(error)})
        with suppress(LeaseLost):  # it may have ended the run before
            runtime.database.runs.release(claim)
    return []


def _wanted(runtime: Runtime, claim: RunClaim) -> Isolation:
    """Return where the run shall execute. What can't begin is told here, in this thread, as of any run."""
    if runtime.alone or claim.attempts > MAX_ATTEMPTS or claim.cancel_requested:
        return Isolation()
    try:
        return isolation_of(runtime.location.job(claim.job).get_definition(), runtime.settings.isolation)
    except (Misconfigured, NotFound):
        return Isolation()


def _follow(elsewhere: Elsewhere, claim: RunClaim, switch: Interrupt) -> None:
    stop_by: float | None = None
    try:
        while not elsewhere.ended(LOOK_S):
            if switch.reason in {Reason.DRAIN, Reason.LOST}:
                raise LeaseLost(f"run {claim.run_id}: {switch.reason}")
            if switch.reason is Reason.CANCEL:
                stop_by = stop_by or time.monotonic() + STOP_S
                if time.monotonic() > stop_by:
                    raise Died("it did not stop when it was asked to")
    finally:
        elsewhere.kill()


class Process:
    """A process of this machine."""

    def __init__(self, runtime: Runtime, claim: RunClaim) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-m", "orchestration.warm.lone", runtime.location.name, str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert self._process.stdin is not None
        with suppress(BrokenPipeError), self._process.stdin as pipe:
            pipe.write(CLAIMS.dump_json(claim))
        threading.Thread(target=self._copy, name="output", daemon=True).start()

    def ended(self, seconds: float) -> bool:
        """Wait so long for its end. Raises `Died`."""
        try:
            status = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        if status:
            raise Died(f"exit status {status}")
        return True

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait()

    def _copy(self) -> None:
        """Let the process's log be part of this one's."""
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                sys.stderr.write(line.decode(errors="replace"))


class Actor:
    """A Ray actor with the resources that the job asks for; it ends with this worker."""

    def __init__(self, runtime: Runtime, claim: RunClaim, isolation: Isolation) -> None:
        import ray

        from orchestration.warm.lone import LoneActor

        options: dict[str, Any] = {"num_cpus": isolation.cpus, "num_gpus": isolation.gpus, "max_concurrency": 2}
        if isolation.memory_megabytes:
            options["memory"] = int(isolation.memory_megabytes * 2**20)
        if isolation.environment is not None:
            options["runtime_env"] = dict(runtime.settings.isolation.environments[isolation.environment])
        environment = {key: value for key, value in os.environ.items() if key.startswith(PASSED_ON)}
        lone: Any = ray.remote(**options)(LoneActor)
        self._actor = lone.remote(f"run-{runtime.location.name}", runtime.location.name, environment, os.getcwd())  # noqa: PTH109
        self._ready: Any = self._actor.ready.remote()
        self._done: Any = self._actor.carry_out.remote(CLAIMS.dump_json(claim))
        self._waited_s = 0.0

    def ended(self, seconds: float) -> bool:
        """Wait so long for its end. Raises `Died`."""
        import ray
        from ray.exceptions import RayError

        done, _ = ray.wait([self._done], timeout=seconds)
        if not done:
            self._waited_s += seconds
            if self._waited_s > PLACED_S and not ray.wait([self._ready], timeout=0)[0]:
                raise Died("Ray has no room for it, or its code does not load")
            return False
        try:
            ray.get(self._done)
        except RayError as error:
            raise Died(str(error)[-1_000:]) from error
        return True

    def kill(self) -> None:
        """End it at once."""
        import ray

        ray.kill(self._actor)
