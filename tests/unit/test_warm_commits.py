"""Group commit: order, durability on flush, refusals, a database that is away, rows that can't be stored."""

import threading
import time
from collections.abc import Callable

import pytest

from integrations.errors import LeaseLost, Unavailable
from orchestration.warm.commits import GroupCommit, Row


def row(run_id: str, number: int) -> Row:
    return Row("event", run_id, {"number": number})


class Table:
    """A database that stores batches; `answer` may raise or refuse."""

    def __init__(self, answer: Callable[[list[Row]], set[str]] = lambda _: set()) -> None:
        self.batches: list[list[Row]] = []
        self._answer = answer

    def write(self, batch: list[Row], *, again: bool = False) -> set[str]:
        refused = self._answer(batch)
        self.batches.append([one for one in batch if one.run_id not in refused])
        return refused

    @property
    def rows(self) -> list[Row]:
        return [one for batch in self.batches for one in batch]


def test_rows_are_stored_in_order_within_the_delay() -> None:
    table = Table()
    commits = GroupCommit(table.write, delay_s=0.01)
    added = [row("a", n) for n in range(50)]

    for one in added:
        commits.add(one)
    deadline = time.monotonic() + 5
    while len(table.rows) < 50 and time.monotonic() < deadline:
        time.sleep(0.005)

    assert table.rows == added
    assert len(table.batches) < 50
    commits.close()


def test_flush_returns_only_once_everything_before_it_is_stored() -> None:
    table = Table(lambda _: time.sleep(0.02) or set())
    commits = GroupCommit(table.write, delay_s=10)
    missing: list[int] = []

    def work(name: str) -> None:
        for number in range(20):
            commits.add(row(name, number))
            commits.flush(name)
            stored = sum(one.run_id == name for one in table.rows)
            if stored <= number:
                missing.append(number)

    threads = [threading.Thread(target=work, args=(f"run{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert missing == []
    assert len(table.batches) < 8 * 20
    for name in (f"run{n}" for n in range(8)):
        assert [one.values["number"] for one in table.rows if one.run_id == name] == list(range(20))
    commits.close()


def test_a_run_whose_lease_is_lost_is_refused_and_the_others_are_stored() -> None:
    table = Table(lambda batch: {"lost"} & {one.run_id for one in batch})
    commits = GroupCommit(table.write, delay_s=10)
    commits.add(row("lost", 1))
    commits.add(row("kept", 1))

    commits.flush("kept")

    assert [one.run_id for one in table.rows] == ["kept"]
    with pytest.raises(LeaseLost):
        commits.flush("lost")
    with pytest.raises(LeaseLost):
        commits.add(row("lost", 2))
    commits.admit("lost", 2)
    commits.add(row("lost", 3))
    commits.close()


def test_rows_wait_while_the_database_is_away() -> None:
    outages = iter([Unavailable("away"), Unavailable("away")])

    def answer(_: list[Row]) -> set[str]:
        for error in outages:
            raise error
        return set()

    table = Table(answer)
    commits = GroupCommit(table.write, delay_s=10)
    commits.add(row("a", 1))

    commits.flush("a")

    assert len(table.rows) == 1
    commits.close()


def test_patience_ends_and_the_rows_are_kept_for_later() -> None:
    away = [True]

    def answer(_: list[Row]) -> set[str]:
        if away[0]:
            raise Unavailable("away")
        return set()

    table = Table(answer)
    commits = GroupCommit(table.write, delay_s=10, patience_s=0)
    commits.add(row("a", 1))
    with pytest.raises(Unavailable):
        commits.flush("a")

    away[0] = False
    commits.flush("a")

    assert len(table.rows) == 1
    commits.close()


def test_a_row_that_cannot_be_stored_does_not_keep_the_others_away(caplog: pytest.LogCaptureFixture) -> None:
    def answer(batch: list[Row]) -> set[str]:
        if any(one.run_id == "bad" for one in batch):
            raise ValueError("can't be stored")
        return set()

    table = Table(answer)
    commits = GroupCommit(table.write, delay_s=10)
    for number in range(5):
        commits.add(row("good", number))
    commits.add(row("bad", 0))
    commits.add(row("good", 5))

    commits.flush("good")

    assert [one.values["number"] for one in table.rows] == list(range(6))
    with pytest.raises(ValueError, match="can't be stored"):
        commits.flush("bad")
    assert "can't be stored" in caplog.text
    commits.close()


def test_rows_are_written_under_the_lease_of_the_instant_at_which_they_were_added() -> None:
    away = threading.Event()
    seen: list[list[int | None]] = []

    def answer(batch: list[Row]) -> set[str]:
        seen.append([one.token for one in batch])
        if not away.is_set():
            raise Unavailable("away")
        return {one.run_id for one in batch if one.token == 1}

    table = Table(answer)
    commits = GroupCommit(table.write, delay_s=0.001)
    commits.admit("a", 1)
    commits.add(row("a", 1))
    _soon(lambda: bool(seen))
    commits.refuse("a")  # the lease is lost, and this very process claims the run again
    commits.admit("a", 2)
    commits.add(row("a", 2))
    away.set()
    commits.flush("a")

    assert [(one.values["number"], one.token) for one in table.rows] == [(2, 2)]
    commits.close()


def test_what_an_earlier_lease_left_behind_is_not_written() -> None:
    table = Table()
    commits = GroupCommit(table.write, delay_s=10)
    commits.admit("a", 1)
    commits.add(row("a", 1))
    commits.refuse("a")
    commits.admit("a", 2)
    commits.add(row("a", 2))
    commits.flush("a")

    assert [one.values["number"] for one in table.rows] == [2]
    commits.close()


def test_a_thread_whose_run_was_claimed_anew_by_its_own_process_writes_nothing_and_disturbs_nobody() -> None:
    table = Table()
    commits = GroupCommit(table.write, delay_s=10)
    commits.admit("a", 1)
    other = threading.Thread(target=commits.admit, args=("a", 2))
    other.start()
    other.join()

    with pytest.raises(LeaseLost):
        commits.add(row("a", 1))
    commits.refuse("a")

    assert commits.holds("a")
    commits.close()


def _soon(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.001)
