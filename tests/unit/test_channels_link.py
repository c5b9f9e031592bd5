"""Push connections: made again for ever, slower and slower, and given up for dead when nothing is heard."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from integrations.channels.link import LONGEST_PAUSE_SECONDS, Alive, Keeper
from integrations.errors import RateLimited, Unauthorized, Unavailable


class Network:
    """Connections that end as their script says; the keeper's sleeps are recorded and take no time."""

    def __init__(self, *script: Exception | None, lives: float = 0.0) -> None:
        self.script = list(script)
        self.lives = lives
        self.time = 0.0
        self.pauses: list[float] = []
        self.states: list[tuple[str, str]] = []
        self.keeper = Keeper(
            "im", silence_s=1e9, now=lambda: self.time, clock=clock, sleep=self.sleep, jitter=lambda: 1.0
        )

    async def sleep(self, seconds: float) -> None:
        if seconds > 1e6:
            await asyncio.Event().wait()
        self.states.append((self.keeper.link.state, self.keeper.link.detail))
        self.pauses.append(seconds)
        if not self.script:
            raise Over
        await asyncio.sleep(0)

    async def converse(self, alive: Alive) -> None:
        alive()
        assert self.keeper.link.state == "up"
        self.time += self.lives
        outcome = self.script.pop(0)
        if outcome is not None:
            raise outcome


class Over(Exception):
    """The script is at its end."""


def clock() -> datetime:
    return datetime(2026, 11, 21, tzinfo=UTC)


async def kept(network: Network) -> Network:
    with pytest.raises(Over):
        await network.keeper.run(network.converse)
    return network


async def test_it_waits_longer_after_each_failure_up_to_a_minute() -> None:
    network = await kept(Network(*[None] * 12))

    assert network.pauses[:4] == [0.5, 1.0, 2.0, 4.0]
    assert network.pauses[-1] == LONGEST_PAUSE_SECONDS


async def test_a_connection_that_held_starts_over() -> None:
    network = await kept(Network(*[None] * 5, lives=100))

    assert network.pauses == [0.5] * 5


@pytest.mark.parametrize(
    ("trouble", "state"),
    [
        (Unavailable("no route"), "down"),
        (OSError("reset"), "down"),
        (Unauthorized("bad token"), "refused"),
        (None, "down"),
    ],
)
async def test_it_tells_why_a_connection_ended(trouble: Exception | None, state: str) -> None:
    network = await kept(Network(trouble))

    assert network.states[0][0] == state
    assert str(trouble or "closed") in network.states[0][1]


async def test_it_waits_as_long_as_the_network_asks() -> None:
    assert (await kept(Network(RateLimited("slow", after=90)))).pauses == [90]


async def test_silence_ends_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    time, begun, ended = 0.0, 0, asyncio.Event()

    async def sleep(seconds: float) -> None:
        nonlocal time
        time += seconds
        await asyncio.sleep(0)
        if begun == 3:
            ended.set()
            await asyncio.Event().wait()

    async def converse(alive: Callable[[], None]) -> None:
        nonlocal begun
        begun += 1
        alive()
        await asyncio.Event().wait()

    keeper = Keeper("im", silence_s=90, now=lambda: time, sleep=sleep)
    task = asyncio.create_task(keeper.run(converse))
    await asyncio.wait_for(ended.wait(), 5)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert time >= 180
    assert task.cancelled()
