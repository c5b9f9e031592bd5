"""Group commit of incoming messages: many in one transaction, each acknowledged only after it is on the disk.

While one commit runs, what arrives meanwhile forms the next one; an idle gateway commits a message at once. What
waits is bounded: beyond it callers are told to come back.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from integrations.channels import Accepted
from integrations.database import Database, Received
from integrations.errors import Overloaded, RateLimited, RunbellError
from integrations.gateway.limits import Limits
from integrations.gateway.metrics import COMMIT_SECONDS, COMMIT_SIZE, INTAKE_QUEUE, RECEIVED
from integrations.messages import InboundMessage
from integrations.telemetry import current_traceparent, span

logger = logging.getLogger(__name__)
MAX_WAITING = 2000
MAX_BATCH = 250


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    message: InboundMessage
    done: asyncio.Future[Accepted]


class Intake:
    """The one way into the inbox for this process."""

    def __init__(self, database: Database, limits: Limits, *, pending_per_conversation: int) -> None:
        self._database = database
        self._limits = limits
        self._pending_limit = pending_per_conversation
        self._waiting: deque[_Waiting] = deque()
        self._wake = asyncio.Event()
        self._closing = False

    async def receive(self, message: InboundMessage) -> Accepted:
        """Store one message and say so; see `channels.Receive` for what is raised."""
        self._limits.write(f"{message.address.channel}:{message.account}")
        if self._closing or len(self._waiting) >= MAX_WAITING:
            RECEIVED.labels(message.address.channel, "overloaded").inc()
            raise Overloaded("Too many messages wait to be stored; come back in a second.", after=1.0)
        with span("gateway receive", traceparent=message.traceparent, channel=message.address.channel):
            traced = message.model_copy(update={"traceparent": current_traceparent()})
            waiting = _Waiting(traced, asyncio.get_running_loop().create_future())
            self._waiting.append(waiting)
            self._wake.set()
            return await waiting.done

    async def run(self) -> None:
        """Commit batches until closed and empty."""
        while not (self._closing and not self._waiting):
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(MAX_BATCH, len(self._waiting)))]
                INTAKE_QUEUE.set(len(batch) + len(self._waiting))
                await self._commit(batch)
            INTAKE_QUEUE.set(0)

    def close(self) -> None:
        """Take no more; `run` ends once everything that waits is stored or refused."""
        self._closing = True
        self._wake.set()

    async def _commit(self, batch: Sequence[_Waiting]) -> None:
        started_at = time.perf_counter()
        try:
            results = await asyncio.to_thread(self._store, [waiting.message for waiting in batch])
        except RunbellError as error:
            _refuse(batch, error)
        except Exception as error:  # noqa: BLE001 - the loop must outlive one bad message
            await self._isolate(batch, error)
        else:
            for waiting, result in zip(batch, results, strict=True):
                self._acknowledge(waiting, result)
            COMMIT_SECONDS.observe(time.perf_counter() - started_at)
            COMMIT_SIZE.observe(len(batch))

    def _store(self, messages: list[InboundMessage]) -> list[Received]:
        return self._database.inbox.receive(messages, pending_limit=self._pending_limit)

    async def _isolate(self, batch: Sequence[_Waiting], error: Exception) -> None:
        """Store the messages of a failed batch one by one, so that one that can't be stored harms itself only."""
        if len(batch) > 1:
            for waiting in batch:
                await self._commit([waiting])
            return
        logger.error("a message could not be stored", exc_info=error)
        _refuse(batch, error)

    def _acknowledge(self, waiting: _Waiting, result: Received) -> None:
        channel = waiting.message.address.channel
        if result.message_id is None:
            RECEIVED.labels(channel, "refused").inc()
            _set_error(
                waiting,
                RateLimited(
                    f"{self._pending_limit} messages wait in this conversation already; let them be answered first.",
                    after=5.0,
                ),
            )
            return
        RECEIVED.labels(channel, "stored" if result.fresh else "duplicate").inc()
        if not waiting.done.done():  # A caller that left is not told; its message stays stored.
            waiting.done.set_result(Accepted(result.message_id, duplicate=not result.fresh))


def _refuse(batch: Sequence[_Waiting], error: Exception) -> None:
    for waiting in batch:
        RECEIVED.labels(waiting.message.address.channel, "failed").inc()
        _set_error(waiting, error)


def _set_error(waiting: _Waiting, error: Exception) -> None:
    if not waiting.done.done():
        waiting.done.set_exception(error)
