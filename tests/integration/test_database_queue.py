"""Which worker a run goes to when the code of a location changes, and what waits for workers."""

import uuid

import sqlalchemy as sa

from integrations.database import Database, RunClaim
from integrations.messages import Address, InboundMessage


def submitted(database: Database) -> str:
    run_id = str(uuid.uuid4())
    database.runs.submit(run_id, location="shop", job="sell")
    return run_id


def beat(database: Database, worker: str, version: str) -> None:
    database.workers.beat(worker, location="shop", pid=1, threads=1, busy=0, version=version)


def claimed(database: Database, worker: str, version: str, *, leaving: bool = False) -> list[RunClaim]:
    return database.runs.claim("shop", worker, version=version, leaving=leaving)


def parked(database: Database, version: str) -> RunClaim:
    """A run that began with a version, and waits for nothing any more."""
    submitted(database)
    (claim,) = claimed(database, "gone", version)
    database.runs.park(claim, {}, until=None)
    database.runs.wake(claim.run_id)
    return claim


def test_a_run_goes_on_with_the_code_it_began_with_while_a_worker_has_it(database: Database) -> None:
    run = parked(database, "one")
    beat(database, "old", "one")
    beat(database, "new", "two")

    assert claimed(database, "new", "two") == []
    (claim,) = claimed(database, "old", "one", leaving=True)

    assert (claim.run_id, claim.began_version) == (run.run_id, "one")


def test_without_such_a_worker_it_goes_on_with_other_code_and_says_so(database: Database) -> None:
    run = parked(database, "one")
    beat(database, "new", "two")

    (claim,) = claimed(database, "new", "two")

    assert (claim.run_id, claim.began_version) == (run.run_id, "one")
    queued = database.runs.get(run.run_id)
    assert queued is not None
    assert queued.version == "two"


def test_a_run_does_not_wait_long_for_a_worker_that_has_its_code_but_no_time(database: Database) -> None:
    run = parked(database, "one")
    beat(database, "old", "one")
    with database.engine.begin() as connection:
        connection.execute(sa.text("update runbell.run_queue set available_at = now() - interval '11 s'"))

    assert [claim.run_id for claim in claimed(database, "new", "two")] == [run.run_id]


def test_a_worker_that_leaves_takes_nothing_new(database: Database) -> None:
    run_id = submitted(database)
    beat(database, "old", "one")

    assert claimed(database, "old", "one", leaving=True) == []
    assert [claim.run_id for claim in claimed(database, "new", "two")] == [run_id]


def test_demand_counts_what_could_be_claimed_now_and_how_long_it_waits(database: Database) -> None:
    assert database.workers.demand() == {}
    taken = submitted(database)
    claimed(database, "one", "one")
    submitted(database)
    with database.engine.begin() as connection:
        connection.execute(sa.text("update runbell.run_queue set available_at = now() - interval '7 s'"))
    address = Address(channel="rest", conversation="a")
    for number in range(2):
        database.inbox.receive([InboundMessage(address=address, event_id=str(number), account="ada", text="hello")])

    demand = database.workers.demand()

    assert database.runs.get(taken) is not None
    assert demand["shop"].waiting == 1
    assert 7 <= demand["shop"].oldest_s < 60
    assert demand["core"].waiting == 1  # the second message waits for the first, not for a worker
