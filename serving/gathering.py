"""Pieces of an answer that come faster than they are worth sending one by one leave a replica together.

Each piece costs its sender and its reader half a millisecond: what 200 answers at once would say word by word keeps two
cores busy. So a replica sends so many pieces a second, whoever gets them; one answer alone leaves word by word.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress

from serving.schema import ChatChunk

PIECES_PER_S = 400


class Gathering:
    """Divides the pieces that may leave among the answers under way. Used from one event loop."""

    def __init__(self, per_s: float = PIECES_PER_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_s = per_s
        self._clock = clock
        self._open = 0

    @property
    def gap_s(self) -> float:
        """How long after a piece of an answer the next one leaves, at the earliest."""
        return self._open / self._per_s

    async def gathered(self, chunks: AsyncGenerator[ChatChunk]) -> AsyncGenerator[ChatChunk]:
        """Yield an answer in fewer pieces: the first and the last at once, and each word once, in order.

        Closing it closes `chunks`; what `chunks` raises comes after what was said before.
        """
        waiting, news = list[ChatChunk](), asyncio.Event()
        self._open += 1
        listening = asyncio.create_task(_listen(chunks, waiting, news))
        sent_at: float | None = None
        try:
            while waiting or not listening.done():
                await news.wait()
                if sent_at is not None and not listening.done():
                    await asyncio.wait([listening], timeout=max(sent_at + self.gap_s - self._clock(), 0))
                news.clear()
                taken, waiting[:] = waiting[:], []
                sent_at = self._clock()
                for chunk in _joined(taken):
                    yield chunk
                if listening.done():
                    news.set()
            await listening
        finally:
            self._open -= 1
            listening.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.wait([listening])
            await chunks.aclose()


async def _listen(chunks: AsyncGenerator[ChatChunk], waiting: list[ChatChunk], news: asyncio.Event) -> None:
    try:
        async for chunk in chunks:
            waiting.append(chunk)
            news.set()
    finally:
        news.set()


def _joined(chunks: Sequence[ChatChunk]) -> list[ChatChunk]:
    """Return one chunk for all words and calls of tools, and the end, which says more, by itself."""
    said = [chunk for chunk in chunks if chunk.finish_reason is None]
    ends = [chunk for chunk in chunks if chunk.finish_reason is not None]
    if len(said) > 1:
        calls = tuple(call for chunk in said for call in chunk.tool_calls)
        said = [ChatChunk(text="".join(chunk.text for chunk in said), tool_calls=calls)]
    return [*said, *ends]
