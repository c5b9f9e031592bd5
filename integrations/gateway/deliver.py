"""The outbox's way out: lease what waits for our channels, send it, record how that ended.

Leases keep the order within a conversation. A message whose sender died is sent again only on channels that can
repeat harmlessly; elsewhere nobody can tell whether it arrived, so it is recorded as `unknown`.
"""

import asyncio
import logging
import random
import time
from collections.abc import Mapping

from integrations.channels import Channel
from integrations.channels.outbound import Outbound
from integrations.channels.pace import Paces
from integrations.channels.stream import Throttle
from integrations.database import Database, OutboxItem
from integrations.errors import PermanentError, RateLimited, TemporaryError
from integrations.gateway.growing import Growing
from integrations.gateway.hub import Hub
from integrations.gateway.metrics import DELIVERIES
from integrations.messages import Delivery
from integrations.telemetry import span

logger = logging.getLogger(__name__)
AT_ONCE = 50
LEASE_SECONDS = 60.0
SEND_SECONDS = 45.0
POLL_SECONDS = 5.0
LONGEST_PAUSE_SECONDS = 900.0
DRAIN_SECONDS = 5.0


class Deliveries:
    """One loop per channel, so that a slow network delays nobody else's answers, nor a slow conversation another."""

    def __init__(
        self,
        database: Database,
        hub: Hub,
        channels: Mapping[str, Channel],
        worker: str,
        growing: Growing | None = None,
        paces: Paces | None = None,
    ) -> None:
        self._outbox = database.outbox
        self._hub = hub
        self._channels = channels
        self._worker = worker
        paces = paces or Paces()
        self._outbound = {
            name: Outbound(channel, paces.of(name, channel.capabilities.rates)) for name, channel in channels.items()
        }
        self._growing = growing
        self._streams: dict[int, Throttle] = {}
        self._recover_at: dict[str, float] = {}

    async def run(self) -> None:
        """Deliver for all channels until cancelled; what is on its way then has a moment to arrive."""
        async with asyncio.TaskGroup() as group:
            for channel in self._channels.values():
                group.create_task(self._serve(channel), name=f"deliver {channel.name}")

    async def _serve(self, channel: Channel) -> None:
        wake = self._hub.outbox[channel.name]
        sending: set[asyncio.Task[None]] = set()

        def ended(task: asyncio.Task[None]) -> None:
            sending.discard(task)
            wake.set()

        try:
            while True:
                wake.clear()
                for item in await self._take_safely(channel, AT_ONCE - len(sending)):
                    task = asyncio.create_task(self._deliver(channel, item), name=f"deliver {item.id}")
                    sending.add(task)
                    task.add_done_callback(ended)
                await _wait(wake)
        finally:
            if sending:
                _, late = await asyncio.wait(sending, timeout=DRAIN_SECONDS)
                for task in late:
                    task.cancel()

    async def _take_safely(self, channel: Channel, most: int) -> list[OutboxItem]:
        try:
            return await self._take(channel, most) if most > 0 else []
        except TemporaryError as error:
            logger.warning("the outbox can't be read now", extra={"channel": channel.name, "error": str(error)})
            await asyncio.sleep(error.after)
        except Exception:
            logger.exception("the outbox can't be read", extra={"channel": channel.name})
            await asyncio.sleep(POLL_SECONDS)
        self._hub.outbox[channel.name].set()
        return []

    async def _take(self, channel: Channel, most: int) -> list[OutboxItem]:
        name = channel.name
        if time.monotonic() > self._recover_at.get(name, 0.0):
            self._recover_at[name] = time.monotonic() + LEASE_SECONDS / 4
            await asyncio.to_thread(self._outbox.recover, [name], repeatable=[name] if channel.repeatable else [])
        items = await asyncio.to_thread(self._outbox.lease, [name], self._worker, limit=most, lease_s=LEASE_SECONDS)
        if len(items) == most:
            self._hub.outbox[name].set()  # There may be more.
        return items

    async def _deliver(self, channel: Channel, item: OutboxItem) -> None:
        retry_after_s: float | None = None
        counted = True
        try:
            with span(
                "deliver", traceparent=item.traceparent, channel=channel.name, message_id=item.message.message_id
            ):
                async with asyncio.timeout(SEND_SECONDS):
                    delivery = await self._send(channel, item)
        except RateLimited as error:
            # The network wants us to wait, and nothing is wrong with the message.
            retry_after_s, counted = error.after, False
            delivery = Delivery(state="failed", error=str(error))
        except TemporaryError as error:
            retry_after_s = _pause(item.attempts, error.after)
            delivery = Delivery(state="failed", error=str(error))
        except PermanentError as error:
            delivery = Delivery(state="failed", error=str(error))
        except Exception as error:
            # It may have arrived, so it must not be sent again blindly.
            logger.exception("sending ended in an unforeseen way", extra={"channel": channel.name, "item": item.id})
            delivery = Delivery(state="unknown", error=f"{type(error).__name__}: {error}")
        await self._record(item, delivery, retry_after_s, counted=counted)
        DELIVERIES.labels(channel.name, delivery.state).inc()
        if retry_after_s is None:
            self._streams.pop(item.id, None)
        else:
            asyncio.get_running_loop().call_later(retry_after_s + 0.05, self._hub.outbox[channel.name].set)

    async def _record(
        self, item: OutboxItem, delivery: Delivery, retry_after_s: float | None, *, counted: bool
    ) -> None:
        """Record how it ended, as soon as the database takes it: until the lease ends nobody else asks."""
        until = time.monotonic() + LEASE_SECONDS - SEND_SECONDS
        while True:
            try:
                await asyncio.to_thread(
                    self._outbox.record, item, delivery, retry_after_s=retry_after_s, counted=counted
                )
            except TemporaryError as error:
                if time.monotonic() > until:
                    logger.error("a delivery was not recorded", extra={"item": item.id, "state": delivery.state})  # noqa: TRY400 - the state says all
                    return
                await asyncio.sleep(error.after)
            else:
                return

    async def _send(self, channel: Channel, item: OutboxItem) -> Delivery:
        message, earlier = item.message.model_copy(update={"key": item.key}), None
        if message.replaces:
            earlier = await asyncio.to_thread(self._outbox.platform_id, message.replaces)
        stream = await self._stream(channel, item)
        return await self._outbound[channel.name].send(message, earlier=earlier, stream=stream, group=item.group)

    async def _stream(self, channel: Channel, item: OutboxItem) -> Throttle | None:
        """Return the growing answer that this is the final state of; it is kept until it has arrived."""
        if self._growing is None or item.message.kind != "reply" or item.id in self._streams:
            return self._streams.get(item.id)
        stream = await self._growing.take(channel, item.message.message_id)
        if stream is not None:
            self._streams[item.id] = stream
        return stream


def _pause(attempts: int, asked: float) -> float:
    """Return seconds until the next attempt: doubling, with jitter, and never less than was asked for."""
    doubled: float = min(2.0**attempts, LONGEST_PAUSE_SECONDS)
    return max(asked, doubled * random.uniform(0.7, 1.3))  # noqa: S311 - jitter


async def _wait(wake: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(POLL_SECONDS * random.uniform(0.8, 1.2)):  # noqa: S311 - jitter
            await wake.wait()
    except TimeoutError:
        return
