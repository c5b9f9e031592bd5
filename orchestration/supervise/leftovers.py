"""Processes of an earlier start whose supervisor is gone.

They are found by their session, or by the mark in their environment.
"""

import os
import signal
from contextlib import suppress

import psutil

from orchestration.supervise.board import Row, read_board
from orchestration.supervise.home import Home
from orchestration.supervise.processes import is_alive, send, session

MARK = "RUNBELL_PROCESS"
REMEDY = "`runbell up` takes over and starts anew, `runbell down` ends them."


def find(home: Home) -> list[psutil.Process]:
    """Return what still lives of an earlier start in this home, descendants included."""
    found = {process.pid: process for process in [*_recorded(home), *_marked(home)]}
    for process in list(found.values()):
        with suppress(psutil.Error):
            found |= {child.pid: child for child in process.children(recursive=True)}
    mine = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    return [process for process in found.values() if process.pid not in mine and is_alive(process)]


def stop(home: Home, grace_s: float = 8.0) -> list[psutil.Process]:
    """End them, in order first and by force after `grace_s`; return those that could not be ended."""
    leftovers = find(home)
    servers = [process for process in leftovers if _name(process) == "postgres"]
    others = [process for process in leftovers if process not in servers]
    send(others, signal.SIGTERM)
    _, stubborn = psutil.wait_procs(others, timeout=grace_s)
    send(stubborn, signal.SIGKILL)
    # Only the first server process is asked: it ends its own children, and writes everything.
    send([server for server in servers if _name(_parent(server)) != "postgres"], signal.SIGINT)
    _, slow = psutil.wait_procs([*servers, *stubborn], timeout=grace_s)
    send(slow, signal.SIGKILL)
    psutil.wait_procs(slow, timeout=5.0)
    return [process for process in [*find(home), *slow] if is_alive(process)]


def _recorded(home: Home) -> list[psutil.Process]:
    board = read_board(home.state)
    if board is None:
        return []
    return [member for row in board.rows.values() if row.pid for member in _session_of(row, row.pid)]


def _session_of(row: Row, pid: int) -> list[psutil.Process]:
    """Return the session that a row's process led, unless its number belongs to somebody else by now."""
    with suppress(psutil.Error):
        leader = psutil.Process(pid)
        if row.began_at is None or leader.create_time() > row.began_at + 60:
            return []
    return session(pid)


def _marked(home: Home) -> list[psutil.Process]:
    marked: list[psutil.Process] = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            environment = process.environ()
            if environment.get(MARK) and environment.get("RUNBELL_HOME") == str(home.path):
                marked.append(process)
    return marked


def _parent(process: psutil.Process) -> psutil.Process | None:
    try:
        return process.parent()
    except psutil.Error:
        return None


def _name(process: psutil.Process | None) -> str:
    try:
        return process.name() if process else ""
    except psutil.Error:
        return ""
