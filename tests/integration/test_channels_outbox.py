"""Delivery through channels that behave and misbehave: order, retries, what may never be sent twice."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import pytest

from integrations.channels import Capabilities, Receive
from integrations.database import Database
from integrations.errors import RateLimited, Rejected, Unavailable
from integrations.gateway.deliver import Deliveries
from integrations.gateway.hub import Hub
from integrations.messages import Address, Delivery, OutboundMessage


class Scripted:
    """A channel that ends each attempt as its script says; without script all are sent."""

    repeatable = False
    capabilities = Capabilities(markdown=True)

    def __init__(self, name: str, *script: Delivery | Exception) -> None:
        self.name = name
        self.attempts: list[str] = []
        self.script = list(script)
        self.gate = asyncio.Event()
        self.gate.set()

    async def listen(self, receive: Receive) -> None:
        """Nothing comes in."""

    async def send(self, message: OutboundMessage) -> Delivery:
        await self.gate.wait()
        self.attempts.append(message.text)
        outcome = self.script.pop(0) if self.script else Delivery(state="sent", platform_id="p1")
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


@asynccontextmanager
async def delivering(database: Database, *channels: Scripted) -> AsyncGenerator[None]:
    hub = Hub(database)
    hub.start()
    task = asyncio.create_task(Deliveries(database, hub, {c.name: c for c in channels}, "test").run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await asyncio.to_thread(hub.close)


async def post(database: Database, channel: str, text: str, conversation: str = "c") -> None:
    message = OutboundMessage(address=Address(channel=channel, conversation=conversation), text=text)
    assert await asyncio.to_thread(database.outbox.post, message, key=f"{channel}-{conversation}-{text}")


async def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while not await asyncio.to_thread(condition):  # noqa: ASYNC110 - the database is what changes
            await asyncio.sleep(0.02)


def states(database: Database, *wanted: str) -> dict[str, str]:
    return {item.message.text: item.state for item in database.outbox.find(wanted)}


async def test_messages_of_one_conversation_are_sent_in_order(database: Database) -> None:
    channel = Scripted("im")
    texts = [str(number) for number in range(10)]
    for text in texts:
        await post(database, "im", text)

    async with delivering(database, channel):
        await until(lambda: len(states(database, "sent")) == 10)

    assert channel.attempts == texts


async def test_what_surely_was_not_delivered_is_tried_again_and_the_next_waits(database: Database) -> None:
    channel = Scripted("im", RateLimited("slow down", after=0.2), Unavailable("away", after=0.1))
    await post(database, "im", "first")
    await post(database, "im", "second")

    async with delivering(database, channel):
        await until(lambda: len(states(database, "sent")) == 2)

    assert channel.attempts == ["first", "first", "first", "second"]


async def test_what_is_refused_for_good_is_not_tried_again(database: Database) -> None:
    channel = Scripted("im", Rejected("too long"))
    await post(database, "im", "refused")
    await post(database, "im", "fine")

    async with delivering(database, channel):
        await until(lambda: "fine" in states(database, "sent"))

    assert states(database, "failed") == {"refused": "failed"}
    assert channel.attempts == ["refused", "fine"]


@pytest.mark.parametrize("outcome", [Delivery(state="unknown", error="cut off"), ZeroDivisionError("a fault of ours")])
async def test_what_may_have_arrived_is_not_sent_twice(database: Database, outcome: Delivery | Exception) -> None:
    channel = Scripted("im", outcome)
    await post(database, "im", "perhaps")
    await post(database, "im", "next")

    async with delivering(database, channel):
        await until(lambda: "next" in states(database, "sent"))

    assert channel.attempts == ["perhaps", "next"]
    assert states(database, "unknown") == {"perhaps": "unknown"}


async def test_a_slow_channel_delays_no_other(database: Database) -> None:
    slow, quick = Scripted("slow"), Scripted("quick")
    slow.gate.clear()
    await post(database, "slow", "stuck")

    async with delivering(database, slow, quick):
        await post(database, "quick", "through")
        await until(lambda: "through" in states(database, "sent"))

        assert slow.attempts == []
        slow.gate.set()
        await until(lambda: "stuck" in states(database, "sent"))


async def test_two_dispatchers_send_each_message_once(database: Database) -> None:
    one, two = Scripted("im"), Scripted("im")
    async with delivering(database, one), delivering(database, two):
        for number in range(30):
            await post(database, "im", str(number), conversation=f"c{number % 7}")
        await until(lambda: len(states(database, "sent")) == 30)

    assert sorted(one.attempts + two.attempts, key=int) == [str(number) for number in range(30)]
