"""What channels hand their messages to: the intake, behind three rules that all networks share.

- A message that was changed or taken back while it waited is changed or taken back; later than that is too late.
- Where choices are shown as numbers, a typed number says what its choice says.
- A message whose answer may grow before the sender's eyes is watched from now on (`growing`).
"""

import asyncio
from collections.abc import Mapping

from integrations.channels import Accepted, Channel
from integrations.channels.degrade import chosen
from integrations.database import Database
from integrations.database.amend import Amendments
from integrations.gateway.growing import Growing
from integrations.gateway.intake import Intake
from integrations.gateway.shown import Shown
from integrations.messages import InboundMessage

MAX_CHOICE = 24


class Arrivals:
    """The `Receive` of all channels."""

    def __init__(self, database: Database, intake: Intake, growing: Growing, channels: Mapping[str, Channel]) -> None:
        self._shown = Shown(database)
        self._amendments = Amendments(database.engine)
        self._intake = intake
        self._growing = growing
        self._channels = channels

    async def receive(self, message: InboundMessage) -> Accepted:
        """Store a message; see `channels.Receive` for what is raised."""
        if message.kind in ("edit", "delete"):
            return await self._amend(message)
        channel = self._channels[message.address.channel]
        if not channel.capabilities.buttons and _may_choose(message):
            message = await self._choose(message)
        accepted = await self._intake.receive(message)
        if not accepted.duplicate and channel.capabilities.streaming != "none":
            self._growing.watch(channel, accepted.message_id, message)
        return accepted

    async def _amend(self, message: InboundMessage) -> Accepted:
        found = await asyncio.to_thread(self._amendments.apply, message) if message.subject else None
        return Accepted(found or "", duplicate=True)

    async def _choose(self, message: InboundMessage) -> InboundMessage:
        said = chosen(message.text, await self._shown.choices(message.address))
        return message.model_copy(update={"text": said}) if said else message


def _may_choose(message: InboundMessage) -> bool:
    return message.command is None and 0 < len(message.text) <= MAX_CHOICE and not message.text.startswith("/")
