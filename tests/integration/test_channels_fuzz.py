"""Spoilt requests, contents, frames and mails of every network: none is accepted that should not be, nothing raises.

    RUNBELL_FUZZ=10000 pytest tests/integration/test_channels_fuzz.py

runs ten thousand of each kind per network; without it, of contents and frames only a thousand are tried. A quick
version of the first kind is in contract. What the networks prove is spoilt in the first test; the others spoil what
comes with a right proof, or needs none, and may be accepted as far as it can be read and stored.
"""

import asyncio
import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from integrations.channels import Accepted, Channel, Closing, Linked, discover
from integrations.channels.vectors import judge
from integrations.errors import RunbellError
from integrations.messages import InboundMessage
from integrations.security.tokens import create_token
from integrations.settings import Channels, Settings
from tests.fuzzing import storable
from tests.requests import Authentic, Mutation, authentic, is_unchanged, mutations, spoil
from tests.spoken import CALLED, CONNECTED, LAST, Spoken

AUTHENTIC = authentic()
PLATFORMS = sorted({request.platform for request in AUTHENTIC})
AMOUNT = int(os.environ.get("RUNBELL_FUZZ", "1000"))
AT_ONCE = 50


def drawn(amount: int, work: Callable[[list[Mutation]], None]) -> None:
    """Let hypothesis draw so many mutations, and work on them by fifties."""

    # Nothing is made smaller: a mutation is small, and what fails names it.
    @settings(
        max_examples=amount // AT_ONCE,
        phases=[Phase.generate],
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @given(st.lists(mutations, min_size=AT_ONCE, max_size=AT_ONCE))
    def draw(several: list[Mutation]) -> None:
        work(several)

    draw()


def named(network: type[Spoken]) -> str:
    return network.__name__.removesuffix("Spoken").lower()


@pytest.mark.parametrize("platform", PLATFORMS)
def test_ten_thousand_spoilt_requests_are_refused(platform: str) -> None:
    requests = [request for request in AUTHENTIC if request.platform == platform]
    judged = 0

    def spoiling(several: list[Mutation]) -> None:
        nonlocal judged
        for mutation in several:
            request: Authentic = requests[judged % len(requests)]
            judged += 1
            spoilt = spoil(request, mutation)
            try:
                read = judge(request.platform, request.scheme, spoilt)
            except RunbellError:
                continue
            assert is_unchanged(request, spoilt, read), spoilt

    drawn(10_000, spoiling)
    assert judged >= 10_000


@pytest.mark.parametrize("network", CALLED, ids=named)
def test_spoilt_contents_are_refused_or_read_as_far_as_they_can_be_stored(
    network: type[Spoken], tmp_path: Path
) -> None:
    taken = 0

    async def receive(message: InboundMessage) -> Accepted:
        storable(message)
        return Accepted("m")

    with asyncio.Runner() as runner:
        spoken = network()
        runner.run(spoken.simulator.__aenter__())
        channel = channel_of(spoken, tmp_path)

        async def take(several: list[Mutation]) -> None:
            nonlocal taken
            for mutation in several:
                taken += 1
                try:
                    await spoken.take(channel, mutation, receive)
                except RunbellError:
                    continue
                except BaseException as error:
                    error.add_note(f"spoilt by {mutation}")
                    raise

        drawn(AMOUNT, lambda several: runner.run(take(several)))
        runner.run(closed(channel, spoken))
    assert taken >= AMOUNT


@pytest.mark.parametrize("network", CONNECTED, ids=named)
async def test_spoilt_frames_neither_end_a_connection_nor_keep_the_next_one_from_being_heard(
    network: type[Spoken], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spoken, heard = network(), list[str]()
    frames: list[str | bytes] = []
    caplog.set_level(logging.ERROR)

    async def receive(message: InboundMessage) -> Accepted:
        storable(message)
        heard.append(message.text)
        return Accepted("m")

    async with spoken.simulator as simulator:
        channel = channel_of(spoken, tmp_path)
        listening = asyncio.create_task(channel.listen(receive))
        assert isinstance(channel, Linked)
        await simulator.until(lambda: simulator.sockets and channel.link.state == "up")
        drawn(AMOUNT, lambda several: frames.extend(spoken.frame(mutation) for mutation in several))
        socket = simulator.sockets[0]
        for frame in [*frames, spoken.last()]:
            await (socket.send_bytes(frame) if isinstance(frame, bytes) else socket.send_str(frame))
        await simulator.until(lambda: LAST in heard or listening.done() or socket.closed, seconds=120)

        assert LAST in heard
        assert channel.link.attempts == 0
        assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        await closed(channel, spoken, stop=False)
    assert len(frames) >= AMOUNT


def channel_of(spoken: Spoken, home: Path) -> Channel:
    create_token(home)
    channels = Channels.model_validate({spoken.section_name: spoken.section()})
    return discover(Settings(home=home, channels=channels))[spoken.name]


async def closed(channel: Channel, spoken: Spoken, *, stop: bool = True) -> None:
    if isinstance(channel, Closing):
        await channel.aclose()
    if stop:
        await spoken.simulator.__aexit__()
