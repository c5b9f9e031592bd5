"""The terminal's side of `up` and `down`: it starts or stops the supervisor, and watches what that publishes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

import psutil

from orchestration.supervise import leftovers
from orchestration.supervise.board import Snapshot, read_board
from orchestration.supervise.home import Home
from orchestration.supervise.status import is_supervised, supervisor

POLL_S = 0.1
HOPELESS = 5
"""After so many deaths of one process in a row `up` stops waiting; the supervisor goes on trying."""

Watch = Callable[[Snapshot], None]


@dataclass(frozen=True)
class Outcome:
    """How `up` ended; `problems` are for people, each with what to do."""

    kind: Literal["ready", "already", "failed"]
    problems: tuple[str, ...] = ()
    seconds: float = 0.0


def up(home: Home, watch: Watch) -> Outcome:
    """Start everything, or join a start that is going on; return when a message can be answered, or never will."""
    home.create()
    began = time.monotonic()
    board = supervisor(home)
    if board is not None and board.phase == "ready":
        ill = [row for row in board.rows.values() if row.state not in ("ready", "done")]
        return Outcome("already", tuple(f"{row.name} is {row.state}: {row.detail}" for row in ill))
    if board is not None and board.phase == "stopping":
        return Outcome("failed", ("Runbell is just being stopped. Wait for `runbell down` to end, then try again.",))
    child = None if is_supervised(home) else _start(home)
    outcome = _follow(home, child, watch)
    return Outcome(outcome.kind, outcome.problems, time.monotonic() - began)


def down(home: Home, watch: Watch, patience_s: float = 120.0) -> list[str]:
    """Stop everything; return what could not be stopped, in words. Nothing running is no error."""
    problems: list[str] = []
    board = supervisor(home)
    if board is None and is_supervised(home):
        board = _await_board(home, 10.0)
    if board is not None and not _stop_supervisor(board, home, watch, patience_s):
        problems.append("The supervisor did not stop in time and was killed.")
    stubborn = leftovers.stop(home)
    problems += [f"{process.name()} (pid {process.pid}) can't be stopped." for process in stubborn]
    for path in (home.endpoints, home.state, home.serving_ready):
        path.unlink(missing_ok=True)
    home.remove_sockets()
    return problems


def _start(home: Home) -> "subprocess.Popen[bytes]":
    """Start the supervisor in a session of its own; it outlives this terminal."""
    log = home.log("supervisor")
    _trim(home)
    environment = {**os.environ, "RUNBELL_HOME": str(home.path)}
    environment.pop(leftovers.MARK, None)
    with log.open("ab") as output:
        log.chmod(0o600)
        return subprocess.Popen(
            [sys.executable, "-m", "orchestration.supervise"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            env=environment,
        )


def _trim(home: Home) -> None:
    """Keep the supervisor's own log, which it can't rotate while it writes, to two generations."""
    log = home.log("supervisor")
    if log.exists() and log.stat().st_size > 5_000_000:
        log.replace(log.with_name(f"{log.name}.1"))


def _follow(home: Home, child: "subprocess.Popen[bytes] | None", watch: Watch) -> Outcome:
    while True:
        board = _current(home, child)
        if board is not None:
            watch(board)
            if (outcome := _judge(board, home)) is not None:
                return outcome
        if child is not None and child.poll() is not None:
            if child.returncode != 3:
                return Outcome("failed", _why(home, child.returncode, board))
            child = None  # Another `up` was faster: watch its start.
        elif child is None and not is_supervised(home):
            return Outcome("failed", ("The start was broken off by someone else. Try `runbell up` again.",))
        time.sleep(POLL_S)


def _judge(board: Snapshot, home: Home) -> Outcome | None:
    if board.phase == "ready":
        return Outcome("ready")
    if board.phase == "failed":
        return Outcome("failed", tuple(board.problems))
    hopeless = _hopeless(board, home) if board.phase == "starting" else ()
    return Outcome("failed", hopeless) if hopeless else None


def _current(home: Home, child: "subprocess.Popen[bytes] | None") -> Snapshot | None:
    """Return what the live supervisor published; what an earlier one left behind must not be mistaken for it."""
    if child is None:
        return supervisor(home)
    board = read_board(home.state)
    return board if board is not None and board.supervisor_pid == child.pid else None


def _hopeless(board: Snapshot, home: Home) -> tuple[str, ...]:
    return tuple(
        f"{row.name} can't be started: {row.detail}. Its log: {home.log(row.name)}. It is tried again in the "
        "background; see `runbell status`, or stop with `runbell down`."
        for row in board.rows.values()
        if row.restarts >= HOPELESS and row.state == "restarting"
    )


def _why(home: Home, status: int, board: Snapshot | None) -> tuple[str, ...]:
    if board is not None and board.problems:
        return tuple(board.problems)
    last = ""
    with suppress(OSError):
        lines = home.log("supervisor").read_text(encoding="utf-8", errors="replace").strip().splitlines()
        last = lines[-1][:500] if lines else ""
    return (f"The supervisor ended with status {status}: {last or 'it said nothing'}. Try `runbell doctor`.",)


def _await_board(home: Home, seconds: float) -> Snapshot | None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and is_supervised(home):
        if (board := supervisor(home)) is not None:
            return board
        time.sleep(POLL_S)
    return None


def _stop_supervisor(board: Snapshot, home: Home, watch: Watch, patience_s: float) -> bool:
    process = psutil.Process(board.supervisor_pid)
    process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        if (current := read_board(home.state)) is not None:
            watch(current)
        try:
            process.wait(POLL_S)
        except psutil.TimeoutExpired:
            continue
        return True
    process.kill()
    return False
