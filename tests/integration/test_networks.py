"""What every network is for, tried against each simulator with the real gateway, dispatcher, inbox and outbox.

What only one network does is in its own file, `test_channel_NAME.py`.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa

from integrations.channels.simulators.base import HANG_AFTERWARDS, Limit
from integrations.database import Database
from integrations.messages import OutboundMessage
from integrations.settings import Channels
from tests.living import Killable, Living, Worker, living
from tests.talking import NETWORKS, SOCKETS, WAYS_IN, Talk

SILENT_PAUSES = (
    "dingtalk.api.PAUSE_SECONDS",
    "wecom.api.PAUSE_SECONDS",
    "wecom.robot_socket.LIMITED_SECONDS",
    "email.submit.GREYLIST_SECONDS",
)
"""Of networks that don't say how long to wait."""


@dataclass
class Running:
    """One person in one thread of a network, the gateway behind it, and the worker behind that."""

    talk: Talk
    gateway: Living | Killable
    worker: Worker
    database: Database

    async def until_shown(self, *texts: str) -> None:
        await self.talk.simulator.until(lambda: self.talk.shown() == list(texts), seconds=60)

    async def until_heard(self, count: int) -> None:
        await self.talk.simulator.until(lambda: len(self.worker.heard) >= count, seconds=60)

    def runs(self) -> int:
        return len(self.database.runs.latest(tenant="default", limit=100))

    async def post(self, *texts: str) -> None:
        """Post to this thread."""
        address = self.worker.heard[0].address
        for text in texts:
            message = OutboundMessage(address=address, text=text)
            assert await asyncio.to_thread(self.database.outbox.post, message, key=text)

    def states(self) -> dict[str, str]:
        return {
            item.message.text: item.state
            for item in self.database.outbox.find(["queued", "sending", "sent", "unknown", "failed", "dead"])
        }


@asynccontextmanager
async def running(network: type[Talk], database: Database, home: Path) -> AsyncGenerator[Running]:
    talk = network()
    async with talk.simulator, living(database, home, {talk.table: talk.section()}) as (gateway, worker):
        talk.reach(gateway.url)
        if network in SOCKETS:
            await connected(talk)
        yield Running(talk, gateway, worker, database)


@asynccontextmanager
async def running_apart(network: type[Talk], database: Database, home: Path) -> AsyncGenerator[Running]:
    """As `running`, with the gateway in a process of its own, so that it can be killed."""
    talk = network()
    async with talk.simulator:
        sections = Channels.model_validate({talk.table: talk.section()}).model_dump(mode="json", exclude_none=True)
        gateway = Killable(database, home, json.dumps(sections))
        talk.reach(gateway.url)
        with Worker(database) as worker:
            await gateway.start()
            try:
                if network in SOCKETS:
                    await connected(talk)
                yield Running(talk, gateway, worker, database)
            finally:
                await gateway.stop()


async def connected(talk: Talk) -> None:
    await talk.simulator.until(lambda: talk.connected, seconds=60)


async def say(talk: Talk, texts: Sequence[str]) -> None:
    for text in texts:
        await talk.say(text)
        await asyncio.sleep(0.03)  # People don't say all at once.


def each(networks: tuple[type[Talk], ...]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        "network", networks, ids=lambda network: network.__name__.removesuffix("Talk").lower()
    )


@each(WAYS_IN)
async def test_a_command_is_answered_in_its_thread_and_fifty_deliveries_at_once_are_one_run(
    network: type[Talk], database: Database, tmp_path: Path
) -> None:
    async with running(network, database, tmp_path) as here:
        here.talk.simulator.switches.duplicate = 49
        await here.talk.say("/greet name=Ada")
        here.talk.simulator.switches.duplicate = 0
        await here.until_shown("Hello, Ada!")
        await here.talk.say("hush")
        await here.until_heard(2)

    assert here.talk.shown() == ["Hello, Ada!"]
    assert here.runs() == 2


@each(NETWORKS)
async def test_free_text_is_answered_and_the_answer_grows_where_the_network_can_show_that(
    network: type[Talk], database: Database, tmp_path: Path
) -> None:
    async with running(network, database, tmp_path) as here:
        grows = here.gateway.channels[here.talk.name].capabilities.streaming != "none"
        here.worker.go_on.clear()
        await here.talk.say("how are you?")
        await here.until_heard(1)
        if grows:
            await here.talk.simulator.until(lambda: here.talk.shown() and "You said" in here.talk.shown()[0])
        here.worker.go_on.set()
        await here.until_shown("You said: how are you?")


@each(NETWORKS)
async def test_a_pressed_button_is_an_action(network: type[Talk], database: Database, tmp_path: Path) -> None:
    async with running(network, database, tmp_path) as here:
        await here.talk.say("choose")
        await here.talk.simulator.until(lambda: "sent" in here.states().values(), seconds=60)
        await here.talk.press("Approve")
        await here.talk.simulator.until(lambda: "Hello, pressed!" in here.talk.shown(), seconds=60)

    assert here.worker.heard[1].text == "/greet name=pressed"
    assert here.worker.heard[1].kind == ("action" if here.talk.buttons else "message")


@each(NETWORKS)
async def test_a_missing_argument_is_asked_for(network: type[Talk], database: Database, tmp_path: Path) -> None:
    async with running(network, database, tmp_path) as here:
        await here.talk.say("/greet")
        await here.talk.simulator.until(lambda: "sent" in here.states().values(), seconds=60)
        if here.talk.forms:
            await here.talk.fill(name="Ada")
        else:
            await here.talk.say(here.talk.more)
        await here.talk.simulator.until(lambda: "Hello, Ada!" in here.talk.shown(), seconds=60)

    assert here.worker.heard[1].kind == ("form" if here.talk.forms else "message")


@each(NETWORKS)
async def test_what_the_network_limits_arrives_whole_and_in_order(
    network: type[Talk], database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for pause in SILENT_PAUSES:
        monkeypatch.setattr(f"integrations.channels.{pause}", 0.3)
    async with running(network, database, tmp_path) as here:
        await here.talk.say("hush")
        await here.until_heard(1)
        here.talk.simulator.limits[here.talk.operation] = Limit(1, 1.1)
        await here.post("first", "second", "third")
        await here.until_shown("first", "second", "third")


@each(SOCKETS)
async def test_a_connection_that_is_cut_twenty_times_comes_back_and_loses_nothing(
    network: type[Talk], database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("integrations.channels.link.FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr("integrations.channels.link.LONGEST_PAUSE_SECONDS", 0.05)
    async with running(network, database, tmp_path) as here:
        for number in range(20):
            await connected(here.talk)
            await here.talk.say(f"hush {number}")
            if here.talk.pushes_once:
                await here.until_heard(number + 1)
            await here.talk.cut()
        await here.until_heard(20)
        await connected(here.talk)
        await here.talk.say("/greet name=Ada")
        await here.until_shown("Hello, Ada!")

    assert sorted(message.text for message in here.worker.heard[:-1]) == sorted(f"hush {n}" for n in range(20))


@each(NETWORKS)
async def test_a_gateway_that_is_killed_while_messages_come_and_go_loses_and_doubles_nothing(
    network: type[Talk], database: Database, tmp_path: Path
) -> None:
    said = [f"hush {number}" for number in range(12)]
    async with running_apart(network, database, tmp_path) as here:
        talking = asyncio.create_task(say(here.talk, said))
        await here.until_heard(3)
        here.talk.simulator.fail(here.talk.last_operation or here.talk.operation, HANG_AFTERWARDS)
        await here.post("perhaps")
        await here.until_shown("perhaps")
        await here.gateway.kill()
        with database.engine.begin() as connection:  # The dead gateway's lease would last for a minute.
            connection.execute(sa.text("update runbell.outbox set lease_until = now() where state = 'sending'"))
        await here.gateway.start()
        await talking
        await here.until_heard(len(here.talk.taken(said)))
        await here.post("next")
        await here.until_shown("perhaps", "next")
        await here.talk.simulator.until(lambda: "sending" not in here.states().values())

    heard = [message.text for message in here.worker.heard]
    assert set(here.talk.taken(said)) <= set(heard)
    assert len(heard) == len(set(heard)) == here.runs()
    repeatable = here.gateway.channels[here.talk.name].repeatable
    assert here.states() == {"perhaps": "sent" if repeatable else "unknown", "next": "sent"}
