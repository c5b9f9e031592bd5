"""A worker of a code location in this process, without Ray: `python -m orchestration.warm.worker LOCATION`."""

import os
import signal
import sys
import threading
import time
from types import FrameType

from integrations.heap import settle
from orchestration.warm.assembly import build_worker


def main() -> None:
    """Run a worker in this process until a signal ends it."""
    worker = build_worker(sys.argv[1]).start()
    settle()
    stop = threading.Event()

    def end(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    while not stop.is_set() and not worker.done.is_set():
        time.sleep(0.2)
    worker.drain()
    if worker.busy or worker.done.is_set():
        os._exit(0)  # a thread is stuck in C code; its run was handed back or given up
