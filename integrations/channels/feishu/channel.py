"""The channel of Feishu and Lark: what comes in is stored before it is acknowledged, what goes out is a card.

Feishu waits three seconds. A file that takes longer to fetch goes on being fetched; the event is refused meanwhile,
and when Feishu delivers it again it is found stored.
"""

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable

from integrations.channels import Answer, Call, Capabilities, Hook, Link, Rate, Receive, Stream
from integrations.channels.buttons import Buttons
from integrations.channels.degrade import size_text
from integrations.channels.feishu.api import Api
from integrations.channels.feishu.cards import MAX_BYTES, build, write
from integrations.channels.feishu.inbound import File, Pressed, Recalled, Said, conversation_of, read
from integrations.channels.feishu.socket import SILENCE_SECONDS, converse
from integrations.channels.feishu.stream import CardStream
from integrations.channels.feishu.verify import CHALLENGE, FeishuEvents
from integrations.channels.link import Keeper
from integrations.errors import Forbidden, InvalidInput, NotFound, Rejected, RunbellError, TemporaryError, Unavailable
from integrations.files import MAX_BYTES as MAX_FILE
from integrations.files import FileStore
from integrations.messages import MAX_TEXT, Address, Attachment, Delivery, InboundMessage, OutboundMessage
from integrations.security.documents import Document

logger = logging.getLogger(__name__)
DEADLINE_SECONDS = 2.5
MAX_FILES = 20


class Feishu:
    """One app on one of the two domains; without `events` it keeps the long connection."""

    name = "feishu"
    repeatable = True
    capabilities = Capabilities(
        markdown=True,
        edit=True,
        buttons=20,
        links=True,
        cards=True,
        forms=True,
        secret_fields=True,
        files=True,
        pictures=True,
        threads=True,
        streaming="native",
        max_text=12_000,  # of the 30 KB that a card may have, since quotes and line ends count twice there
        unit="bytes",
        max_file=MAX_FILE,
        button_bytes=64,
        edit_interval_s=0.3,
        rates=(Rate(5, 1.0), Rate(50, 1.0, "app"), Rate(1000, 60.0, "app")),
        idempotent=True,
        push="long connection",
    )
    hooks = (Hook("/events", "Receive an event or a card's callback of Feishu or Lark"),)

    def __init__(
        self, api: Api, files: FileStore, buttons: Buttons, *, events: FeishuEvents | None, tenant: str = "default"
    ) -> None:
        self._api = api
        self._files = files
        self._buttons = buttons
        self._events = events
        self._tenant = tenant
        self._keeper = Keeper("feishu", silence_s=SILENCE_SECONDS)
        self._working: dict[str, asyncio.Task[None]] = {}

    @property
    def link(self) -> Link:
        """How the long connection is."""
        return self._keeper.link

    async def listen(self, receive: Receive) -> None:
        """Keep the long connection; return at once where Feishu calls us."""
        if self._events is None:
            await self._keeper.run(
                lambda alive: converse(self._api, lambda document: self.handle(document, receive), alive)
            )

    async def aclose(self) -> None:
        """Give the connections back."""
        await self._api.aclose()

    async def accept(self, call: Call, receive: Receive) -> Answer:
        """Verify, read, receive; 200 says that the event is stored, or that nothing is to be done with it."""
        if self._events is None:
            raise NotFound("Feishu is connected by its long connection here.")
        document = self._events.open(call.headers, call.body)
        if document.get("type") == CHALLENGE:
            return Answer(200, {"challenge": str(document.get("challenge") or "")[:500]})
        return Answer(200, await self.handle(document, receive))

    async def handle(self, document: Document, receive: Receive) -> dict[str, object]:
        """Store what an authentic event says; returns what Feishu is told: a toast for a card, nothing otherwise."""
        try:
            found = read(document)
            if isinstance(found, Pressed):
                return await self._press(found, receive)
            if isinstance(found, Said):
                await self._in_time(found.event_id, lambda: self._hear(found, receive))
            elif isinstance(found, Recalled):
                await self._in_time(found.event_id, lambda: self._recall(found, receive))
        except InvalidInput as error:
            # Delivering it again would not make it better.
            logger.warning("an event of Feishu can't be read", extra={"error": str(error)})
        return {}

    async def send(self, message: OutboundMessage) -> Delivery:
        """Send a card, then the files; a repeated call finds what it sent by its key."""
        pictures = [file for file in message.attachments if file.media_type.startswith("image/")]
        keys = [await self._upload_picture(file) for file in pictures]
        first = await self._post(message, "interactive", write(self._card(message, keys)), "card")
        for file in message.attachments:
            if file not in pictures:
                await self._post(message, "file", write({"file_key": await self._upload(file)}), file.id)
        return Delivery(state="sent", platform_id=first)

    async def edit(self, platform_id: str, message: OutboundMessage) -> Delivery:
        """Put another card in the place of an earlier one."""
        content = write(self._card(message, ()))
        await self._api.call("PATCH", f"/im/v1/messages/{platform_id}", json={"content": content})
        return Delivery(state="sent", platform_id=platform_id)

    async def open_stream(self, message: OutboundMessage) -> Stream:
        """Send a card that types."""
        return await CardStream.open(
            self._api,
            message,
            post=lambda content: self._post(message, "interactive", content, "stream"),
            build=lambda final: self._card(final, ()),
        )

    async def take_over(self, handle: str, message: OutboundMessage) -> Delivery:
        """Stop the typing of a card and show the final one."""
        return await CardStream.inherited(self._api, handle, lambda final: self._card(final, ())).finish(message)

    async def _hear(self, said: Said, receive: Receive) -> None:
        bot = await self._api.bot()
        if not said.direct and not said.mentions(bot):
            return
        found = [await self._fetch(said.message_id, file) for file in said.files[:MAX_FILES]]
        notes = [note for note in found if isinstance(note, str)]
        text = "\n".join([*filter(None, [said.spoken(bot)]), *notes])
        kept = tuple(file for file in found if isinstance(file, Attachment))
        if not text and not kept:
            return
        await receive(
            InboundMessage(
                address=self._address(said.conversation),
                event_id=said.event_id,
                account=said.account,
                text=text[:MAX_TEXT],
                direct=said.direct,
                ref=said.message_id,
                mentioned=not said.direct,
                attachments=kept,
            )
        )

    async def _recall(self, gone: Recalled, receive: Receive) -> None:
        found = await self._api.call("GET", f"/im/v1/messages/{gone.message_id}")
        items = found.get("items") or [{}]
        item, sender = items[0], items[0].get("sender") or {}
        if sender.get("sender_type") != "user" or not sender.get("id"):
            return
        chat = await self._api.call("GET", f"/im/v1/chats/{gone.chat_id}")
        about = {**item, "chat_id": gone.chat_id, "message_id": gone.message_id, "chat_type": chat.get("chat_mode")}
        await receive(
            InboundMessage(
                address=self._address(conversation_of(about)),
                event_id=gone.event_id,
                account=str(sender["id"]),
                kind="delete",
                direct=chat.get("chat_mode") == "p2p",
                subject=gone.message_id,
            )
        )

    async def _press(self, pressed: Pressed, receive: Receive) -> dict[str, object]:
        address = self._address(pressed.conversation)
        try:
            said: dict[str, object] = {"kind": "action"}
            if pressed.values is None:
                said["text"] = self._buttons.open(pressed.token, address, pressed.account)
            else:
                command, args = self._buttons.open_form(pressed.token, address, pressed.account)
                given = {name: value for name, value in pressed.values.items() if value not in (None, "")}
                said = {"kind": "form", "command": command, "args": {**args, **given}}
            await receive(
                InboundMessage.model_validate(
                    {
                        **said,
                        "address": address,
                        "event_id": pressed.event_id,
                        "account": pressed.account,
                        "direct": "/" not in pressed.conversation,
                        "subject": pressed.message_id,
                    }
                )
            )
        except RunbellError as error:
            # A press is never delivered again: who pressed must see it.
            return _toast("warning" if isinstance(error, Forbidden | TemporaryError) else "error", str(error))
        return _toast("success", "✓")

    async def _in_time(self, event_id: str, work: Callable[[], Awaitable[None]]) -> None:
        """Do the work of an event once, and wait for it as long as Feishu waits for us."""
        task = self._working.get(event_id)
        if task is None:
            task = asyncio.create_task(_await(work))
            self._working[event_id] = task
            task.add_done_callback(lambda done: self._done(event_id, done))
        try:
            await asyncio.wait_for(asyncio.shield(task), DEADLINE_SECONDS)
        except TimeoutError as error:
            raise Unavailable("This takes longer than Feishu waits; deliver it again.", after=15.0) from error

    def _done(self, event_id: str, task: asyncio.Task[None]) -> None:
        self._working.pop(event_id, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.info("an event of Feishu could not be stored", extra={"error": str(error)})

    async def _fetch(self, message_id: str, file: File) -> Attachment | str:
        """Return a stored file, or the line that says why there is none."""
        try:
            data = await self._api.download(message_id, file.key, file.kind, MAX_FILE)
        except (InvalidInput, Rejected) as error:
            return f"[{file.name}: {error}]"
        return await asyncio.to_thread(self._files.put, data, name=file.name)

    async def _post(self, message: OutboundMessage, kind: str, content: str, part: str) -> str:
        body: dict[str, object] = {"msg_type": kind, "content": content}
        if message.key:
            body["uuid"] = hashlib.sha256(f"{message.key} {part}".encode()).hexdigest()[:40]
        chat, _, root = message.address.conversation.partition("/")
        if root:
            found = await self._api.call(
                "POST", f"/im/v1/messages/{root}/reply", json={**body, "reply_in_thread": True}
            )
        else:
            query = {"receive_id_type": "chat_id"}
            found = await self._api.call("POST", "/im/v1/messages", query=query, json={**body, "receive_id": chat})
        return str(found["message_id"])

    async def _upload_picture(self, file: Attachment) -> str:
        data = await asyncio.to_thread(self._files.path(file.id).read_bytes)
        form = {"image_type": "message"}
        return str(
            (await self._api.call("POST", "/im/v1/images", data=form, files={"image": (file.name, data)}))["image_key"]
        )

    async def _upload(self, file: Attachment) -> str:
        data = await asyncio.to_thread(self._files.path(file.id).read_bytes)
        form = {"file_type": "stream", "file_name": file.name}
        return str(
            (await self._api.call("POST", "/im/v1/files", data=form, files={"file": (file.name, data)}))["file_key"]
        )

    def _card(self, message: OutboundMessage, pictures: list[str] | tuple[str, ...]) -> dict[str, object]:
        def seal(text: str) -> str:
            return self._buttons.seal(text, message.address, account=message.asked)

        card = build(
            message, seal, lambda form: self._buttons.seal_form(form, message.address, account=message.asked), pictures
        )
        size = len(write(card).encode())
        if size > MAX_BYTES:
            raise Rejected(f"This card has {size_text(size)}; Feishu takes {size_text(MAX_BYTES)} at most.")
        return card

    def _address(self, conversation: str) -> Address:
        return Address(channel=self.name, conversation=conversation, tenant=self._tenant)


async def _await(work: Callable[[], Awaitable[None]]) -> None:
    await work()


def _toast(kind: str, content: str) -> dict[str, object]:
    return {"toast": {"type": kind, "content": content[:300]}}
