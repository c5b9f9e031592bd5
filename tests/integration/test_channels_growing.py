"""Answers that grow on networks through the real gateway process: Slack's own stream, Telegram's edits, and deaths.

Scripted workers write progress as `think` does; each stops in the middle of its message until it may go on.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from integrations.channels.simulators.base import Limit
from integrations.channels.simulators.slack import SimulatedSlack
from integrations.channels.simulators.telegram import SimulatedTelegram
from integrations.database import Database
from integrations.messages import Address, OutboundMessage
from tests.gateways import Gateway, ScriptedWorker, running_gateway

ANSWER = "echo: stream it"
TELEGRAM = Address(channel="telegram", conversation="1")


@dataclass
class Office:
    """One gateway with both networks."""

    slack: SimulatedSlack
    telegram: SimulatedTelegram
    gateway: Gateway
    workers: list[ScriptedWorker]
    database: Database
    stamp: str = ""

    def texts(self) -> list[str]:
        """Return what both networks show now."""
        return [one.get("markdown_text") or one["text"] for one in self.slack.posted()] + self.telegram.texts()

    async def ask(self) -> None:
        """Let somebody ask in a thread of Slack, then in a private chat of Telegram; both get half an answer."""
        for worker in self.workers:
            worker.go_on.clear()
        await self.slack.until(lambda: self.slack.sockets)
        self.stamp = await self.slack.say("C1", "<@UBOT> stream it")
        await self.until(lambda: self.half(1))
        await self.telegram.say(1, "stream it")
        await self.until(lambda: self.half(2))

    def go_on(self) -> None:
        """Let the workers finish."""
        for worker in self.workers:
            worker.go_on.set()

    async def until(self, condition: Callable[[], object], seconds: float = 40) -> None:
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110 - a process and two networks change it
                await asyncio.sleep(0.02)

    def half(self, answers: int) -> bool:
        """Whether so many answers show the words before the pause."""
        return len(self.texts()) == answers and all("9" in text and "echo" not in text for text in self.texts())

    def streaming(self) -> bool:
        """Whether Slack still waits for more."""
        return any(one.get("streaming") for one in self.slack.messages.values())

    def noted(self) -> bool:
        """Whether the database knows where both half answers are."""
        return all(self.database.growing.handle(one) for worker in self.workers for one in worker.handled)

    def delivered(self) -> bool:
        """Whether the outbox holds both answers as sent."""
        return [item.message.text for item in self.database.outbox.find(["sent"])] == [ANSWER] * 2


@pytest.fixture
async def office(database: Database, database_url: str, tmp_path: Path) -> AsyncIterator[Office]:
    async with (
        SimulatedSlack() as slack,
        SimulatedTelegram() as telegram,
        _office(slack, telegram, database, database_url, tmp_path) as office,
    ):
        yield office


@asynccontextmanager
async def _office(
    slack: SimulatedSlack, telegram: SimulatedTelegram, database: Database, database_url: str, home: Path
) -> AsyncGenerator[Office]:
    sections = {
        "RUNBELL_CHANNELS__SLACK": slack.settings("socket").model_dump_json(),
        "RUNBELL_CHANNELS__TELEGRAM": telegram.settings().model_dump_json(),
        "RUNBELL_CHANNELS__DISCORD": '{"bot_token": " ", "application_id": "1"}',
        "PYTHONWARNINGS": "always::ResourceWarning",
    }
    running = running_gateway(database_url, home, **sections)
    gateway = await asyncio.to_thread(running.__enter__)
    workers = [ScriptedWorker(database), ScriptedWorker(database)]
    for worker in workers:
        await asyncio.to_thread(worker.__enter__)
    try:
        yield Office(slack, telegram, gateway, workers, database)
    finally:
        for worker in workers:
            await asyncio.to_thread(worker.__exit__)
        await asyncio.to_thread(running.__exit__, None, None, None)


async def test_an_answer_grows_where_it_was_asked_and_ends_in_the_same_message(office: Office) -> None:
    await office.ask()
    growing = next(iter(office.slack.messages.values()))
    assert (growing["streaming"], growing["thread_ts"]) == (True, office.stamp)
    assert growing["recipient_user_id"] == "U1"

    office.go_on()
    await office.until(office.delivered)

    assert office.texts() == [ANSWER] * 2
    assert not office.streaming()


async def test_the_gateway_tells_how_each_network_is_connected_and_is_ready_all_the_same(office: Office) -> None:
    post = OutboundMessage(address=Address(channel="telegram", conversation="nowhere"), text="lost")
    await asyncio.to_thread(office.database.outbox.post, post, key="k")
    await office.until(office.database.outbox.find)

    states, connected = {}, {"discord": "refused", "slack": "up", "telegram": "up", "webhook": "called"}
    async with asyncio.timeout(40):
        while states != connected:
            ready = (await asyncio.to_thread(office.gateway.client.get, "/readyz")).json()
            states = {name: link["state"] for name, link in ready["channels"].items()}
    metrics = (await asyncio.to_thread(office.gateway.client.get, "/metrics")).text

    assert "bot_token" in ready["channels"]["discord"]["detail"]
    assert not {"slack", "telegram", "discord"} & {*ready["missing"], *ready["checks"]}
    assert 'runbell_channel_up{channel="discord"} 0.0' in metrics
    assert 'runbell_channel_up{channel="slack"} 1.0' in metrics
    assert 'runbell_outbox_undelivered{channel="telegram",state="failed"} 1.0' in metrics


async def test_a_gateway_that_dies_leaves_no_half_answer_beside_the_whole_one(office: Office) -> None:
    await office.ask()
    await office.until(office.noted)

    await asyncio.to_thread(office.gateway.kill)
    office.go_on()
    await office.until(lambda: len(office.database.outbox.find(["queued"])) == 2)
    await asyncio.to_thread(office.gateway.start)
    await office.until(office.delivered)

    assert office.texts() == [ANSWER] * 2
    assert not office.streaming()


async def test_what_was_half_shown_goes_on_growing_after_a_restart(office: Office) -> None:
    await office.ask()
    await office.until(office.noted)
    assert await asyncio.to_thread(office.gateway.stop) == 0

    await asyncio.to_thread(office.gateway.start)
    for message_id in [one for worker in office.workers for one in worker.handled]:
        told: dict[str, object] = {"type": "delta", "text": "and on"}
        await asyncio.to_thread(office.database.progress.publish, message_id, TELEGRAM, told)
    await office.until(lambda: any("and on" in text for text in office.telegram.texts()))

    office.go_on()
    await office.until(office.delivered)
    assert office.texts() == [ANSWER] * 2


async def test_a_gateway_that_is_stopped_leaves_what_it_shows_to_the_next_one(office: Office) -> None:
    office.telegram.limits["editMessageText"] = Limit(5, 1.0)
    await office.ask()

    assert await asyncio.to_thread(office.gateway.stop) == 0
    office.go_on()
    await asyncio.to_thread(office.gateway.start)
    await office.until(office.delivered)

    assert office.texts() == [ANSWER] * 2
    assert "Traceback" not in office.gateway.log.read_text()
    assert "ResourceWarning" not in office.gateway.log.read_text()
