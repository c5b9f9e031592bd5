"""Budgets hold for all processes together: what one has reserved, no other can, and the dead hold nothing for long."""

import subprocess
import sys
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from integrations.database import Database
from integrations.database.tables import holds, spending, usage
from integrations.errors import Unavailable
from orchestration.budgets import Budgets
from tests.budget_racer import FLEET

ROOT = Path(__file__).parents[2]


@contextmanager
def racer(database: Database, folder: Path, seconds: float) -> Generator["subprocess.Popen[str]"]:
    command = [sys.executable, "-m", "tests.budget_racer", database.url, str(folder), str(seconds)]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def said(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def go(process: "subprocess.Popen[str]") -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")


def affords(database: Database, price: float) -> bool:
    reserved = Budgets(database, lambda: FLEET).reserve("acme", [price], 60)
    assert reserved is not None
    return reserved.held.id is not None


def test_processes_that_race_for_a_budget_get_no_more_of_it_than_there_is(database: Database, tmp_path: Path):
    with ExitStack() as stack:
        racers = [stack.enter_context(racer(database, tmp_path, 600)) for _ in range(3)]
        assert [said(process) for process in racers] == ["ready"] * 3
        for process in racers:
            go(process)

        assert sum(int(said(process)) for process in racers) == 10
    assert not affords(database, 0.01)


def test_who_asks_while_another_holds_waits_for_what_is_left_then(database: Database):
    with ThreadPoolExecutor(1) as pool:
        with database.engine.begin() as first:
            assert first.execute(sa.text("select hold from runbell.hold('acme', '{10}', 10, null, 60)")).scalar()
            second = pool.submit(affords, database, 10)
            _until(lambda: _waiting(database) == 1)

        assert not second.result()


def test_what_a_process_held_that_was_killed_is_free_when_its_time_is_over(database: Database, tmp_path: Path):
    with racer(database, tmp_path, 2) as process:
        assert said(process) == "ready"
        go(process)
        assert said(process) == "10"
        process.kill()
        process.wait()

    _until(lambda: affords(database, 10))


def test_holding_and_settling_side_by_side_spends_the_budget_and_not_more(database: Database, tmp_path: Path):
    def spend(store: Database) -> int:
        budgets, got = Budgets(store, lambda: FLEET), 0
        while reserved := budgets.reserve("acme", [0.25], 60):
            if reserved.held.id is None:
                return got
            line = store.usage.record
            line(tenant="acme", model="paid", tokens_in=1, tokens_out=1, total_ms=1, price=0.25, hold=reserved.held.id)
            got += 1
        return got

    with closing(Database(database.url, files=tmp_path)) as other, ThreadPoolExecutor(8) as pool:
        got = sum(pool.map(spend, [database, other] * 4))

    assert got == 40
    with database.engine.connect() as connection:
        assert connection.scalar(sa.select(spending.c.price).where(spending.c.tenant == "acme")) == 10
        assert connection.scalar(sa.select(sa.func.count()).select_from(holds)) == 0


def test_what_was_spent_last_month_is_no_part_of_this_months_budget(database: Database):
    now = datetime.now(UTC)
    last_month = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0) - timedelta(microseconds=1)
    row = {"tenant": "acme", "model": "paid", "tokens_in": 1, "tokens_out": 1, "total_ms": 1.0}
    with database.engine.begin() as connection:
        for at, price in ((now, 3.0), (last_month, 7.0)):
            connection.execute(sa.insert(usage).values(**row, at=at, price=price))

    held = database.spending.hold("acme", [1.0], per_day=None, per_month=5, seconds=60)

    assert (held.left, held.today, held.this_month) == (2.0, 3.0, 3.0)


def test_a_tenant_without_a_budget_asks_no_database(tmp_path: Path):
    with closing(Database("postgresql://nobody@127.0.0.1:9/none", files=tmp_path)) as away:
        free = FLEET.model_copy(update={"policy": FLEET.policy.model_copy(update={"budget_per_day": None})})

        assert Budgets(away, lambda: free).reserve("acme", [1.0], 60) is None
        assert Budgets(away, lambda: FLEET).reserve("acme", [0.0], 60) is None
        with pytest.raises(Unavailable):
            Budgets(away, lambda: FLEET).reserve("acme", [1.0], 60)


def _waiting(database: Database) -> int:
    with database.engine.connect() as connection:
        waiting = sa.text("select count(*) from pg_locks where locktype = 'advisory' and not granted")
        return connection.execute(waiting).scalar_one()


def _until(true: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + 30
    while not true():
        assert time.monotonic() < give_up_at
        time.sleep(0.05)
