"""What another gateway left half shown goes on here, as it was: the card of a run as a card."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from integrations.channels import Capabilities, Receive
from integrations.channels.pace import Paces
from integrations.database.records import OpState, Snapshot
from integrations.gateway.growing import Growing
from integrations.gateway.hub import Hub
from integrations.messages import Address, Delivery, InboundMessage, OutboundMessage

ASKED = InboundMessage(
    address=Address(channel="desk", conversation="c"), event_id="e", account="ada", text="/report", ref="m1"
)
RUN = {"type": "run", "run_id": "r1", "command": "report", "url": "http://127.0.0.1:9", "progress": "card"}


class Desk:
    """A network that can change what it shows."""

    name = "desk"
    repeatable = True
    capabilities = Capabilities(edit=True, cards=True, streaming="edits")

    def __init__(self) -> None:
        self.edits: asyncio.Queue[tuple[str, OutboundMessage]] = asyncio.Queue()

    async def listen(self, receive: Receive) -> None: ...

    async def send(self, message: OutboundMessage) -> Delivery:
        raise AssertionError(f"a second message beside the half one: {message}")

    async def edit(self, platform_id: str, message: OutboundMessage) -> Delivery:
        self.edits.put_nowait((platform_id, message))
        return Delivery(state="sent", platform_id=platform_id)


class Left:
    """What stands in the database of an answer that nobody shows any longer."""

    url = "postgresql://127.0.0.1:9/none"

    def __init__(self) -> None:
        self.progress = SimpleNamespace(snapshot=lambda _: Snapshot(3, "r1", None, None, (op("fetch"),), "", RUN))
        self.growing = self
        self._left = [("m", "message:p7", ASKED)]

    def adopt(self, *_: object, **__: object) -> list[tuple[str, str, InboundMessage]]:
        left, self._left = self._left, []
        return left

    def keep(self, message_ids: list[str], *_: object, **__: object) -> set[str]:
        return set(message_ids)


def op(name: str) -> OpState:
    return OpState(name, "started", None)


async def test_the_card_of_a_run_goes_on_after_its_gateway_is_gone() -> None:
    database, desk = cast("Any", Left()), Desk()
    growing = Growing(database, Hub(database), "second", Paces())
    keeping = asyncio.create_task(growing.keep({"desk": desk}))

    async with asyncio.timeout(20):
        platform_id, shown = await desk.edits.get()

    keeping.cancel()
    await growing.close()
    assert platform_id == "p7"
    assert shown.card is not None
    assert (shown.card.title, shown.card.steps[0].name) == ("/report", "fetch")
