"""Teams' outgoing webhook: a channel mentions it, and what we answer within five seconds is shown in the thread.

There is no other way out: what is ready later stays in the transcript, and its delivery fails for good.
learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/how-to/add-outgoing-webhook
"""

import asyncio
import re
from collections import OrderedDict
from dataclasses import dataclass, field

from integrations.channels import Answer, Call, Capabilities, Hook, Receive
from integrations.channels.teams.inbound import read
from integrations.channels.teams.verify import OutgoingWebhook
from integrations.errors import InvalidInput, Rejected
from integrations.messages import Address, Delivery, InboundMessage, OutboundMessage
from integrations.security.documents import read_json

WAIT_SECONDS = 4.0
TAKEN_SECONDS = 2.0
WAITING = 2000
_FIRST_MENTION = re.compile(r"^\s*@\S+\s*")


@dataclass(eq=False)
class _Slot:
    """Where an answer and the call that waits for it meet, whichever comes first."""

    answer: asyncio.Future[OutboundMessage]
    taken: asyncio.Event = field(default_factory=asyncio.Event)


class TeamsWebhook:
    """One outgoing webhook. Answers of another gateway process do not reach the call that waits here."""

    name = "teams-webhook"
    repeatable = False
    capabilities = Capabilities(markdown=True, threads=True, max_text=14_000, unit="utf16")
    hooks = (Hook("/messages", "Receive an outgoing webhook of Teams", parameters={"Authorization": "HMAC …"}),)

    def __init__(self, proof: OutgoingWebhook, *, tenant: str = "default", wait_s: float = WAIT_SECONDS) -> None:
        self._proof = proof
        self._tenant = tenant
        self._wait_s = wait_s
        self._slots: OrderedDict[str, _Slot] = OrderedDict()

    async def listen(self, receive: Receive) -> None:
        """Return at once: Teams calls us."""

    async def accept(self, call: Call, receive: Receive) -> Answer:
        """Verify the raw bytes, read, receive, and wait a little for the answer."""
        self._proof.verify(call.headers, call.body)
        try:
            heard = read(read_json(call.body))
        except InvalidInput:
            heard = None
        if heard is None or heard.kind != "message":
            return _said("…")
        message = InboundMessage(
            address=Address(channel=self.name, conversation=heard.conversation, tenant=self._tenant),
            event_id=heard.event_id,
            account=heard.account,
            account_name=heard.account_name,
            # The webhook's own name comes first, and no entity says which mention it is.
            text=_FIRST_MENTION.sub("", heard.text),
            direct=False,
            ref=heard.ref,
            subject=heard.subject,
            mentioned=True,
        )
        slot = self._slot((await receive(message)).message_id)
        try:
            answer = await asyncio.wait_for(asyncio.shield(slot.answer), self._wait_s)
        except TimeoutError:
            return _said("⏳ This takes longer than Teams waits here; the answer will be on Runbell's page.")
        slot.taken.set()
        return _said(answer.text)

    async def send(self, message: OutboundMessage) -> Delivery:
        """Hand the answer to the call that waits for it; raises Rejected where none does."""
        if message.message_id is None:
            raise Rejected("An outgoing webhook of Teams can only answer; posts need the bot.")
        slot = self._slot(message.message_id)
        if slot.answer.done():
            raise Rejected("An outgoing webhook of Teams takes one answer of one message.")
        slot.answer.set_result(message)
        try:
            await asyncio.wait_for(slot.taken.wait(), TAKEN_SECONDS)
        except TimeoutError as error:
            raise Rejected("Teams waits five seconds for an answer, and this came later.") from error
        finally:
            self._slots.pop(message.message_id, None)
        return Delivery(state="sent")

    def _slot(self, message_id: str) -> _Slot:
        slot = self._slots.setdefault(message_id, _Slot(asyncio.get_running_loop().create_future()))
        while len(self._slots) > WAITING:
            self._slots.popitem(last=False)
        return slot


def _said(text: str) -> Answer:
    return Answer(200, {"type": "message", "text": text})
