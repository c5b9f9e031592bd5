"""Work of one connection: in order within a lane, side by side between lanes, bounded; and what a session remembers."""

import asyncio

import pytest

from integrations.channels.discord.session import Session
from integrations.channels.lanes import Lanes, side_by_side


async def test_a_lane_keeps_its_order_and_holds_nobody_else_up() -> None:
    done: list[str] = []
    gate = asyncio.Event()
    lanes = Lanes(lambda error: None)

    async def slow() -> None:
        await gate.wait()
        done.append("slow")

    async def quick(name: str) -> None:
        done.append(name)
        if name == "other":
            gate.set()

    await lanes.put("a", slow)
    await lanes.put("a", lambda: quick("after slow"))
    await lanes.put("b", lambda: quick("other"))
    await lanes.end()

    assert done == ["other", "slow", "after slow"]


async def test_what_came_at_once_is_done_side_by_side_and_an_error_ends_its_own_lane_only() -> None:
    begun, done = list[str](), list[str]()
    gate = asyncio.Event()

    async def work(one: str) -> None:
        begun.append(one)
        if len(begun) == 3:
            gate.set()
        await gate.wait()
        if one == "a1":
            raise ValueError(one)
        done.append(one)

    with pytest.raises(ValueError, match="a1"):
        await side_by_side(["a1", "b1", "a2", "c1"], lambda one: one[0], work)

    assert begun == ["a1", "b1", "c1"]
    assert sorted(done) == ["b1", "c1"]


async def test_only_so_much_is_at_work() -> None:
    gate = asyncio.Event()
    lanes = Lanes(lambda error: None, limit=2)
    for _ in range(2):
        await lanes.put("", gate.wait)
    third = asyncio.create_task(lanes.put("", gate.wait))
    await asyncio.sleep(0)

    assert not third.done()
    gate.set()
    await third
    await lanes.end()


async def test_what_fails_is_told_and_its_lane_goes_on() -> None:
    told: list[BaseException] = []
    done: list[str] = []
    lanes = Lanes(told.append)

    async def fail() -> None:
        raise ValueError("no")

    async def go_on() -> None:
        done.append("on")

    await lanes.put("a", fail)
    await lanes.put("a", go_on)
    await lanes.end()

    assert [str(error) for error in told] == ["no"]
    assert done == ["on"]


def test_a_session_resumes_after_the_last_event_before_which_all_are_stored() -> None:
    session = Session()
    for number in (1, 2, 3, 4):
        session.hear(number)
    for number in (1, 2, 4):
        session.stored(number)

    assert session.stored_up_to() == 2
    assert session.resume() == 2
    assert session.heard == 2
