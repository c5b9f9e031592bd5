"""The code location `core` with models that answer at once: for measuring everything else.

Imported before anything builds resources, it makes every part of this process share these models.
As a program it is a warm worker: `python -m benchmarks.scripted_location`.
"""

import signal
import threading

from integrations.settings import Settings
from orchestration.resources import build
from serving.client import ScriptedModels

build(Settings(), models=ScriptedModels(fallback=lambda _: "The capital of France is Paris."))

from orchestration.definitions import defs  # noqa: E402 - must find the resources built

__all__ = ["defs"]


def main() -> None:
    """Work until SIGTERM."""
    from integrations import telemetry
    from orchestration.warm.assembly import build_worker

    settings = Settings()
    telemetry.setup("worker", log_level=settings.telemetry.log_level)
    worker = build_worker("core", settings).start()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    stop.wait()
    worker.drain(grace_s=2)


if __name__ == "__main__":
    main()
