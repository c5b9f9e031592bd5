"""Answers that grow on networks: tokens of a message that came in here are shown there while it is worked on.

The process that received a message streams its answer, and the outbox hands it the final state (`take`). Where
another process delivers that, it comes as a message of its own.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from integrations.channels import Channel, Editing, Stream, Streaming
from integrations.channels.degrade import fit
from integrations.channels.stream import EditedStream, OpenedStream, Throttle
from integrations.database import Database
from integrations.gateway.hub import Hub, Missed, News, Progressed, Settled
from integrations.messages import InboundMessage, OutboundMessage

logger = logging.getLogger(__name__)
MOST = 1000
LONGEST_SECONDS = 1800.0


@dataclass(eq=False)
class _Answer:
    """The answer of one message while it grows; `throttle` is there once its first word is."""

    message_id: str
    open: Callable[[], Throttle]
    text: str = ""
    seq: int = 0
    throttle: Throttle | None = None
    task: asyncio.Task[None] | None = field(default=None, repr=False)


class Growing:
    """All answers that grow through this process."""

    def __init__(self, database: Database, hub: Hub) -> None:
        self._progress = database.progress
        self._hub = hub
        self._answers: dict[str, _Answer] = {}

    def watch(self, channel: Channel, message_id: str, message: InboundMessage) -> None:
        """Show the answer of this message while it grows, if the channel can and it ever does. Returns at once."""
        stream = _stream(channel, message_id, message)
        if stream is None or len(self._answers) >= MOST:
            return
        answer = _Answer(message_id, lambda: _throttle(channel, stream, message))
        self._answers[message_id] = answer
        answer.task = asyncio.create_task(self._follow(answer, message), name=f"growing {message_id}")

    async def take(self, message_id: str | None) -> Throttle | None:
        """Return the stream that shall end with the final state, None where nothing has grown. It is the caller's."""
        answer = self._answers.pop(message_id or "", None)
        if answer is None:
            return None
        if answer.task is not None:
            answer.task.cancel()
            await asyncio.gather(answer.task, return_exceptions=True)
        return answer.throttle

    async def close(self) -> None:
        """Stop showing."""
        tasks = [answer.task for answer in self._answers.values() if answer.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow(self, answer: _Answer, message: InboundMessage) -> None:
        try:
            async with asyncio.timeout(LONGEST_SECONDS):
                with self._hub.subscribe(message.address) as subscription:
                    while not await self._heard(answer, await subscription.queue.get()):
                        pass
                # The final state is in the outbox now; whoever delivers it takes the answer from here.
                await asyncio.sleep(LONGEST_SECONDS)
        except TimeoutError:
            self._answers.pop(answer.message_id, None)
        except Exception:
            logger.exception("an answer can't be followed", extra={"message_id": answer.message_id})

    async def _heard(self, answer: _Answer, news: News) -> bool:
        """Take in news; tell whether the message has come to its end."""
        if isinstance(news, Missed):
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
        if news.body["type"] == "reset":
            answer.text = ""
        elif news.body["type"] == "delta":
            answer.text += str(news.body["text"])
            _show(answer)

    async def _look(self, answer: _Answer) -> None:
        """Read what was missed."""
        snapshot = await asyncio.to_thread(self._progress.snapshot, answer.message_id)
        answer.seq, answer.text = snapshot.seq, snapshot.partial
        _show(answer)


def _show(answer: _Answer) -> None:
    if answer.text.strip():
        answer.throttle = answer.throttle or answer.open()
        answer.throttle.put(answer.text)


def _stream(channel: Channel, message_id: str, message: InboundMessage) -> Stream | None:
    opening = OutboundMessage(
        address=message.address, text="", in_reply_to=message.ref, asked=message.account, message_id=message_id
    )
    if channel.capabilities.streaming == "native" and isinstance(channel, Streaming):
        return OpenedStream(channel, opening)
    return EditedStream(channel, opening) if isinstance(channel, Editing) else None


def _throttle(channel: Channel, stream: Stream, message: InboundMessage) -> Throttle:
    can = channel.capabilities

    def first_part(text: str) -> str:
        """Return what of a growing text one message holds; the rest comes with the final state."""
        return fit(OutboundMessage(address=message.address, text=text), can)[0].text

    return Throttle(stream, can.edit_interval_s, limit=first_part)
