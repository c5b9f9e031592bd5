"""The supervisor with tiny children: it starts, restarts, waits and stops."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from orchestration.supervise.backoff import Backoff
from orchestration.supervise.board import Board, Row, Snapshot, read_board
from orchestration.supervise.home import read_json
from orchestration.supervise.keeper import Clock
from orchestration.supervise.output import Output, RotatingFile
from orchestration.supervise.ports import PortSetting, free_port
from orchestration.supervise.processes import is_alive
from orchestration.supervise.spec import Report, Spec, Step
from orchestration.supervise.supervisor import Supervisor

FOREVER = "import time; time.sleep(600)"


class FakeClock:
    """Time that passes only by sleeping, and no chance."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds
        await asyncio.sleep(0.002)

    def clock(self) -> Clock:
        return Clock(now=lambda: self.time, sleep=self.sleep, random=lambda: 1.0)


class Running:
    """A supervisor over tiny children, and ways to wait for what it says."""

    def __init__(self, home: Path, plan: Sequence[Spec | Step], clock: Clock) -> None:
        self.path = home / "state.json"
        rows = {what.name: Row(what.name) for what in plan}
        self.board = Board(self.path, Snapshot(supervisor_pid=os.getpid(), rows=rows))
        self.home = home
        self.supervisor = Supervisor(plan, self.board, self._output, dict(os.environ), clock)
        self.stop = asyncio.Event()

    def _output(self, name: str) -> Output:
        file = RotatingFile(self.home / f"{name}.log", limit=100_000, keep=2)
        return Output(name, file, now=lambda: datetime.now(UTC))

    def row(self, name: str) -> Row:
        return self.board.row(name)

    async def until(self, condition: Callable[[], bool], seconds: float = 15.0) -> None:
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110 - what is waited for happens in other processes
                await asyncio.sleep(0.01)


@asynccontextmanager
async def running(home: Path, *plan: Spec | Step, clock: Clock | None = None) -> AsyncIterator[Running]:
    live = Running(home, plan, clock or Clock())
    task = asyncio.create_task(live.supervisor.run(live.stop))
    try:
        yield live
    finally:
        live.stop.set()
        await task


def child(name: str, code: str, **more: object) -> Spec:
    async def ready() -> str | None:
        return None

    options = {"ready": ready, "grace_s": 5.0, **more}
    return Spec(name, (sys.executable, "-c", code), **options)  # type: ignore[arg-type]


async def test_a_child_that_dies_is_started_again_ever_later(tmp_path: Path) -> None:
    clock = FakeClock()
    dying = child("dying", "import sys; print('no luck'); sys.exit(3)", ready=_never)

    async with running(tmp_path, dying, clock=clock.clock()) as live:
        await live.until(lambda: live.row("dying").restarts >= 5)

    delays = [seconds for seconds in clock.slept if seconds not in (0.15, 5.0)]
    assert delays[:5] == [0.5, 1.0, 2.0, 4.0, 8.0]


async def _never() -> str | None:
    return "not yet"


async def test_the_state_says_how_a_child_died_and_what_it_said(tmp_path: Path) -> None:
    dying = child("dying", "import sys; print('the disk is purple'); sys.exit(3)", ready=_never)

    async with running(tmp_path, dying) as live:
        await live.until(lambda: live.row("dying").state == "restarting")

        assert live.row("dying").detail.startswith("ended with status 3: the disk is purple; again in ")


async def test_a_killed_child_is_replaced_by_another(tmp_path: Path) -> None:
    async with running(tmp_path, child("long", FOREVER)) as live:
        await live.until(lambda: live.row("long").state == "ready")
        first = live.row("long").pid
        assert first is not None
        os.kill(first, signal.SIGKILL)

        await live.until(lambda: live.row("long").restarts == 1 and live.row("long").state == "ready")

        assert live.row("long").pid != first
        assert live.row("long").died == "was ended by SIGKILL"


async def test_a_child_that_ignores_the_signal_is_killed_after_its_grace(tmp_path: Path) -> None:
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf'); time.sleep(600)"
    log = tmp_path / "deaf.log"

    async with running(tmp_path, child("deaf", code, grace_s=0.3)) as live:
        await live.until(lambda: "deaf" in log.read_text())
        pid = live.row("deaf").pid

    assert pid is not None
    assert not lives(pid)


async def test_grandchildren_in_sessions_of_their_own_are_ended_too(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys, time\n"
        "c = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True)\n"
        "print('grandchild', c.pid, flush=True); time.sleep(600)"
    )
    log = tmp_path / "parent.log"

    async with running(tmp_path, child("parent", code)) as live:
        await live.until(lambda: "grandchild" in log.read_text())
        grandchild = int(str(read_json_line(log)["message"]).split()[1])
        assert psutil.pid_exists(grandchild)

    assert not lives(grandchild)


def lives(pid: int) -> bool:
    """A zombie that its parent has not collected yet is dead."""
    return psutil.pid_exists(pid) and is_alive(psutil.Process(pid))


def read_json_line(path: Path) -> dict[str, object]:
    import json

    return json.loads(path.read_text().splitlines()[0])


async def test_what_needs_something_waits_for_it_and_says_so(tmp_path: Path) -> None:
    ready: list[bool] = []

    async def is_ready() -> str | None:
        return None if ready else "warming up"

    base = child("base", FOREVER, ready=is_ready)
    upper = child("upper", FOREVER, needs=("base",))
    async with running(tmp_path, base, upper) as live:
        await live.until(lambda: live.row("base").detail == "warming up")
        assert (live.row("upper").state, live.row("upper").detail) == ("waiting", "waiting for base")
        ready.append(True)

        await live.until(lambda: live.row("upper").state == "ready")


async def test_what_is_needed_stops_last(tmp_path: Path) -> None:
    stopped = tmp_path / "order"
    code = (
        "import signal, sys, time, pathlib\n"
        f"def end(*_):\n    open({str(stopped)!r}, 'a').write(sys.argv[1]); sys.exit()\n"
        "signal.signal(15, end); print('up', flush=True); time.sleep(600)"
    )

    def named(name: str, *needs: str) -> Spec:
        spec = child(name, code, needs=needs)
        return Spec(**{**spec.__dict__, "argv": (*spec.argv, name)})

    async with running(tmp_path, named("a"), named("b", "a"), named("c", "b")) as live:
        for name in "abc":
            await live.until(lambda name=name: "up" in (tmp_path / f"{name}.log").read_text())

    assert stopped.read_text() == "cba"


async def test_a_step_is_tried_again_until_it_succeeds(tmp_path: Path) -> None:
    tries: list[int] = []

    async def flaky(report: Report) -> None:
        tries.append(1)
        report("half", 0.5)
        if len(tries) < 3:
            raise OSError("no network")

    async with running(tmp_path, Step("pull", flaky), clock=FakeClock().clock()) as live:
        await live.until(lambda: live.row("pull").state == "done")

    assert len(tries) == 3


async def test_a_child_that_runs_once_is_a_step(tmp_path: Path) -> None:
    once = child("once", "print('done')", once=True, ready=None)

    async with running(tmp_path, once, child("after", FOREVER, needs=("once",))) as live:
        await live.until(lambda: live.row("after").state == "ready")

        assert (live.row("once").state, live.row("once").restarts) == ("done", 0)


async def test_everything_ready_makes_the_phase_ready_and_publishes_it(tmp_path: Path) -> None:
    async with running(tmp_path, child("only", FOREVER)) as live:
        await live.until(lambda: live.board.snapshot.phase == "ready")
        await live.until(lambda: read_json(live.path).get("phase") == "ready")
        published = read_board(live.path)

    assert published is not None
    assert published.rows["only"].pid is not None


async def test_a_child_that_stops_answering_is_replaced(tmp_path: Path) -> None:
    clock = FakeClock()
    well = [True]

    async def probe() -> str | None:
        return None if well else "no answer yet"

    hung = child("hung", FOREVER, ready=probe, hung_after_s=60.0)
    async with running(tmp_path, hung, clock=clock.clock()) as live:
        await live.until(lambda: live.row("hung").state == "ready")
        well.clear()
        await live.until(lambda: live.row("hung").restarts >= 1)


async def test_a_taken_port_is_told_with_its_holder_and_the_setting(tmp_path: Path) -> None:
    import socket

    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        setting = PortSetting("127.0.0.1", port, "RUNBELL_GATEWAY__PORT", "gateway.port")
        async with running(tmp_path, child("gateway", FOREVER, port_setting=setting)) as live:
            await live.until(lambda: live.row("gateway").state == "restarting")
            detail = live.row("gateway").detail

    assert f"Port {port} is taken by" in detail
    assert f"(pid {os.getpid()})" in detail
    assert f"RUNBELL_GATEWAY__PORT={port + 1}" in detail


async def test_a_port_that_becomes_free_is_used(tmp_path: Path) -> None:
    import socket

    holder = socket.socket()
    holder.bind(("127.0.0.1", 0))
    holder.listen()
    setting = PortSetting("127.0.0.1", holder.getsockname()[1], "RUNBELL_GATEWAY__PORT", "gateway.port")
    async with running(tmp_path, child("gateway", FOREVER, port_setting=setting), clock=FakeClock().clock()) as live:
        await live.until(lambda: live.row("gateway").state == "restarting")
        holder.close()

        await live.until(lambda: live.row("gateway").state == "ready")


def test_a_long_life_is_forgiven() -> None:
    backoff = Backoff(lambda: 1.0)
    short = [backoff.after(0.1) for _ in range(9)]

    assert short == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    assert backoff.after(61.0) == 0.5


def test_jitter_halves_a_delay_at_most() -> None:
    assert Backoff(lambda: 0.0).after(0) == 0.25


def test_a_free_port_is_kept_when_it_is_free_still() -> None:
    port = free_port()

    assert free_port(port) == port


@pytest.fixture(autouse=True)
def _no_child_is_left() -> Iterator[None]:
    yield
    with suppress(psutil.Error):
        left = [one for one in psutil.Process().children() if FOREVER in " ".join(one.cmdline())]
        assert not left
