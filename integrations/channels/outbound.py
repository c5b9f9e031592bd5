"""One channel's way out: degrade, split, pace, send or edit; what was sent of a message is not sent again.

A message that became several is continued where it stopped when it is tried again, as long as this process lives.
"""

import logging
from collections import OrderedDict
from collections.abc import Sequence

from integrations.channels import Channel, Editing
from integrations.channels.degrade import fit
from integrations.channels.pace import Pace
from integrations.channels.stream import Throttle
from integrations.errors import RateLimited, Rejected
from integrations.messages import Delivery, OutboundMessage

logger = logging.getLogger(__name__)
REMEMBERED = 5000
FIRST_WAIT_SECONDS = 1.5
WAIT_SECONDS = 20.0
"""How long a part waits for its turn: one of a message that has begun, for longer."""


class Outbound:
    """Sends for one channel. Call it for one message of a conversation at a time."""

    def __init__(self, channel: Channel, pace: Pace | None = None) -> None:
        self._channel = channel
        self._pace = pace or Pace(channel.capabilities.rates)
        self._sent: OrderedDict[str, list[str | None]] = OrderedDict()

    async def send(
        self,
        message: OutboundMessage,
        *,
        earlier: str | None = None,
        stream: Throttle | None = None,
        group: bool = False,
    ) -> Delivery:
        """Deliver a message; `earlier` is the platform's id of the one it replaces, `stream` where it has grown.

        `group` is whether more than one person reads there: some networks limit that more. Returns the first part's
        platform id. Raises as `Channel.send` does, and RateLimited where its turn is more than a moment away.
        """
        parts = fit(message, self._channel.capabilities)
        sent = self._sent.setdefault(message.key, []) if message.key else []
        # Whoever dies while nothing was sent yet must not leave it `sending`: so long waits are the outbox's.
        patience = _Patience(self._pace, group=group, left=WAIT_SECONDS if sent else FIRST_WAIT_SECONDS)
        for index, part in enumerate(parts[len(sent) :], len(sent)):
            await patience.wait(part)
            delivery = await self._part(part, earlier if index == 0 else None, stream if index == 0 else None)
            if delivery.state != "sent":
                self._forget(message)
                return _told(delivery, sent, parts)
            sent.append(delivery.platform_id)
            patience.left = WAIT_SECONDS
            self._bound()
        self._forget(message)
        return Delivery(state="sent", platform_id=sent[0] if sent else None)

    async def _part(self, part: OutboundMessage, earlier: str | None, stream: Throttle | None) -> Delivery:
        try:
            if stream is not None:
                return await stream.finish(part)
            if earlier is not None and self._channel.capabilities.edit and isinstance(self._channel, Editing):
                return await self._edit(self._channel, earlier, part)
            return await self._channel.send(part)
        except RateLimited as error:
            self._pace.pause(part.address, error.after)
            raise

    async def _edit(self, channel: Editing, earlier: str, part: OutboundMessage) -> Delivery:
        try:
            delivery = await channel.edit(earlier, part)
        except Rejected as error:
            # Too old, removed, or edited too often: what it says must arrive all the same.
            logger.info("an edit was refused, so a new message is sent", extra={"error": str(error)})
            return await self._channel.send(part)
        return delivery if delivery.platform_id else delivery.model_copy(update={"platform_id": earlier})

    def _forget(self, message: OutboundMessage) -> None:
        self._sent.pop(message.key or "", None)

    def _bound(self) -> None:
        while len(self._sent) > REMEMBERED:
            self._sent.popitem(last=False)


class _Patience:
    """How long the next part may wait for its turn; then it is left for later."""

    def __init__(self, pace: Pace, *, group: bool, left: float) -> None:
        self._pace = pace
        self._group = group
        self.left = left

    async def wait(self, part: OutboundMessage) -> None:
        """Wait for the turn of a part."""
        self.left -= await self._pace.wait(part.address, group=self._group, longest=self.left)


def _told(delivery: Delivery, sent: Sequence[str | None], parts: Sequence[OutboundMessage]) -> Delivery:
    """Say how much of a message arrived for sure."""
    if len(parts) == 1:
        return delivery
    told = f"{len(sent)} of {len(parts)} parts were sent; {delivery.error or 'then it is unknown'}"
    return delivery.model_copy(update={"error": told, "platform_id": sent[0] if sent else delivery.platform_id})
