"""Who waits for news of which conversation, in this process. News come by NOTIFY, so from any worker or gateway.

The listener's thread hands each notification to the event loop. A subscriber's queue is bounded: when it runs full
it is emptied and the subscriber told to look into the database again, which is always the truth.
"""

import asyncio
import json
import logging
import threading
from collections import defaultdict, deque
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from integrations.database import Database, Listener
from integrations.gateway.metrics import SETTLED
from integrations.messages import Address

logger = logging.getLogger(__name__)
CHANNELS = ("runbell_progress", "runbell_settled", "runbell_outbox")
QUEUE = 256
Place = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Progressed:
    """Something happened to a message that is worked on; `body` is None where it must be read."""

    message_id: str
    seq: int
    body: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Settled:
    """A message came to its end."""

    message_id: str
    status: str


@dataclass(frozen=True, slots=True)
class Posted:
    """The transcript grew without a message's end."""


@dataclass(frozen=True, slots=True)
class Missed:
    """News may have been lost: look into the database."""


News = Progressed | Settled | Posted | Missed


@dataclass(eq=False)
class Subscription:
    """A bounded queue of news of one conversation."""

    place: Place
    queue: asyncio.Queue[News] = field(default_factory=lambda: asyncio.Queue[News](QUEUE))

    def put(self, news: News) -> None:
        """Add news; when nobody took the earlier ones in time, replace them all by one `Missed`."""
        if self.queue.full():
            while not self.queue.empty():
                self.queue.get_nowait()
            news = Missed()
        self.queue.put_nowait(news)


class Hub:
    """Distributes notifications."""

    def __init__(self, database: Database) -> None:
        self._listener = Listener(database.url, CHANNELS, self._heard)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._heard_of: deque[tuple[str, str]] = deque()
        self._awaited = threading.Event()
        self._subscriptions: dict[Place, set[Subscription]] = defaultdict(set)
        self._waiters: dict[str, set[asyncio.Event]] = defaultdict(set)
        self.outbox: dict[str, asyncio.Event] = defaultdict(asyncio.Event)

    def start(self) -> None:
        """Begin to listen, from within the event loop."""
        self._loop = asyncio.get_running_loop()
        self._heard_of.clear()
        self._awaited.clear()
        self._listener.start()

    def close(self) -> None:
        """Stop; blocks for a moment."""
        self._listener.close()

    @property
    def connected(self) -> bool:
        """Whether notifications arrive."""
        return self._listener.connected.is_set()

    @contextmanager
    def subscribe(self, address: Address) -> Generator[Subscription]:
        """Collect the news of a conversation from now on."""
        place = (address.tenant, address.channel, address.conversation)
        subscription = Subscription(place)
        self._subscriptions[place].add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions[place].discard(subscription)
            if not self._subscriptions[place]:
                del self._subscriptions[place]

    @contextmanager
    def settling(self, message_id: str) -> Generator[asyncio.Event]:
        """Give an event that is set when the message may have come to its end: look, clear, wait, look again."""
        event = asyncio.Event()
        self._waiters[message_id].add(event)
        try:
            yield event
        finally:
            self._waiters[message_id].discard(event)
            if not self._waiters[message_id]:
                del self._waiters[message_id]

    def _heard(self, channel: str, payload: str) -> None:
        """Cross from the listener's thread into the loop: once for all that it has not taken yet."""
        if self._loop is None or self._loop.is_closed():
            return
        self._heard_of.append((channel, payload))
        if not self._awaited.is_set():
            self._awaited.set()
            self._loop.call_soon_threadsafe(self._take)

    def _take(self) -> None:
        self._awaited.clear()  # first: what is heard from now on may need another turn
        for _ in range(len(self._heard_of)):
            self._distribute(*self._heard_of.popleft())

    def _distribute(self, channel: str, payload: str) -> None:
        if channel == "":
            self._wake_all()
        elif channel == "runbell_outbox":
            self.outbox[payload].set()
        else:
            try:
                self._tell(channel, json.loads(payload))
            except (ValueError, KeyError, TypeError):
                logger.warning("a notification could not be read", extra={"notify_channel": channel})

    def _tell(self, channel: str, told: dict[str, Any]) -> None:
        message_id: str | None = told["message_id"]
        news: News
        if channel == "runbell_progress":
            news = Progressed(str(message_id), int(told["seq"]), told["body"])
        elif message_id is None:
            news = Posted()
        else:
            news = Settled(message_id, told["status"])
            SETTLED.labels(told["channel"], told["status"]).inc()
            for event in self._waiters.get(message_id, ()):
                event.set()
        for subscription in self._subscriptions.get((told["tenant"], told["channel"], told["conversation"]), ()):
            subscription.put(news)

    def _wake_all(self) -> None:
        for group in self._subscriptions.values():
            for subscription in group:
                subscription.put(Missed())
        for events in self._waiters.values():
            for event in events:
                event.set()
        for event in self.outbox.values():
            event.set()
