"""How fast a model answers over concurrency and length of prompt, asked as ops ask it, within a bounded time.

On an account of its own and behind everybody else: tenants' budgets and ledgers stay as they were.
"""

import random
import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field

from integrations.errors import InvalidInput, Overloaded, RateLimited, RunbellError, Unavailable
from serving.client import Models
from serving.fleet import DEFAULT, Fleet, ModelSpec
from serving.schema import ChatChunk, ChatMessage, ChatRequest, Origin

ACCOUNT = "(bench)"
"""The tenant of these requests in the ledger; no installation's own can be called so by accident."""
CONCURRENT = (1, 2, 4, 8, 16)
PROMPTS = (32, 256, 1024)
SECONDS = 60.0
MARGIN = 64
"""Tokens that a prompt's frame may take."""
WARM_S = 30.0
_WORDS = ("sea", "sun", "time", "hand", "road", "tree", "fish", "light", "house", "water", "music", "story", "night")


@dataclass(frozen=True)
class Cell:
    """What one combination came to. Milliseconds to the first token; None where none came in time."""

    concurrent: int
    prompt_tokens: int
    seconds: float
    answered: int
    cut: int
    refused: int
    tokens_per_s: float
    first_ms_p50: float | None
    first_ms_p95: float | None


@dataclass(frozen=True)
class Plan:
    """What to try."""

    model: str
    cells: tuple[tuple[int, int], ...]
    max_tokens: int
    seconds: float


@dataclass
class _Seen:
    answered: int = 0
    cut: int = 0
    refused: int = 0
    tokens: int = 0
    first_ms: list[float] = field(default_factory=list[float])
    error: RunbellError | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


def plan(
    fleet: Fleet,
    model: str | None,
    *,
    concurrent: Sequence[int] = CONCURRENT,
    prompts: Sequence[int] = PROMPTS,
    max_tokens: int = 64,
    seconds: float = SECONDS,
) -> Plan:
    """Return what to try of a model, the cheapest first; what its context can't hold is left out.

    Raises `InvalidInput`.
    """
    spec = _spec(fleet, model)
    fitting = [length for length in prompts if length + max_tokens + MARGIN <= spec.context_tokens]
    if not fitting or not concurrent:
        raise InvalidInput(
            f"{spec.name} has a context of {spec.context_tokens} tokens: take a shorter --prompt.", field="prompt"
        )
    cells = [(many, length) for length in fitting for many in concurrent]
    cells.sort(key=lambda cell: cell[0] * (cell[1] + max_tokens))
    return Plan(spec.name, tuple(cells), max_tokens, seconds)


def _spec(fleet: Fleet, asked: str | None) -> ModelSpec:
    spec = fleet.models.get(fleet.candidates(asked or DEFAULT)[0])
    if spec is None or spec.embeds:
        known = ", ".join(name for name, one in fleet.models.items() if not one.embeds)
        raise InvalidInput(f"There is no model {asked!r} that chats; there is: {known}.", field="model")
    return spec


def measure(models: Models, wanted: Plan) -> Iterator[Cell]:
    """Yield a cell after another until the time is up; raises what `Models.stream` raises.

    Each goes on for its share of the time, and at least until everybody has asked once.
    """
    list(models.stream(_request(wanted.model, 8, 1, 0), timeout_s=WARM_S))
    end = time.monotonic() + wanted.seconds
    for number, (many, length) in enumerate(wanted.cells):
        share = (end - time.monotonic()) / (len(wanted.cells) - number)
        cell = _cell(models, wanted, many, length, time.monotonic() + share, end, seed=number * 1_000_000)
        yield cell
        if cell.cut or time.monotonic() >= end:
            return


def _cell(models: Models, wanted: Plan, many: int, length: int, until: float, end: float, seed: int) -> Cell:
    seen, began = _Seen(), time.monotonic()

    def ask_on(who: int) -> None:
        for turn in range(seed + who * 10_000 + 1, seed + (who + 1) * 10_000):
            done = _ask(models, _request(wanted.model, length, wanted.max_tokens, turn), end, seen)
            if not done or time.monotonic() >= until or seen.error is not None:
                return

    threads = [threading.Thread(target=ask_on, args=[who], daemon=True) for who in range(many)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if seen.error is not None:
        raise seen.error
    taken = time.monotonic() - began
    first = sorted(seen.first_ms)
    return Cell(
        concurrent=many,
        prompt_tokens=length,
        seconds=round(taken, 2),
        answered=seen.answered,
        cut=seen.cut,
        refused=seen.refused,
        tokens_per_s=round(seen.tokens / taken, 1),
        first_ms_p50=round(statistics.median(first), 1) if first else None,
        first_ms_p95=round(first[int(0.95 * (len(first) - 1) + 0.5)], 1) if first else None,
    )


def _ask(models: Models, request: ChatRequest, until: float, seen: _Seen) -> bool:
    """Ask once; return whether to go on. Who is not done at the end is cut, and counts with what was said."""
    began, pieces, last = time.monotonic(), 0, None
    pause = 0.0
    try:
        with closing(models.stream(request, timeout_s=max(until - began, 0.05))) as chunks:  # pyright: ignore[reportArgumentType] - every implementation is a generator
            for chunk in chunks:
                if not pieces and chunk.text:
                    with seen.lock:
                        seen.first_ms.append((time.monotonic() - began) * 1000)
                pieces, last = pieces + bool(chunk.text), chunk
                if time.monotonic() >= until:
                    break
    except (Overloaded, RateLimited) as error:
        pause = min(error.after, max(until - time.monotonic(), 0.0))
    except RunbellError as error:
        if not (isinstance(error, Unavailable) and time.monotonic() >= until - 0.05):
            seen.error = error
    _note(seen, last, pieces, refused=pause > 0)
    time.sleep(pause)
    return pause > 0 or (last is not None and last.usage is not None)


def _note(seen: _Seen, last: ChatChunk | None, pieces: int, *, refused: bool) -> None:
    usage = last.usage if last else None
    with seen.lock:
        seen.refused += refused
        seen.answered += usage is not None
        seen.cut += usage is None and not refused
        seen.tokens += usage.tokens_out if usage else pieces


def _request(model: str, length: int, max_tokens: int, turn: int) -> ChatRequest:
    """Return a prompt of about so many tokens that nobody has asked before: no cache knows its beginning."""
    chance = random.Random(turn)  # noqa: S311 - words, no secret
    words = [str(turn), *(chance.choice(_WORDS) for _ in range(max(length - 2, 1)))]
    return ChatRequest(
        model=model,
        messages=(ChatMessage(role="user", content=" ".join(words)),),
        max_tokens=max_tokens,
        temperature=0,
        origin=Origin(tenant=ACCOUNT, job="bench", op="bench", priority="backfill"),
    )
