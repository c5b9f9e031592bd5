"""A second model for a request whose first one is slow to begin: whoever speaks first answers, the other is stopped.

Off unless a route says `hedge_after_s`: what the stopped model has read and generated is paid for and thrown away.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing

from integrations.errors import RunbellError, Unavailable
from serving.fleet import ModelSpec
from serving.schema import ChatChunk

Start = Callable[[ModelSpec], AsyncGenerator[ChatChunk]]
_Begun = tuple[ModelSpec, AsyncGenerator[ChatChunk]]


class Race:
    """One model's answer, or that of the first of `left` after `after_s` seconds of silence."""

    def __init__(self, start: Start, spec: ModelSpec, left: Sequence[ModelSpec], after_s: float | None) -> None:
        self._start = start
        self._after_s = after_s
        self.spec = spec
        """Who answers, or failed last."""
        self.left = list(left)
        """Who was not asked."""
        self.beaten: list[tuple[ModelSpec, RunbellError]] = []
        """Who failed, or was stopped, while another spoke or went on."""

    async def chunks(self) -> AsyncGenerator[ChatChunk]:
        """Yield the answer. Raises the error of the last who was asked."""
        if not self.left or self._after_s is None:
            async with aclosing(self._start(self.spec)) as only:
                async for chunk in only:
                    yield chunk
            return
        running: dict[asyncio.Task[ChatChunk], _Begun] = {}
        try:
            self._begin(running, self.spec)
            await asyncio.wait(running, timeout=self._after_s)
            if not any(task.done() for task in running):
                self._begin(running, self.left.pop(0))
            first, stream = await self._first(running)
            await _stop(running)
            async with aclosing(stream):
                yield first
                async for chunk in stream:
                    yield chunk
        finally:
            await _stop(running)

    def _begin(self, running: dict[asyncio.Task[ChatChunk], _Begun], spec: ModelSpec) -> None:
        stream = self._start(spec)
        running[asyncio.ensure_future(anext(stream))] = (spec, stream)  # pyright: ignore[reportArgumentType] - anext of a generator is a coroutine

    async def _first(
        self, running: dict[asyncio.Task[ChatChunk], _Begun]
    ) -> tuple[ChatChunk, AsyncGenerator[ChatChunk]]:
        """Return who speaks first, with its first chunk; the others are left in `running`."""
        while True:
            done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            task = next(task for task in running if task in done)
            self.spec, stream = running.pop(task)
            try:
                first = await task
            except RunbellError as error:
                if not running:
                    raise
                self.beaten.append((self.spec, error))
            else:
                slow = Unavailable(f"did not begin within {self._after_s:g} s, and was stopped")
                self.beaten += [(spec, slow) for spec, _ in running.values()]
                return first, stream


async def _stop(running: dict[asyncio.Task[ChatChunk], _Begun]) -> None:
    while running:
        task, (_, stream) = running.popitem()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, RunbellError):
            await task
        await stream.aclose()
