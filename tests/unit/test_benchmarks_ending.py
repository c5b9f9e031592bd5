"""A benchmark that is told to stop, or killed, leaves no process behind."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = """
import sys, time
from benchmarks.ending import end, started, unwinding
with unwinding():
    child = started([sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"], stdout=-1)
    child.stdout.readline()
    try:
        print(child.pid, flush=True)
        time.sleep(600)
    finally:
        end(child)
        print("ended", flush=True)
"""


@pytest.mark.parametrize(
    ("number", "status", "said"), [(15, 128 + 15, "ended\n"), (1, 128 + 1, "ended\n"), (9, -9, "")]
)
def test_its_processes_end_with_it(number: int, status: int, said: str) -> None:
    program = subprocess.Popen([sys.executable, "-c", PROGRAM], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert program.stdout is not None
    child = psutil.Process(int(program.stdout.readline()))

    program.send_signal(signal.Signals(number))

    assert program.wait(20) == status
    assert program.stdout.read() == said
    program.stdout.close()
    _wait_until_gone(child)


def _wait_until_gone(process: psutil.Process) -> None:
    until = time.monotonic() + 20
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < until, "it runs on"
        time.sleep(0.02)
