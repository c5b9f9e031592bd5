"""Who generates next in one replica: chat before timers before backfills, in order of arrival, with a bound.

Whoever can't be held is told at once and when to come back; nobody waits unseen. Where the waiting room is full, a
newcomer takes the place of the latest that matters less.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from integrations.errors import Overloaded
from serving.schema import Priority

ORDER: tuple[Priority, ...] = ("chat", "timer", "backfill")
SMOOTHING = 0.2
FIRST_GUESS_S = 2.0


class Admission:
    """`slots` requests at once, and a bounded waiting room. Used from one event loop."""

    def __init__(self, slots: int, waiting: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._slots = slots
        self._room = waiting
        self._clock = clock
        self._busy = 0
        self._took_s = FIRST_GUESS_S
        self._waiting: dict[Priority, deque[asyncio.Future[None]]] = {priority: deque() for priority in ORDER}

    @property
    def busy(self) -> int:
        """How many generate."""
        return self._busy

    @property
    def waiting(self) -> int:
        """How many wait."""
        return sum(len(line) for line in self._waiting.values())

    @asynccontextmanager
    async def slot(self, priority: Priority) -> AsyncGenerator[None]:
        """Hold a slot. Raises `Overloaded`, with the time after which there may be room."""
        await self._enter(priority)
        began = self._clock()
        try:
            yield
        finally:
            self._took_s += SMOOTHING * (self._clock() - began - self._took_s)
            self._leave()

    async def _enter(self, priority: Priority) -> None:
        if self._busy < self._slots and not self.waiting:
            self._busy += 1
            return
        if self.waiting >= self._room:
            self._make_room(priority)
        turn = asyncio.get_running_loop().create_future()
        self._waiting[priority].append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._leave()  # the slot was given just before its taker went
            raise
        finally:
            if turn in self._waiting[priority]:
                self._waiting[priority].remove(turn)

    def _make_room(self, priority: Priority) -> None:
        for lesser in reversed(ORDER[ORDER.index(priority) + 1 :]):
            if self._waiting[lesser]:
                turn = self._waiting[lesser].pop()
                if not turn.done():
                    turn.set_exception(self._full())
                return
        raise self._full()

    def _full(self) -> Overloaded:
        after = max(1.0, self._took_s * (self.waiting + 1) / self._slots)
        return Overloaded(f"{self.waiting} requests are waiting for the model.", after=round(min(after, 300.0), 1))

    def _leave(self) -> None:
        for priority in ORDER:
            line = self._waiting[priority]
            while line:
                turn = line.popleft()
                if not turn.done():
                    turn.set_result(None)  # the slot goes over to it
                    return
        self._busy -= 1
