"""A command's run in its thread, on every network: a card that ticks, the answer in its place, buttons that count once.

Real gateway, dispatcher, worker and Dagster runs; simulated networks.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from integrations.database import QueuedRun
from tests.living import Living
from tests.talking import NETWORKS, SOCKETS, SlackTalk, Talk, TelegramTalk, WeComRobotTalk
from tests.warming import WarmHome, warm

__all__ = ["warm"]


@dataclass
class Thread:
    """One person in one thread, with the installation behind it."""

    talk: Talk
    warm: WarmHome
    gateway: Living

    @property
    def ticks(self) -> bool:
        return self.gateway.channels[self.talk.name].capabilities.streaming != "none"

    def runs(self) -> list[QueuedRun]:
        return self.warm.database.runs.latest(tenant="default", limit=100)

    def release(self, run: QueuedRun) -> None:
        (self.warm.folder / f"{run.run_id}.go").touch()

    async def until_seen(self, *texts: str) -> str:
        """Wait for a message that shows all this."""

        def found() -> list[str]:
            return [one for one in self.talk.seen() if all(text in one for text in texts)]

        await self.talk.simulator.until(found, seconds=30)
        return found()[-1]

    async def until_runs(self, count: int) -> QueuedRun:
        await self.talk.simulator.until(lambda: len(self.runs()) == count, seconds=30)
        return self.runs()[0]

    async def delivered(self, count: int) -> None:
        outbox = self.warm.database.outbox
        await self.talk.simulator.until(lambda: len(outbox.find(["sent"])) == count, seconds=30)


@asynccontextmanager
async def thread(network: type[Talk], warm: WarmHome) -> AsyncGenerator[Thread]:
    talk = network()
    async with talk.simulator:
        gateway = Living(warm.database, warm.folder, {talk.table: talk.section()})
        await gateway.start()
        talk.reach(gateway.url)
        worker = warm.worker("core", threads=4)
        await asyncio.to_thread(worker.__enter__)
        try:
            if network in SOCKETS:
                await talk.simulator.until(lambda: talk.connected, seconds=30)
            yield Thread(talk, warm, gateway)
        finally:
            await asyncio.to_thread(worker.__exit__, None, None, None)
            await gateway.stop()
            await asyncio.get_running_loop().shutdown_default_executor()


# A stream of WeCom's robot has buttons at its end only, so no run can be canceled from it.
@pytest.mark.parametrize(
    "network", [one for one in NETWORKS if one is not WeComRobotTalk], ids=lambda network: network.__name__
)
async def test_a_run_ticks_in_its_thread_and_its_answer_takes_the_place_of_the_card(
    network: type[Talk], warm: WarmHome
) -> None:
    async with thread(network, warm) as here:
        await here.talk.say("/waiting")
        run = await here.until_runs(1)
        if here.ticks:
            await here.until_seen("/waiting", "noted", "waits", "▶️", "Cancel")
        here.release(run)
        shown = await here.until_seen("it is 1")
        await here.delivered(1)

        assert len(here.talk.seen()) == 1
        assert run.run_id in shown
        assert "▶️" not in shown
        assert ("Run again" in shown) == here.ticks


@pytest.mark.parametrize("network", [SlackTalk, TelegramTalk], ids=lambda network: network.name)
async def test_buttons_cancel_retry_and_run_again_once_each(network: type[Talk], warm: WarmHome) -> None:
    async with thread(network, warm) as here:
        await here.talk.say("/waiting")
        first = await here.until_runs(1)
        await here.until_seen("waits", "Cancel")
        await here.talk.press("Cancel")
        canceled = await here.until_seen("was canceled", "Retry from failure", "Run again")
        await here.delivered(2)  # that it is being canceled, and that it was
        assert "Cancel" not in canceled.replace("was canceled", "")

        await here.talk.say("/mendable")
        failed = await here.until_runs(2)
        await here.until_seen("still broken", "Retry from failure")
        (warm.folder / "mended").touch()
        await here.talk.press("Retry from failure")
        await here.until_seen("it is 2", "Run again")
        await here.delivered(4)
        await here.talk.press("Run again")
        again = await here.until_runs(4)
        await here.delivered(5)

        await here.talk.say(f"/retry {failed.run_id}")
        await here.until_seen("was done already")
        await here.talk.say(f"/again {here.runs()[1].run_id}")
        await here.delivered(7)

        assert len(here.runs()) == 4
        assert again.job == "mendable"
        assert warm.status(first.run_id) == "CANCELED"
        assert here.talk.seen()[-1].count(again.run_id[:8]) >= 1
