"""One channel between its simulated network and a real database, in this process; a script answers."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import pytest

from integrations.channels import Accepted, Channel, Closing, Receive
from integrations.database import Database
from integrations.gateway.deliver import Deliveries
from integrations.gateway.hub import Hub
from integrations.gateway.intake import Intake
from integrations.gateway.limits import Limits
from integrations.messages import InboundMessage, OutboundMessage

Script = Callable[[InboundMessage], list[OutboundMessage]]


class Rig:
    """What came in, and the way to post by oneself."""

    def __init__(self, database: Database, channel: Channel, script: Script) -> None:
        self.database = database
        self.channel = channel
        self.script = script
        self.received: list[InboundMessage] = []
        self.fresh: list[InboundMessage] = []
        self.wake = asyncio.Event()

    def receiver(self, store: Receive) -> Receive:
        async def receive(message: InboundMessage) -> Accepted:
            accepted = await store(message)
            self.received.append(message)
            if not accepted.duplicate:
                self.fresh.append(message)
            self.wake.set()
            return accepted

        return receive

    async def post(self, *messages: OutboundMessage) -> None:
        for number, message in enumerate(messages):
            await asyncio.to_thread(self.database.outbox.post, message, key=f"{number}:{message.text[:40]}")

    def outbox(self, *states: str) -> list[str]:
        return [item.message.text for item in self.database.outbox.find(states)]

    async def settle(self) -> None:
        while True:
            claimed = await asyncio.to_thread(self.database.inbox.claim, "script", limit=20)
            for one in claimed:
                await asyncio.to_thread(self.database.inbox.answer, one.message_id, self.script(one.message))
            if not claimed:
                self.wake.clear()
                try:
                    # Not `wait_for`: before Python 3.12 it may swallow a cancellation.
                    async with asyncio.timeout(0.2):
                        await self.wake.wait()
                except TimeoutError:
                    continue


def echo(message: InboundMessage) -> list[OutboundMessage]:
    return [OutboundMessage(address=message.address, text=f"you said: {message.text}", in_reply_to=message.ref)]


def hurry(monkeypatch: pytest.MonkeyPatch, **pauses: object) -> None:
    """Let broken connections come back at once; shorten other pauses of `integrations.channels`, dots as `__`."""
    quick = {"link__FIRST_PAUSE_SECONDS": 0.01, "link__LONGEST_PAUSE_SECONDS": 0.05}
    for name, value in {**quick, **pauses}.items():
        monkeypatch.setattr(f"integrations.channels.{name.replace('__', '.')}", value)


@asynccontextmanager
async def listening(channel: Channel, *refusals: Exception) -> AsyncGenerator[list[InboundMessage]]:
    """Run the connection alone; gives what is received. The first messages are refused as told."""
    received, left = list[InboundMessage](), list(refusals)

    async def receive(message: InboundMessage) -> Accepted:
        if left:
            raise left.pop(0)
        received.append(message)
        return Accepted(message.event_id)

    task = asyncio.create_task(channel.listen(receive))
    try:
        yield received
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if isinstance(channel, Closing):
            await channel.aclose()


@asynccontextmanager
async def rigged(database: Database, channel: Channel, script: Script = echo) -> AsyncGenerator[tuple[Rig, Receive]]:
    """Run intake, settling, delivery and the channel's own connection; gives the way in for hooks."""
    hub, intake = Hub(database), Intake(database, Limits(100_000), pending_per_conversation=1000)
    hub.start()
    rig = Rig(database, channel, script)
    receive = rig.receiver(intake.receive)
    works = [
        intake.run(),
        rig.settle(),
        Deliveries(database, hub, {channel.name: channel}, "test").run(),
        channel.listen(receive),
    ]
    tasks = [asyncio.create_task(work) for work in works]
    try:
        yield rig, receive
    finally:
        ended = [task for task in tasks if task.done() and task.exception()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if isinstance(channel, Closing):
            await channel.aclose()
        assert not ended, ended[0].exception()
        await asyncio.to_thread(hub.close)
        # A cancelled wait leaves its thread at work with a connection.
        await asyncio.get_running_loop().shutdown_default_executor()
