"""The real PostgreSQL, Chroma and Ray under the supervisor: loopback only, private, and gone when stopped."""

import asyncio
import os
import stat
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import psutil
import psycopg
import pytest

from integrations.settings import Settings
from orchestration.supervise import postgres
from orchestration.supervise.board import Board, Row, Snapshot
from orchestration.supervise.home import Home
from orchestration.supervise.output import Output, RotatingFile
from orchestration.supervise.plan import Endpoints, choose_endpoints, environment, make_plan
from orchestration.supervise.processes import family, is_alive
from orchestration.supervise.supervisor import Supervisor

pytestmark = pytest.mark.timeout(180)
WORKSPACE = "load_from:\n  - python_module: {module_name: orchestration.definitions, location_name: core}\n"


class Installation:
    """Some parts of a platform in a home of their own."""

    def __init__(self, folder: Path) -> None:
        workspace = folder / "workspace.yaml"
        workspace.write_text(WORKSPACE)
        self.settings = Settings.model_validate({"home": folder / "home", "dagster": {"workspace": workspace}})
        self.home = Home(self.settings.state)
        self.home.create()
        self.endpoints: Endpoints = choose_endpoints(self.settings, self.home)

    @asynccontextmanager
    async def running(self, *names: str) -> AsyncIterator[Board]:
        plan = [what for what in make_plan(self.settings, self.home, self.endpoints) if what.name in names]
        rows = {what.name: Row(what.name) for what in plan}
        board = Board(self.home.state, Snapshot(supervisor_pid=os.getpid(), rows=rows))
        env = environment(self.home, self.endpoints)
        supervisor, stop = Supervisor(plan, board, self._output, env), asyncio.Event()
        task = asyncio.create_task(supervisor.run(stop))
        try:
            await until(lambda: board.snapshot.phase == "ready")
            yield board
        finally:
            stop.set()
            await task

    def _output(self, name: str) -> Output:
        file = RotatingFile(self.home.log(name), limit=1_000_000, keep=2)
        return Output(name, file, now=lambda: datetime.now(UTC))


async def until(condition: Callable[[], bool], seconds: float = 90.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in other processes
            await asyncio.sleep(0.05)


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    # The folders of tests are long: this also tries the short folder for sockets.
    made = Installation(tmp_path)
    yield made
    made.home.remove_sockets()


def relatives(board: Board) -> list[psutil.Process]:
    return [one for row in board.snapshot.rows.values() if row.pid for one in family(row.pid)]


async def test_everything_listens_on_loopback_only_and_nothing_is_left(installation: Installation) -> None:
    async with installation.running("database", "chroma", "ray") as board:
        processes = relatives(board)
        pids = {process.pid for process in processes}
        listening = {
            connection.laddr.ip
            for connection in psutil.net_connections("inet")
            if connection.pid in pids and connection.status == psutil.CONN_LISTEN
        }

    assert len(pids) > 5
    assert listening <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
    assert [process for process in processes if is_alive(process)] == []


async def test_only_the_owner_can_reach_the_embedded_database(installation: Installation) -> None:
    async with installation.running("database") as board:
        pid = board.row("database").pid
        assert pid is not None
        server = psutil.Process(pid)

        assert server.net_connections("inet") == []
        assert server.uids().effective != 0
        for folder in (installation.home.path, installation.home.sockets, installation.home.path / "postgres"):
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700


async def test_data_outlives_a_stop_and_a_kill(installation: Installation) -> None:
    url = installation.endpoints.database_url
    async with installation.running("database"):
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("create table kept (what text)")
            connection.execute("insert into kept values ('你好')")

    async with installation.running("database") as board:
        pid = board.row("database").pid
        assert pid is not None
        psutil.Process(pid).kill()
        await until(lambda: board.row("database").restarts == 1 and board.row("database").state == "ready")

        with psycopg.connect(url, autocommit=True) as connection:
            assert connection.execute("select what from kept").fetchone() == ("你好",)


async def test_what_a_broken_off_start_left_is_cleared_away(installation: Installation) -> None:
    data = installation.home.path / "postgres"
    data.mkdir()
    (data / "half").touch()
    draft = data.with_name("postgres.new")
    draft.mkdir()
    (draft / "half").touch()

    async with installation.running("database"):
        assert (data / "PG_VERSION").exists()

    assert not draft.exists()
    assert [path for path in installation.home.path.glob("postgres.broken-*") if (path / "half").exists()]


async def test_a_pid_file_whose_number_now_belongs_to_another_is_no_obstacle(installation: Installation) -> None:
    async with installation.running("database"):
        pass
    pid_file = installation.home.path / "postgres" / "postmaster.pid"
    pid_file.write_text(f"{os.getpid()}\n{pid_file.parent}\n1\n5432\n\n\n")

    async with installation.running("database") as board:
        assert board.row("database").restarts == 0


def test_a_live_server_is_never_started_twice(installation: Installation, tmp_path: Path, postgres_pid: int) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "PG_VERSION").write_text("18")
    (data / "postmaster.pid").write_text(f"{postgres_pid}\n")

    with pytest.raises(Exception, match=f"Another PostgreSQL .pid {postgres_pid}. still uses"):
        postgres.prepare(data, tmp_path)


@pytest.fixture
def postgres_pid(postgres: str) -> int:
    with psycopg.connect(postgres) as connection:
        row = connection.execute("select pg_backend_pid()").fetchone()
        assert row is not None
        parent = psutil.Process(row[0]).parent()
    assert parent is not None
    return parent.pid
