"""Ending with everything that was started, also where a benchmark is told to stop, or killed."""

import ctypes
import os
import signal
import subprocess
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from orchestration.supervise.processes import family, is_alive, send, wait_until_gone

TOLD = (signal.SIGTERM, signal.SIGHUP)
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def unwinding() -> Generator[None]:
    """Let SIGTERM and SIGHUP end this block as an exception does, so that every block around it ends what it began.

    A second signal is left unheard: it would break off the ending. To be entered by the main thread; elsewhere, as in a
    test's thread, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    ended = False

    def told(number: int, _frame: FrameType | None) -> None:
        nonlocal ended
        ended = True
        for each in TOLD:
            signal.signal(each, signal.SIG_IGN)
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, told) for number in TOLD}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_IGN if ended else handler)


def started(
    command: Sequence[str],
    *,
    orphaned: int = signal.SIGKILL,
    **options: Any,  # noqa: ANN401 - those of Popen
) -> subprocess.Popen[bytes]:
    """Start a process in a session of its own; it gets the signal `orphaned` where this process dies without a word.

    What has children that would outlive it, as Ray's head, is to be told with SIGTERM.
    """
    ours = os.getpid()

    def along() -> None:
        _libc.prctl(PR_SET_PDEATHSIG, orphaned)
        if os.getppid() != ours:  # it died meanwhile
            os._exit(1)

    # Between fork and exec only a system call is made, which no lock of another thread can hold up.
    return subprocess.Popen(command, start_new_session=True, preexec_fn=along, **options)  # noqa: PLW1509


def end(process: subprocess.Popen[bytes], within_s: float = 30) -> None:
    """End a process; what is left of its family then, or after that time, is killed."""
    relatives = family(process.pid)
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(within_s)
    left = [one for one in {*relatives, *family(process.pid)} if is_alive(one)]
    send(left, signal.SIGKILL)
    wait_until_gone(left, 10)
    process.wait(10)
