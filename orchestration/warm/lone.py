"""The process of one run that executes apart: `python -m orchestration.warm.lone LOCATION PARENT`, or a Ray actor.

It gets the claim of the worker that started it, and is a worker without anything else to do.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import replace

from integrations.database import RunClaim
from integrations.settings import Settings
from orchestration.warm.actor import enter
from orchestration.warm.apart import CLAIMS
from orchestration.warm.runs import Runtime
from orchestration.warm.worker import Worker

LOOK_S = 0.1
_DIES_WITH_PARENT = 1  # PR_SET_PDEATHSIG of Linux's prctl


class LoneWorker(Worker):
    """Does one run; no worker that others should count."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(replace(runtime, alone=True))

    def carry(self, claim: RunClaim) -> None:
        """Do a run that another worker has claimed; return once it has ended, is parked or was given up."""
        self._prepare()
        self._active.look_at_cancels()
        self._begin(lambda: claim)
        while self._wear.pieces and not self.done.wait(LOOK_S):
            pass
        self.drain(grace_s=0.0)

    def _beat(self) -> None:
        """Show no sign of life: the worker that holds the run does."""


class LoneActor:
    """A run's own process, placed by Ray."""

    def __init__(self, name: str, location: str, environment: Mapping[str, str], folder: str) -> None:
        settings = enter(name, environment, folder)
        self._worker = LoneWorker(load(location, settings))

    def ready(self) -> bool:
        """Tell that the code is loaded."""
        return True

    def carry_out(self, claim: bytes) -> None:
        """Do the run."""
        self._worker.carry(CLAIMS.validate_json(claim))


def load(location: str, settings: Settings) -> Runtime:
    """Load a code location into this process."""
    from orchestration.warm.assembly import build_runtime

    return build_runtime(location, settings)


def main() -> None:
    """Do the run whose claim stands at stdin."""
    from integrations import telemetry

    location, parent = sys.argv[1], int(sys.argv[2])
    ctypes.CDLL(None).prctl(_DIES_WITH_PARENT, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("the worker is gone")
    settings = Settings()
    chosen = settings.telemetry
    telemetry.setup(f"run-{location}", log_level=chosen.log_level, otlp_endpoint=chosen.otlp_endpoint)
    LoneWorker(load(location, settings)).carry(CLAIMS.validate_json(sys.stdin.buffer.read()))
    telemetry.flush()
    os._exit(0)  # a hanging thread lets no process end by itself


if __name__ == "__main__":
    main()
