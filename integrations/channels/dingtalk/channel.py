"""The channel of DingTalk: Stream or HTTP in, the OpenAPI out.

Answers go through the OpenAPI, which works at any time; the address that a message brings lasts for 90 minutes and is
used only for people of other organizations, whom the OpenAPI does not reach. With a card template, answers grow in
their place and have buttons; without one, choices are numbered (docs/channels/dingtalk.md says what it must hold).
"""

import asyncio
import json
import logging
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from integrations.channels import Answer, Call, Capabilities, Hook, Link, Rate, Receive, Stream
from integrations.channels.buttons import Buttons
from integrations.channels.dingtalk.api import Api
from integrations.channels.dingtalk.cards import Cards, CardStream
from integrations.channels.dingtalk.inbound import SESSION, File, Pressed, Said, read_message, read_press
from integrations.channels.dingtalk.outbound import Robot
from integrations.channels.dingtalk.socket import SILENCE_SECONDS, converse
from integrations.channels.dingtalk.verify import BOT_TOPIC, EventSubscription, RobotSign
from integrations.channels.http import Lost
from integrations.channels.link import Keeper
from integrations.errors import InvalidInput, NotFound, Rejected, RunbellError, Unauthorized
from integrations.files import MAX_BYTES, FileStore
from integrations.messages import MAX_TEXT, Address, Attachment, Delivery, InboundMessage, OutboundMessage
from integrations.security.documents import read_json

logger = logging.getLogger(__name__)
REMEMBERED = 5000
MAX_FILES = 20


class DingTalk:
    """One app with a robot."""

    name = "dingtalk"
    repeatable = False
    capabilities = Capabilities(
        markdown=True,
        files=True,
        pictures=True,
        max_text=5000,
        max_file=MAX_BYTES,
        edit_interval_s=0.5,
        rates=(Rate(20, 1.0, "app"), Rate(20, 60.0, "group")),  # of the app: not verified; of a group robot: documented
        push="Stream",
    )
    hooks = (
        Hook("/robot", "Receive a message for the robot (HTTP mode)"),
        Hook("/events", "Receive an encrypted event"),
    )

    def __init__(
        self,
        api: Api,
        files: FileStore,
        buttons: Buttons,
        *,
        template: str = "",
        sign: RobotSign | None = None,
        events: EventSubscription | None = None,
        tenant: str = "default",
    ) -> None:
        """Serve Stream mode where `sign` is None, HTTP mode otherwise."""
        self._api = api
        self._files = files
        self._buttons = buttons
        self._sign = sign
        self._events = events
        self._tenant = tenant
        self._robot = Robot(api)
        self._cards = Cards(api, buttons, template) if template else None
        self._webhooks: OrderedDict[str, tuple[str, int]] = OrderedDict()
        self._turns: OrderedDict[str, asyncio.Lock] = OrderedDict()
        self._keeper = Keeper("dingtalk", silence_s=SILENCE_SECONDS)
        if self._cards:
            self.capabilities = replace(self.capabilities, edit=True, buttons=4, streaming="native")

    @property
    def link(self) -> Link:
        """How the Stream connection is."""
        return self._keeper.link

    async def listen(self, receive: Receive) -> None:
        """Keep the Stream connection; return at once in HTTP mode."""
        if self._sign is not None:
            return

        async def take(topic: str, data: Mapping[str, Any], message_id: str) -> None:
            await self._take(topic, data, message_id, receive)

        await self._keeper.run(lambda alive: converse(self._api, take, alive))

    async def accept(self, call: Call, receive: Receive) -> Answer:
        """Serve the robot in HTTP mode, and the event subscription."""
        if call.path.endswith("/events"):
            return self._event(call)
        if self._sign is None:
            raise NotFound("DingTalk is connected by Stream here.")
        self._sign.verify(call.headers, time.time() * 1000)
        try:
            await self._take(BOT_TOPIC, read_json(call.body), "", receive)
        except InvalidInput as error:
            logger.warning("a message of DingTalk can't be read", extra={"error": str(error)})
        return Answer(200, {})

    async def send(self, message: OutboundMessage) -> Delivery:
        """Send one message and its files."""
        conversation = message.address.conversation
        try:
            if conversation.startswith(SESSION):
                return await self._reply(message)
            if self._cards and message.choices:
                return Delivery(state="sent", platform_id=await self._cards.send(message))
            platform_id = await self._robot.say(conversation, message.text) if message.text.strip() else None
            for file in message.attachments:
                data = await asyncio.to_thread(self._files.path(file.id).read_bytes)
                platform_id = await self._robot.give(conversation, file, data) or platform_id
        except Lost as error:
            return Delivery(state="unknown", error=str(error))
        return Delivery(state="sent", platform_id=platform_id)

    async def edit(self, platform_id: str, message: OutboundMessage) -> Delivery:
        """Change a card; plain messages can't be changed, which is Rejected."""
        if self._cards is None:
            raise Rejected("DingTalk can't change a plain message.")
        await self._cards.change(platform_id, message)
        return Delivery(state="sent", platform_id=platform_id)

    async def open_stream(self, message: OutboundMessage) -> Stream:
        """Send a card whose text grows."""
        if self._cards is None or message.address.conversation.startswith(SESSION):
            raise Rejected("Without a card template, answers of DingTalk can't grow.")
        try:
            return CardStream(self._cards, await self._cards.send(message))
        except Lost as error:
            raise Rejected(str(error)) from error

    async def take_over(self, handle: str, message: OutboundMessage) -> Delivery:
        """Show the whole answer on a card that was growing."""
        if self._cards is None:
            raise Rejected("Without a card template, DingTalk can't change a card.")
        return await CardStream(self._cards, handle).finish(message)

    async def aclose(self) -> None:
        """Give the connections back."""
        await self._api.aclose()

    async def _take(self, topic: str, data: Mapping[str, Any], message_id: str, receive: Receive) -> None:
        """Store what a callback says; returns once it is stored, or where there is nothing to store."""
        try:
            found = read_message(data) if topic == BOT_TOPIC else read_press(data, f"card:{message_id}")
            if isinstance(found, Said):
                turn = self._turn(found.conversation)
                async with turn:
                    await self._hear(found, receive)
            elif isinstance(found, Pressed):
                await self._press(found, receive)
        except InvalidInput as error:
            logger.warning("a callback of DingTalk can't be read", extra={"error": str(error)})

    async def _hear(self, said: Said, receive: Receive) -> None:
        if said.webhook and said.conversation.startswith(SESSION):
            self._webhooks[said.conversation] = (said.webhook, said.webhook_ends_ms)
            self._webhooks.move_to_end(said.conversation)
            while len(self._webhooks) > REMEMBERED:
                self._webhooks.popitem(last=False)
        found = [await self._fetch(file) for file in said.files[:MAX_FILES]]
        notes = [note for note in found if isinstance(note, str)]
        await receive(
            InboundMessage(
                address=self._address(said.conversation),
                event_id=said.event_id,
                account=said.account,
                account_name=said.name,
                text="\n".join([*filter(None, [said.text]), *notes])[:MAX_TEXT],
                direct=said.direct,
                ref=said.event_id,
                mentioned=not said.direct,
                attachments=tuple(file for file in found if isinstance(file, Attachment)),
            )
        )

    async def _press(self, pressed: Pressed, receive: Receive) -> None:
        address = self._address(pressed.conversation)
        try:
            text = self._buttons.open(pressed.token, address, pressed.account)
        except RunbellError as error:
            logger.info("a button of DingTalk was refused", extra={"error": str(error)})
            return
        await receive(
            InboundMessage(
                address=address,
                event_id=pressed.event_id,
                account=pressed.account,
                text=text,
                kind="action",
                direct=not pressed.conversation.startswith("cid"),
                subject=pressed.card,
            )
        )

    async def _reply(self, message: OutboundMessage) -> Delivery:
        webhook, ends_ms = self._webhooks.get(message.address.conversation, ("", 0))
        if not webhook or ends_ms < time.time() * 1000:
            raise Rejected("People of other organizations can be answered only for 90 minutes after they wrote.")
        title = message.text.strip()[:20] or "…"
        await self._api.reply(webhook, {"msgtype": "markdown", "markdown": {"title": title, "text": message.text}})
        return Delivery(state="sent")

    async def _fetch(self, file: File) -> Attachment | str:
        try:
            data = await self._api.download(file.code, MAX_BYTES)
        except (InvalidInput, Rejected) as error:
            return f"[{file.name}: {error}]"
        return await asyncio.to_thread(self._files.put, data, name=file.name)

    def _event(self, call: Call) -> Answer:
        """Confirm an event: none is of use yet, but DingTalk wants each confirmed, `check_url` above all."""
        if self._events is None:
            raise Unauthorized("There is no event_token and event_aes_key, so no event is accepted.")
        opened = self._events.open(call.query, call.body)
        try:
            json.loads(opened)
        except (ValueError, RecursionError) as error:
            raise Unauthorized("The event is not JSON.") from error
        stamp = call.query.get("timestamp") or call.query.get("timeStamp") or ""
        return Answer(200, self._events.answer(timestamp=stamp, nonce=call.query.get("nonce") or ""))

    def _turn(self, conversation: str) -> asyncio.Lock:
        """Return what keeps the messages of a conversation in order while files are fetched."""
        turn = self._turns.setdefault(conversation, asyncio.Lock())
        self._turns.move_to_end(conversation)
        while len(self._turns) > REMEMBERED:
            self._turns.popitem(last=False)
        return turn

    def _address(self, conversation: str) -> Address:
        return Address(channel=self.name, conversation=conversation, tenant=self._tenant)
