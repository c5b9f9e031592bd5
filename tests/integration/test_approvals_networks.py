"""Asked for on Telegram, decided on Slack, with everything between stopped and started while it waits."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta

import pytest

from integrations.approvals.values import Approval
from integrations.channels.simulators.slack import SimulatedSlack
from integrations.channels.simulators.telegram import SimulatedTelegram
from tests.approvals import let_pass
from tests.living import Living
from tests.warming import WarmHome, warm

__all__ = ["warm"]


class Office:
    """Two networks, and the platform between them, which can be stopped and started."""

    def __init__(self, warm: WarmHome, telegram: SimulatedTelegram, slack: SimulatedSlack) -> None:
        self.warm = warm
        self.telegram = telegram
        self.slack = slack
        channels = {"telegram": telegram.settings("polling"), "slack": slack.settings("socket")}
        self._channels: dict[str, object] = dict(channels)

    @asynccontextmanager
    async def platform(self) -> AsyncGenerator[None]:
        """A gateway and a worker, from their start to their end."""
        gateway = Living(self.warm.database, self.warm.folder, self._channels)
        async with AsyncExitStack() as stack:
            await gateway.start()
            stack.push_async_callback(gateway.stop)
            worker = self.warm.worker("core")
            await asyncio.to_thread(worker.__enter__)
            stack.push_async_callback(asyncio.to_thread, worker.__exit__, None, None, None)
            yield

    async def asks(self, text: str) -> Approval:
        """Say something that waits for an approval, and return it once its card is on Slack."""
        shown = len(self.slack.posted("C1"))
        await self.telegram.say(1, text)
        await self.slack.until(lambda: len(self.slack.posted("C1")) > shown, seconds=60)
        boss = self.warm.database.principals.resolve("default", "slack", "UBOSS", name="Boss")
        return self.warm.database.approvals.concerning(boss)[0]

    async def press(self, approval: Approval, label: str, user: str = "UBOSS") -> None:
        await self.slack.press(self.card(approval)["ts"], label, user=user)

    def card(self, approval: Approval):
        return next(post for post in self.slack.posted("C1") if f"Approval {approval.id}" in json.dumps(post))

    async def told(self, words: str) -> None:
        await self.telegram.until(lambda: any(words in text for text in self.telegram.texts(1)), seconds=60)

    async def answered(self, words: str) -> None:
        """Wait for words on Slack, wherever they stand."""
        await self.slack.until(lambda: any(words in json.dumps(post) for post in self.slack.posted()), seconds=60)

    async def final(self, approval: Approval, words: str) -> None:
        """Wait until the card on Slack shows how it ended, without buttons."""

        def ended() -> bool:
            card = self.card(approval)
            return words in json.dumps(card) and "actions" not in [block["type"] for block in card.get("blocks", ())]

        await self.slack.until(ended, seconds=60)

    def paid(self) -> list[str]:
        file = self.warm.folder / "paid"
        return file.read_text().split() if file.exists() else []


@pytest.fixture
async def office(warm: WarmHome) -> AsyncGenerator[Office]:
    async with SimulatedTelegram() as telegram, SimulatedSlack() as slack:
        yield Office(warm, telegram, slack)
        await asyncio.get_running_loop().shutdown_default_executor()


@pytest.mark.parametrize("command", ["pay", "settle"])
async def test_what_was_approved_elsewhere_after_a_restart_happens_once(office: Office, command: str) -> None:
    """`pay` waits before its run, `settle` inside it."""
    async with office.platform():
        await office.telegram.say(1, f"/{command}")
        await office.told("needs it")
        approval = await office.asks("7")
        await office.told("waits for approval" if command == "pay" else "order")
        assert office.paid() == []
    assert (
        await asyncio.to_thread(lambda: office.warm.database.approvals.get(approval.id, "default").state) == "pending"
    )

    async with office.platform():
        if command == "pay":
            await office.press(approval, "Approve")
        else:
            await office.slack.say("D1", f"/approve {approval.id} agreed", user="UBOSS")
        await office.told("Order 7 is paid")
        await office.final(approval, "approved")
        await office.slack.say("D1", f"/approve {approval.id}", user="UBOSS")
        await office.answered("is over: approved")

    assert office.paid() == ["7"]


async def test_what_was_not_approved_does_not_happen_and_everybody_is_told(office: Office) -> None:
    async with office.platform():
        denied = await office.asks("/pay order=1")
        await office.press(denied, "Approve", user="UEVE")
        await office.answered("not among those who may decide")
        await office.press(denied, "Deny")
        await office.told("denied by")
        await office.final(denied, "denied")

        expired = await office.asks("/pay order=2")
        await office.telegram.say(1, f"/approve {expired.id}")
        await office.told("asked for")
        await asyncio.to_thread(let_pass, office.warm.database, expired, timedelta(days=1))
        await office.told("nobody decided in time")
        await office.final(expired, "expired")

        voided = await office.asks("/pay order=3")
        await office.telegram.say(1, "/cancel")
        await office.told("taken back by")
        await office.final(voided, "void")
        await office.slack.say("D1", f"/approve {voided.id}", user="UBOSS")
        await office.answered("is over: void")

    assert office.paid() == []
