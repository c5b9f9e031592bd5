"""Work that one connection brings: in order within a conversation, side by side otherwise, and never too much at once.

Side by side, so that the gateway's group commit has something to gather: one after the other, each message would wait
for a commit of its own.

A push connection must go on reading (heartbeats, deadlines of buttons) while a file is fetched or the database is
slow; only when `limit` pieces are at work does `put` wait, so that the network's own buffer fills instead of ours.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

One = TypeVar("One")
AT_ONCE = 200
END_SECONDS = 3.0


class Lanes:
    """Lanes of one connection. `failed` is called with what a piece of work raised."""

    def __init__(self, failed: Callable[[BaseException], None], limit: int = AT_ONCE) -> None:
        self._failed = failed
        self._room = asyncio.Semaphore(limit)
        self._tails: dict[str, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def put(self, lane: str, work: Callable[[], Awaitable[object]]) -> None:
        """Begin a piece of work once what is before it in its lane has ended; a blank lane waits for nobody."""
        await self._room.acquire()
        task = asyncio.create_task(self._run(self._tails.get(lane), work))
        self._tasks.add(task)
        if lane:
            self._tails[lane] = task
        task.add_done_callback(lambda done: self._done(lane, done))

    async def end(self) -> None:
        """Let what is at work end for a moment, then cancel it."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=END_SECONDS)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self, before: "asyncio.Task[None] | None", work: Callable[[], Awaitable[object]]) -> None:
        if before is not None:
            await asyncio.wait([before])
        await work()

    def _done(self, lane: str, task: asyncio.Task[None]) -> None:
        self._room.release()
        self._tasks.discard(task)
        if self._tails.get(lane) is task:
            del self._tails[lane]
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failed(error)


async def side_by_side(
    several: Sequence[One], lane: Callable[[One], str], work: Callable[[One], Awaitable[object]]
) -> None:
    """Work on several things that came at once, those of one lane in their order; a blank lane is nobody's.

    A lane ends with its first error. Returns once all lanes have ended, and raises the first of their errors.
    """
    lanes: dict[str, list[One]] = defaultdict(list)
    for number, one in enumerate(several):
        lanes[lane(one) or f" {number}"].append(one)

    async def follow(queue: Sequence[One]) -> None:
        for one in queue:
            await work(one)

    ended = await asyncio.gather(*(follow(queue) for queue in lanes.values()), return_exceptions=True)
    for error in ended:
        if error is not None:
            raise error
