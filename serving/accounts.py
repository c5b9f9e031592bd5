"""Who counts what is asked over HTTP, and what it may still cost.

Handed in by whoever starts serving (`python -m serving.app --accounts MODULE:FUNCTION`): serving knows no database.
"""

import asyncio
import importlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from contextlib import aclosing, contextmanager
from typing import Protocol, TypeVar, cast

from integrations.errors import Misconfigured, RunbellError
from serving.fleet import Fleet
from serving.schema import ChatChunk, ChatRequest, Embedding

T = TypeVar("T")


class Tally(Protocol):
    """One request's account."""

    @property
    def request(self) -> ChatRequest:
        """The request, with for whom it is and what it may cost at most."""
        ...

    def count(self, chunk: ChatChunk) -> ChatChunk:
        """Take a piece of the answer; the last one, which is entered, comes back with a notice where one is due."""
        ...

    def refused(self, error: RunbellError) -> RunbellError:
        """Return an error as the account's owner should read it."""
        ...

    def close(self, error: BaseException | None) -> None:
        """Enter what is not yet entered. `error` is what ended it; whoever leaves early has had what was said."""
        ...


class EmbeddingTally(Protocol):
    """The account of one request for vectors."""

    def close(self, taken: int | None, error: BaseException | None) -> None:
        """Enter the tokens taken, if any. `error` is what ended it else; whoever leaves early pays an estimate."""
        ...


class Accounts(Protocol):
    """The accounts. Methods block; safe to share between threads."""

    def open(self, request: ChatRequest, timeout_s: float) -> Tally:
        """Hold what a request may cost while it may take. Raises `Unavailable` where nobody can say what is left."""
        ...

    def embedding(self, texts: Sequence[str], timeout_s: float) -> EmbeddingTally:
        """Hold what the vectors of these texts may cost. Raises `BudgetSpent`, or `Unavailable` like `open`."""
        ...


Opening = Callable[[Callable[[], Fleet]], Accounts]
"""Opens accounts where they are kept; must survive pickling. Takes what tells the prices and budgets of now."""


def opening(reference: str | None) -> Opening | None:
    """Return what `MODULE:FUNCTION` returns; None where nobody counts."""
    if reference is None:
        return None
    module, _, function = reference.partition(":")
    try:
        return cast("Opening", getattr(importlib.import_module(module), function)())
    except (ImportError, AttributeError) as error:
        raise Misconfigured(f"--accounts {reference}: there is no such function ({error}).") from error


async def counted(
    accounts: Accounts,
    request: ChatRequest,
    timeout_s: float,
    ask: Callable[[ChatRequest], AsyncGenerator[ChatChunk]],
) -> AsyncGenerator[ChatChunk]:
    """Yield the answer, and have it entered however it ends."""
    tally = await _opened(lambda: accounts.open(request, timeout_s), lambda tally: tally.close(None))

    def close(ended: BaseException | None) -> None:
        # Not awaited: whoever was cancelled may wait for nothing.
        asyncio.get_running_loop().run_in_executor(None, tally.close, ended)

    with settled(tally, close):
        async with aclosing(ask(tally.request)) as chunks:
            async for chunk in chunks:
                last = chunk.usage is not None  # entering it asks the database
                yield await asyncio.to_thread(tally.count, chunk) if last else tally.count(chunk)


@contextmanager
def settled(tally: Tally, close: Callable[[BaseException | None], None]) -> Generator[None]:
    """Have an account closed with what ends this block, and its errors read as the account's owner should."""
    ended: BaseException | None = None
    try:
        yield
    except RunbellError as error:
        ended, told = error, tally.refused(error)
        if told is error:
            raise
        raise told from error
    except BaseException as error:
        ended = error
        raise
    finally:
        close(ended)


async def counted_embeddings(
    accounts: Accounts, texts: Sequence[str], timeout_s: float, ask: Callable[[], Awaitable[list[Embedding]]]
) -> list[Embedding]:
    """Return the vectors, and have them entered also where whoever asked does not wait for them."""
    tally = await _opened(lambda: accounts.embedding(texts, timeout_s), lambda tally: tally.close(None, None))
    try:
        embeddings = await ask()
    except BaseException as error:
        asyncio.get_running_loop().run_in_executor(None, tally.close, None, error)  # not awaited, as above
        raise
    await asyncio.to_thread(tally.close, sum(one.tokens for one in embeddings), None)
    return embeddings


async def _opened(open_: Callable[[], T], close: Callable[[T], None]) -> T:
    """Open an account in a thread; where nobody waits for it any more, it is closed as soon as it is open."""
    opened = asyncio.ensure_future(asyncio.to_thread(open_))
    try:
        return await asyncio.shield(opened)
    except asyncio.CancelledError:
        opened.add_done_callback(lambda done: None if done.exception() else close(done.result()))
        raise
