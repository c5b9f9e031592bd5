"""What all networks share on the way through the gateway: numbers, amendments, growing answers, edits in place."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from integrations.channels import Accepted, Capabilities, Receive
from integrations.channels.pace import Paces
from integrations.database import Database
from integrations.errors import RateLimited, Unavailable
from integrations.gateway.arrivals import Arrivals
from integrations.gateway.deliver import Deliveries
from integrations.gateway.growing import Growing
from integrations.gateway.hub import Hub
from integrations.gateway.intake import Intake
from integrations.gateway.limits import Limits
from integrations.messages import Address, Choice, Delivery, InboundMessage, OutboundMessage

HERE = Address(channel="im", conversation="c1")
CHOICES = (Choice(label="Approve", text="/approve 12"), Choice(label="Deny", text="/deny 12"))


class Chat:
    """A network that keeps what it shows; `script` holds what goes wrong next."""

    name = "im"
    repeatable = False
    capabilities = Capabilities(markdown=True, edit=True, streaming="edits", edit_interval_s=0.05, max_text=200)

    def __init__(self) -> None:
        self.shown: list[str] = []
        self.history: list[str] = []
        self.script: list[Exception] = []

    async def listen(self, receive: Receive) -> None:
        """Return at once."""

    async def send(self, message: OutboundMessage) -> Delivery:
        self._happen(message)
        self.shown.append(message.text)
        return Delivery(state="sent", platform_id=str(len(self.shown) - 1))

    async def edit(self, platform_id: str, message: OutboundMessage) -> Delivery:
        self._happen(message)
        self.shown[int(platform_id)] = message.text
        return Delivery(state="sent", platform_id=platform_id)

    def _happen(self, message: OutboundMessage) -> None:
        if self.script:
            raise self.script.pop(0)
        self.history.append(message.text)


@dataclass
class Running:
    database: Database
    chat: Chat
    arrivals: Arrivals
    heard: int = 0

    async def say(self, text: str, **more: object) -> Accepted:
        self.heard += 1
        message = {"address": HERE, "event_id": f"e{self.heard}", "account": "u1", "text": text, **more}
        return await self.arrivals.receive(InboundMessage.model_validate(message))

    async def tell(self, message_id: str, **body: object) -> None:
        await asyncio.to_thread(self.database.progress.publish, message_id, HERE, body)

    async def answer(self, message_id: str, text: str, **more: object) -> None:
        reply = OutboundMessage.model_validate({"address": HERE, "text": text, "message_id": message_id, **more})
        assert await asyncio.to_thread(self.database.inbox.answer, message_id, [reply])

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(20):
            while not await asyncio.to_thread(condition):  # noqa: ASYNC110 - the database is what changes
                await asyncio.sleep(0.02)

    def sent(self) -> int:
        return len(self.database.outbox.find(["sent"]))


@asynccontextmanager
async def running(database: Database) -> AsyncGenerator[Running]:
    chat, hub, limits = Chat(), Hub(database), Limits(100_000)
    channels = {"im": chat}
    intake = Intake(database, limits, pending_per_conversation=100)
    paces = Paces()
    growing = Growing(database, hub, "test", paces)
    hub.start()
    tasks = [asyncio.create_task(intake.run())]
    tasks += [asyncio.create_task(Deliveries(database, hub, channels, "test", growing, paces).run())]
    try:
        yield Running(database, chat, Arrivals(database, intake, growing, channels))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await growing.close()
        await asyncio.to_thread(hub.close)


async def test_an_answer_grows_in_one_message_and_its_end_arrives(database: Database) -> None:
    async with running(database) as here:
        message_id = (await here.say("how are you?")).message_id
        for word in ("I ", "am ", "fine"):
            await here.tell(message_id, type="delta", text=word)
            await here.until(lambda word=word: any(word in shown for shown in here.chat.shown))
        await here.answer(message_id, "I am fine.")
        await here.until(here.sent)

        assert here.chat.shown == ["I am fine."]
        assert here.chat.history[-2] == "I am fine ▌"


async def test_a_resumed_run_starts_its_answer_anew(database: Database) -> None:
    async with running(database) as here:
        message_id = (await here.say("hi")).message_id
        await here.tell(message_id, type="delta", text="wrong")
        await here.until(lambda: here.chat.shown)
        await here.tell(message_id, type="reset")
        await here.tell(message_id, type="delta", text="right")
        await here.until(lambda: here.chat.shown == ["right ▌"])


async def test_limits_and_failures_at_the_end_are_overcome(database: Database) -> None:
    async with running(database) as here:
        message_id = (await here.say("hi")).message_id
        await here.tell(message_id, type="delta", text="the")
        await here.until(lambda: here.chat.shown)
        here.chat.script = [RateLimited("slow", after=0.1), Unavailable("down")]
        await here.answer(message_id, "the end " * 40)
        await here.until(here.sent)

        assert " ".join(here.chat.shown).split() == ["the", "end"] * 40


async def test_a_number_says_what_its_choice_says(database: Database) -> None:
    async with running(database) as here:
        first = await here.say("refund")
        await here.answer(first.message_id, "Sure?", choices=CHOICES)
        await here.until(here.sent)
        second, third = await here.say("1"), await here.say("7")

        assert "1. Approve" in here.chat.shown[0]
        texts = {m.message_id: m.message.text for m in database.inbox.claim("w") + database.inbox.claim("w")}
        assert texts.get(second.message_id) == "/approve 12"
        assert third.message_id not in texts


async def test_what_waits_can_be_changed_and_taken_back_by_its_sender_only(database: Database) -> None:
    async with running(database) as here:
        kept = await here.say("/digest", ref="m1")
        gone = await here.say("/digest", ref="m2")
        await here.say("/status", kind="edit", subject="m1")
        await here.say("/evil", kind="edit", subject="m1", account="u2")
        await here.say("", kind="delete", subject="m2")
        late = await here.say("", kind="delete", subject="m9")

        (claimed,) = database.inbox.claim("w", limit=5)
        await here.say("/late", kind="edit", subject="m1")
        assert (claimed.message_id, claimed.message.text) == (kept.message_id, "/status")
        assert gone.message_id != kept.message_id
        assert late == Accepted("", duplicate=True)


async def test_a_message_takes_the_place_of_the_one_it_replaces(database: Database) -> None:
    async with running(database) as here:
        card = OutboundMessage(address=HERE, text="running", kind="post")
        await asyncio.to_thread(database.outbox.post, card, key="card-1")
        await here.until(here.sent)
        done = card.model_copy(update={"text": "done", "replaces": "card-1"})
        await asyncio.to_thread(database.outbox.post, done, key="card-2")
        await here.until(lambda: here.sent() == 2)

        assert here.chat.shown == ["done"]
