"""`python -m orchestration.supervise`: the supervisor itself. `runbell up` starts it; it ends on SIGTERM.

Exit status: 0 after an orderly stop, 1 where a start is impossible (state.json says why), 3 where another
supervisor of this home is running.
"""

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import version
from urllib.parse import urlsplit

import psutil
from filelock import FileLock, Timeout

from integrations.errors import RunbellError
from integrations.settings import Settings
from integrations.telemetry.logs import configure
from orchestration.supervise import leftovers, preflight
from orchestration.supervise.board import Board, Row, Snapshot
from orchestration.supervise.home import Home
from orchestration.supervise.output import Output, RotatingFile
from orchestration.supervise.plan import choose_endpoints, environment, make_plan
from orchestration.supervise.processes import become_subreaper, is_alive, send
from orchestration.supervise.spec import Spec, Step
from orchestration.supervise.supervisor import Supervisor

RUNNING = 3
_log = logging.getLogger("runbell.supervisor")


def main() -> int:
    """Supervise until told to stop; return the exit status."""
    settings = Settings()
    configure("supervisor", settings.telemetry.log_level, sys.stderr)
    home = Home(settings.state)
    home.create()
    try:
        with FileLock(home.lock, timeout=2, mode=0o600):
            return supervise(settings, home)
    except Timeout:
        _log.info("another supervisor of %s is running", home.path)
        return RUNNING


def supervise(settings: Settings, home: Home) -> int:
    """Run everything; the caller holds the lock."""
    board = _board(home)
    try:
        _clear(home, board)
        endpoints = choose_endpoints(settings, home)
        plan = make_plan(settings, home, endpoints)
        secrets = _secrets(settings, home, endpoints.database_url)
    except (RunbellError, OSError) as error:
        return _fail(board, [str(error)])
    if found := preflight.problems(plan, home):
        return _fail(board, found)
    board.snapshot.rows = {what.name: _row(what) for what in plan}
    become_subreaper()
    outputs = _outputs(settings, home, secrets)
    supervisor = Supervisor(plan, board, outputs, environment(home, endpoints))
    asyncio.run(_until_signalled(supervisor))
    _sweep()
    return 0


def _clear(home: Home, board: Board) -> None:
    """End what an earlier start left."""
    if found := leftovers.find(home):
        _log.warning("%d processes of an earlier start are still there; ending them", len(found))
        board.snapshot.problems = [f"ending {len(found)} processes that an earlier start left"]
        board.publish(time.time())
        leftovers.stop(home)
        board.snapshot.problems = []
    board.publish(time.time())


def _board(home: Home) -> Board:
    now = time.time()
    began = psutil.Process().create_time()
    snapshot = Snapshot(supervisor_pid=os.getpid(), supervisor_began=began, began_at=now, version=version("runbell"))
    return Board(home.state, snapshot)


def _row(what: Spec | Step) -> Row:
    if isinstance(what, Step) or what.once:
        return Row(what.name, kind="step")
    return Row(what.name, port=what.port, stop_signal=int(what.stop_signal))


def _fail(board: Board, found: list[str]) -> int:
    for problem in found:
        _log.error("%s", problem)
    board.snapshot.phase, board.snapshot.problems = "failed", found
    board.publish(time.time())
    return 1


async def _until_signalled(supervisor: Supervisor) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    await supervisor.run(stop)


def _sweep() -> None:
    """End whatever this subreaper adopted and nobody claimed."""
    orphans = psutil.Process().children(recursive=True)
    send([orphan for orphan in orphans if is_alive(orphan)], signal.SIGKILL)
    psutil.wait_procs(orphans, timeout=5.0)


def _outputs(settings: Settings, home: Home, secrets: Sequence[str]) -> Callable[[str], Output]:
    limit, keep = settings.telemetry.log_megabytes * 1_000_000, settings.telemetry.log_files

    def output(name: str) -> Output:
        file = RotatingFile(home.log(name), limit=limit, keep=keep)
        return Output(name, file, now=lambda: datetime.now(UTC), secrets=secrets)

    return output


def _secrets(settings: Settings, home: Home, database_url: str) -> list[str]:
    """Return what must never stand in a log, whoever prints it."""
    secrets = [(home.path / "token").read_text(encoding="utf-8").strip()]
    secrets.append(home.ray_token.read_text(encoding="utf-8").strip())
    if password := urlsplit(database_url).password:
        secrets.append(password)
    with suppress(RunbellError):
        if settings.serving.api_key:
            from integrations.security.secrets import resolve

            secrets.append(resolve(settings.serving.api_key, name="serving.api_key").get_secret_value())
    return secrets


if __name__ == "__main__":
    sys.exit(main())
