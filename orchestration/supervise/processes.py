"""Which live processes belong to one of ours, and how to end them all.

Each child leads a session of its own, and Linux does not give a session's number away while any member lives: so
a session is an exact name for a family, however its members were re-parented or renamed.
"""

import os
import signal
import time
from collections.abc import Iterable
from contextlib import suppress

import psutil


def family(pid: int) -> list[psutil.Process]:
    """Return the process, its session and all descendants, those that left the session included."""
    found: dict[int, psutil.Process] = {}
    with suppress(psutil.Error):
        found[pid] = psutil.Process(pid)
        found |= {child.pid: child for child in found[pid].children(recursive=True)}
    for member in session(pid):
        found[member.pid] = member
        with suppress(psutil.Error):
            found |= {child.pid: child for child in member.children(recursive=True)}
    return list(found.values())


def session(number: int) -> list[psutil.Process]:
    """Return the live members of a session."""
    members: list[psutil.Process] = []
    for pid in psutil.pids():
        with suppress(ProcessLookupError, PermissionError, psutil.Error):
            if os.getsid(pid) == number:
                members.append(psutil.Process(pid))
    return members


def is_alive(process: psutil.Process) -> bool:
    """Whether it runs; a zombie does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def send(processes: Iterable[psutil.Process], number: int) -> None:
    """Send a signal to those that still are who they were."""
    for process in processes:
        with suppress(psutil.Error, ProcessLookupError):
            process.send_signal(signal.Signals(number))


def wait_until_gone(processes: Iterable[psutil.Process], seconds: float) -> None:
    """Block until all have ended, without collecting them: a child's own waiter must hear of its end."""
    deadline = time.monotonic() + seconds
    while any(is_alive(process) for process in processes) and time.monotonic() < deadline:
        time.sleep(0.02)


def reap(known: Iterable[int]) -> None:
    """Collect orphans that ended after this process, a subreaper, adopted them; `known` have their own waiters."""
    known = set(known)
    for child in psutil.Process().children():
        with suppress(psutil.Error, ChildProcessError):
            if child.pid not in known and child.status() == psutil.STATUS_ZOMBIE:
                os.waitpid(child.pid, os.WNOHANG)


def become_subreaper() -> None:
    """Adopt every orphaned descendant from now on (Linux); elsewhere sessions alone must do."""
    import ctypes

    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
