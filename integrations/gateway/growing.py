"""Answers that grow on networks: what is worked on is shown there, word by word, or as the card of a command's run.

The process that received a message streams its answer, and the outbox hands it the final state (`take`). It says so in
the database before it shows anything: until it has gone silent for a while no other process delivers that final
state, and then one does in the place of what is shown (`integrations/database/growing.py`). What a process left half
and can be edited goes on growing through another one, or through the same after its restart (`adopt`).
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from integrations.channels import Channel, Editing, Stream, Streaming
from integrations.channels.degrade import fit
from integrations.channels.pace import Pace, Paces
from integrations.channels.stream import EDITED, MARK, EditedStream, InheritedStream, OpenedStream, Throttle
from integrations.database import Database
from integrations.database.growing import LEASE_S, GrowingAnswers
from integrations.errors import RunbellError, TemporaryError
from integrations.gateway.hub import Hub, Missed, News, Progressed, Settled, Subscription
from integrations.gateway.run_card import DELAY_S, RunCard
from integrations.messages import Delivery, InboundMessage, OutboundMessage

logger = logging.getLogger(__name__)
MOST = 1000
LONGEST_SECONDS = 1800.0


@dataclass(eq=False)
class _Answer:
    """The answer of one message while it grows; `throttle` is there once something of it can be seen."""

    message_id: str
    message: InboundMessage
    open: Callable[["_Answer"], Throttle]
    text: str = ""
    seq: int = 0
    card: RunCard | None = None
    handle: str | None = None
    """Of what another process, now gone, has shown of it."""
    noted: bool = False
    """Whether the database knows that it is shown here."""
    throttle: Throttle | None = None
    task: asyncio.Task[None] | None = field(default=None, repr=False)


class Growing:
    """All answers that grow through this process, which the database knows as `gateway`."""

    def __init__(self, database: Database, hub: Hub, gateway: str, paces: Paces) -> None:
        self._progress = database.progress
        self._kept = database.growing
        self._hub = hub
        self._gateway = gateway
        self._paces = paces
        self._answers: dict[str, _Answer] = {}

    def watch(self, channel: Channel, message_id: str, message: InboundMessage) -> None:
        """Show the answer of this message while it grows, if the channel can and it ever does. Returns at once."""
        if channel.capabilities.streaming == "none" or len(self._answers) >= MOST:
            return
        self._begin(channel, message_id, message)

    def _begin(self, channel: Channel, message_id: str, message: InboundMessage, handle: str | None = None) -> None:
        turn = _Turn(self._paces.of(channel.name, channel.capabilities.rates), message)

        def opened(answer: _Answer) -> Throttle:
            return _throttle(
                channel, _Noted(_stream(channel, answer), self._kept, self._gateway, turn, answer), message
            )

        answer = _Answer(message_id, message, opened, handle=handle, noted=handle is not None)
        self._answers[message_id] = answer
        if handle is not None:
            # Whatever comes next, the end shall be put in its place.
            answer.throttle = opened(answer)
        answer.task = asyncio.create_task(self._follow(answer, message), name=f"growing {message_id}")

    async def take(self, channel: Channel, message_id: str | None) -> Throttle | None:
        """Return the stream that shall end with the final state, None where nothing has grown. It is the caller's."""
        if message_id is None or channel.capabilities.streaming == "none":
            return None
        answer = self._answers.pop(message_id, None)
        if answer is None:
            handle = await asyncio.to_thread(self._kept.handle, message_id)
            return Throttle(InheritedStream(channel, handle), channel.capabilities.edit_interval_s) if handle else None
        if answer.task is not None:
            answer.task.cancel()
            await asyncio.gather(answer.task, return_exceptions=True)
        return answer.throttle

    async def keep(self, channels: Mapping[str, Channel]) -> None:
        """Go on saying which answers are shown here, and take over what nobody shows any longer, until cancelled."""
        while True:
            try:
                await self._hold()
                await self._adopt({name: one for name, one in channels.items() if isinstance(one, Editing)})
            except TemporaryError as error:
                logger.warning("growing answers can't be kept now", extra={"error": str(error)})
            await asyncio.sleep(LEASE_S / 3)

    async def _hold(self) -> None:
        """Say which are shown here, and show nothing more of what another process has taken over meanwhile."""
        noted = [answer.message_id for answer in self._answers.values() if answer.noted]
        kept = await asyncio.to_thread(self._kept.keep, noted, self._gateway) if noted else set[str]()
        for message_id in set(noted) - kept:
            answer = self._answers.pop(message_id, None)
            if answer is not None and answer.task is not None and answer.throttle is not None:
                answer.task.cancel()
                await answer.throttle.stop()

    async def _adopt(self, channels: Mapping[str, Channel]) -> None:
        look = partial(self._kept.adopt, self._gateway, list(channels), but=list(self._answers))
        room = MOST - len(self._answers)
        for message_id, handle, message in await asyncio.to_thread(
            look, handles=f"{EDITED}%", younger_s=LONGEST_SECONDS, limit=room
        ):
            logger.info("a half answer goes on here", extra={"message_id": message_id})
            self._begin(channels[message.address.channel], message_id, message, handle)

    async def close(self) -> None:
        """Stop showing, and leave what is shown to others."""
        answers = list(self._answers.values())
        tasks = [answer.task for answer in answers if answer.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        throttles = [answer.throttle for answer in answers if answer.throttle is not None]
        await asyncio.gather(*(throttle.stop() for throttle in throttles), return_exceptions=True)
        try:
            shown = [answer.message_id for answer in answers if answer.throttle is not None]
            await asyncio.to_thread(self._kept.keep, shown, self._gateway, lease_s=0.0)
        except TemporaryError as error:
            logger.warning("growing answers are left when their lease ends", extra={"error": str(error)})

    async def _follow(self, answer: _Answer, message: InboundMessage) -> None:
        try:
            async with asyncio.timeout(LONGEST_SECONDS):
                with self._hub.subscribe(message.address) as subscription:
                    if answer.handle is not None:
                        await self._look(answer)
                    while not await self._heard(answer, await _next(answer, subscription)):
                        pass
                # The final state is in the outbox now; whoever delivers it takes the answer from here.
                await asyncio.sleep(LONGEST_SECONDS)
        except TimeoutError:
            self._answers.pop(answer.message_id, None)
        except Exception:
            logger.exception("an answer can't be followed", extra={"message_id": answer.message_id})

    async def _heard(self, answer: _Answer, news: News | None) -> bool:
        """Take in news, or that time has passed; tell whether the message has come to its end."""
        if news is None:
            _show(answer)
        elif isinstance(news, Missed):
            await self._look(answer)
        elif isinstance(news, Settled):
            return news.message_id == answer.message_id
        elif isinstance(news, Progressed) and news.message_id == answer.message_id:
            await self._grow(answer, news)
        return False

    async def _grow(self, answer: _Answer, news: Progressed) -> None:
        if news.body is None or news.seq > answer.seq + 1:
            await self._look(answer)
            return
        if news.seq <= answer.seq:
            return
        answer.seq = news.seq
        if answer.card is None and news.body["type"] == "run":
            answer.card = _card(answer, news.body)
        if news.body["type"] == "reset":
            answer.text = ""
        elif news.body["type"] == "delta":
            answer.text += str(news.body["text"])
        elif answer.card is not None:
            answer.card.hear(news.body)
        _show(answer)

    async def _look(self, answer: _Answer) -> None:
        """Read what was missed."""
        snapshot = await asyncio.to_thread(self._progress.snapshot, answer.message_id)
        answer.seq, answer.text = snapshot.seq, snapshot.partial
        if answer.card is None and snapshot.run is not None:
            answer.card = _card(answer, snapshot.run)
        if answer.card is not None:
            answer.card.ops = {op.op: (op.state, op.ms) for op in snapshot.ops}
        _show(answer)


@dataclass(frozen=True)
class _Turn:
    """Where an answer grows, and how fast it may."""

    pace: Pace
    message: InboundMessage

    def take(self) -> None:
        """Count one update; raises RateLimited where there is no room for it now."""
        self.pace.spare(self.message.address, group=not self.message.direct)


class _Noted:
    """A stream that notes in the database what it shows, before it shows it."""

    def __init__(self, stream: Stream, kept: GrowingAnswers, gateway: str, turn: _Turn, answer: _Answer) -> None:
        self._stream = stream
        self._kept = kept
        self._gateway = gateway
        self._turn = turn
        self._answer = answer

    @property
    def handle(self) -> str | None:
        """That of the stream."""
        return self._stream.handle

    async def update(self, text: str) -> None:
        """Show the text, in its turn; raises RunbellError where the answer is another's to show, or given already."""
        self._turn.take()
        message_id, before = self._answer.message_id, self._stream.handle
        if not self._answer.noted:
            self._answer.noted = await asyncio.to_thread(self._kept.begin, message_id, self._gateway)
            if not self._answer.noted:
                raise RunbellError("The answer is there already, or grows through another gateway.")
        await self._stream.update(text)
        handle = self._stream.handle
        if handle is not None and before is None:
            await asyncio.to_thread(self._kept.shown, message_id, handle)

    async def finish(self, message: OutboundMessage) -> Delivery:
        """Show the final state."""
        return await self._stream.finish(message)


async def _next(answer: _Answer, subscription: Subscription) -> News | None:
    """Return the next news; None where the card looks otherwise now without any."""
    try:
        async with asyncio.timeout(answer.card and answer.card.pause(time.monotonic())):
            return await subscription.queue.get()
    except TimeoutError:
        return None


def _show(answer: _Answer) -> None:
    text = answer.text
    if answer.card is not None:
        text = answer.card.text() if answer.card.is_due(time.monotonic()) else ""
    if text.strip():
        answer.throttle = answer.throttle or answer.open(answer)
        answer.throttle.put(text)


def _card(answer: _Answer, told: Mapping[str, object]) -> RunCard | None:
    # One that was seen already, before another process went, need not wait for its moment.
    since = time.monotonic() - (DELAY_S if answer.handle is not None else 0.0)
    return RunCard.of(told, answer.message.received_at, since)


def _stream(channel: Channel, answer: _Answer) -> Stream:
    message, can = answer.message, channel.capabilities
    opening = OutboundMessage(
        address=message.address,
        text="",
        in_reply_to=message.ref or message.subject,
        asked=message.account,
        message_id=answer.message_id,
    )

    def shape(text: str) -> OutboundMessage:
        card = answer.card
        return opening.model_copy(update={"text": text + MARK}) if card is None else fit(card.on(opening), can)[0]

    edited = answer.handle is not None or (answer.card is not None and can.edit)
    if edited and isinstance(channel, Editing):
        return EditedStream(channel, opening, shape, answer.handle)
    if can.streaming == "native" and isinstance(channel, Streaming):
        return OpenedStream(channel, opening)
    assert isinstance(channel, Editing)
    return EditedStream(channel, opening)


def _throttle(channel: Channel, stream: Stream, message: InboundMessage) -> Throttle:
    can = channel.capabilities

    def first_part(text: str) -> str:
        """Return what of a growing text one message holds; the rest comes with the final state."""
        return fit(OutboundMessage(address=message.address, text=text), can)[0].text

    return Throttle(stream, can.edit_interval_s, limit=first_part)
