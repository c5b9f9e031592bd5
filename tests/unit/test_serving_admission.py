"""Who generates next: chat before timers before backfills, and an honest no where there is no room."""

import asyncio

import pytest

from integrations.errors import Overloaded
from serving.admission import Admission
from serving.schema import Priority


class Floor:
    """Requests that hold their slot until they are let go."""

    def __init__(self, slots: int, waiting: int) -> None:
        self.admission = Admission(slots, waiting)
        self.order: list[str] = []
        self.gates: dict[str, asyncio.Event] = {}

    def ask(self, name: str, priority: Priority = "chat") -> asyncio.Task[None]:
        self.gates[name] = asyncio.Event()

        async def work() -> None:
            async with self.admission.slot(priority):
                self.order.append(name)
                await self.gates[name].wait()

        return asyncio.create_task(work())

    async def settle(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)

    async def finish(self, *tasks: asyncio.Task[None]) -> None:
        for gate in self.gates.values():
            gate.set()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_chat_goes_before_timers_and_timers_before_backfills():
    floor = Floor(1, 10)
    tasks = [floor.ask("first")]
    await floor.settle()
    for name, priority in (("b1", "backfill"), ("t1", "timer"), ("c1", "chat"), ("b2", "backfill"), ("c2", "chat")):
        tasks.append(floor.ask(name, priority))
    await floor.settle()

    await floor.finish(*tasks)

    assert floor.order == ["first", "c1", "c2", "t1", "b1", "b2"]


async def test_a_flood_of_backfills_can_not_keep_chat_out():
    floor = Floor(1, 4)
    flood = [floor.ask(f"b{n}", "backfill") for n in range(30)]
    await floor.settle()

    chat = [floor.ask(f"c{n}") for n in range(4)]
    await floor.settle()
    refused_chat = floor.ask("c4")
    await floor.settle()

    refused = [task for task in flood if task.done() and isinstance(task.exception(), Overloaded)]
    assert len(refused) == 29
    assert isinstance(refused_chat.exception(), Overloaded)
    await floor.finish(*chat, *flood)
    assert floor.order == ["b0", "c0", "c1", "c2", "c3"]


async def test_a_refusal_says_when_to_come_back():
    floor = Floor(1, 0)
    task = floor.ask("one")
    await floor.settle()

    with pytest.raises(Overloaded) as caught:
        async with floor.admission.slot("chat"):
            pass

    assert caught.value.after >= 1
    await floor.finish(task)


async def test_a_thousand_that_leave_hold_nothing():
    floor = Floor(2, 2000)
    tasks = [floor.ask(f"n{n}") for n in range(1000)]
    await floor.settle()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

    assert (floor.admission.busy, floor.admission.waiting) == (0, 0)
    last = floor.ask("last")
    await floor.settle()
    assert floor.order[-1] == "last"
    await floor.finish(last)


async def test_who_leaves_as_the_slot_comes_hands_it_on():
    floor = Floor(1, 5)
    first, second, third = floor.ask("first"), floor.ask("second"), floor.ask("third")
    await floor.settle()
    floor.gates["first"].set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    second.cancel()
    await floor.settle()

    assert "third" in floor.order
    await floor.finish(first, second, third)
    assert floor.admission.busy == 0
