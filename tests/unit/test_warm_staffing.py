"""How many workers there should be: decisions on plain values."""

import pytest
from pydantic import ValidationError

from integrations.database import Demand
from integrations.settings import Settings, Workers
from orchestration.warm.staffing import Crew, one_too_many, share, wanted, worn

FOUR = Workers(min=1, max=4, threads=8, grow_after_s=3, shrink_after_s=120)


def test_a_crew_grows_to_what_the_work_needs_once_something_has_waited_too_long() -> None:
    busy = Crew(workers=1, busy=8)

    assert wanted(FOUR, busy, Demand(waiting=10, oldest_s=2.9)) == 1
    assert wanted(FOUR, busy, Demand(waiting=10, oldest_s=3.0)) == 3


def test_a_crew_grows_to_its_maximum_at_most() -> None:
    assert wanted(FOUR, Crew(workers=1, busy=8), Demand(waiting=1_000, oldest_s=60)) == 4


def test_what_waits_although_threads_are_free_starts_no_worker() -> None:
    assert wanted(FOUR, Crew(workers=2, busy=3), Demand(waiting=2, oldest_s=60)) == 2


def test_a_crew_shrinks_by_one_after_it_was_too_large_for_long() -> None:
    assert wanted(FOUR, Crew(workers=3, busy=1, quiet_s=119), Demand()) == 3
    assert wanted(FOUR, Crew(workers=3, busy=1, quiet_s=120), Demand()) == 2
    assert wanted(FOUR, Crew(workers=1, quiet_s=999), Demand()) == 1


def test_a_worker_is_one_too_many_where_the_others_have_threads_enough() -> None:
    assert one_too_many(FOUR, Crew(workers=2, busy=8), Demand())
    assert not one_too_many(FOUR, Crew(workers=2, busy=8), Demand(waiting=1))
    assert not one_too_many(FOUR, Crew(workers=1), Demand())


def test_the_least_is_always_there_also_after_all_have_been_let_go() -> None:
    assert wanted(FOUR, Crew(workers=0), Demand()) == 1


def test_the_total_is_shared_in_turns_and_never_takes_anybodys_least() -> None:
    assert share({"a": 4, "b": 4}, least=1, total=5) == {"a": 3, "b": 2}
    assert share({"a": 1, "b": 4}, least=1, total=16) == {"a": 1, "b": 4}
    assert share({"a": 2, "b": 2, "c": 2}, least=2, total=3) == {"a": 2, "b": 2, "c": 2}


def test_a_worker_is_worn_by_its_runs_or_its_memory_and_zero_means_never() -> None:
    never = Workers(recycle_runs=0, recycle_megabytes=0)
    some = Workers(recycle_runs=10, recycle_megabytes=500)

    assert not worn(never, runs=10**6, megabytes=10**6, age_s=10**6)
    assert worn(some, runs=10, megabytes=1, age_s=1)
    assert worn(some, runs=1, megabytes=500, age_s=60)
    assert not worn(some, runs=9, megabytes=499, age_s=60)


def test_a_limit_below_what_a_worker_starts_with_does_not_replace_it_for_ever() -> None:
    assert not worn(Workers(recycle_megabytes=1), runs=0, megabytes=400, age_s=3_600)
    assert not worn(Workers(recycle_megabytes=1), runs=5, megabytes=400, age_s=10)


def test_the_number_of_workers_is_set_in_one_way() -> None:
    assert (Workers().least, Workers().most) == (1, 2)
    assert (Workers(count=3).least, Workers(count=3).most) == (3, 3)
    assert (Workers(min=4).least, Workers(min=4).most) == (4, 4)
    for wrong in ({"count": 2, "max": 3}, {"min": 3, "max": 2}, {"count": 0}):
        with pytest.raises(ValidationError):
            Settings.model_validate({"workers": wrong})
