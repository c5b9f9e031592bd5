"""Telegram, by long polling or by webhook (`verify.py`); both bring the same updates (`inbound.py`).

Out goes plain text with inline keyboards, edits and files. Polling confirms an update only once it is stored: the next
call's offset does it. Telegram has no key against sending twice, so what is unclear stays `unknown`.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from typing import cast

from integrations.channels import Answer, Call, Capabilities, Channel, Hook, Link, Rate, Receive
from integrations.channels.buttons import Buttons
from integrations.channels.lanes import side_by_side
from integrations.channels.link import Alive, Keeper
from integrations.channels.telegram.api import Api, Unclear
from integrations.channels.telegram.inbound import FileRef, Me, Press, Reader, Said, chat_of, number, text
from integrations.channels.telegram.verify import WebhookSecret
from integrations.errors import Forbidden, InvalidInput, Rejected, RunbellError, Unauthorized, Unavailable
from integrations.files import MAX_BYTES, FileStore
from integrations.messages import Attachment, Delivery, InboundMessage, OutboundMessage
from integrations.security import secrets
from integrations.security.documents import read_json
from integrations.settings import Settings
from integrations.settings_channels import Telegram as Section

logger = logging.getLogger(__name__)
POLL_SECONDS = 25
MAX_UPDATES = 100
SILENCE_SECONDS = 90.0
UNCLEAR_SECONDS = 1.0
UPDATES = ["message", "edited_message", "callback_query"]


class Telegram:
    """One bot."""

    name = "telegram"
    repeatable = False
    capabilities = Capabilities(
        edit=True,
        buttons=100,
        files=True,
        pictures=True,
        threads=True,
        streaming="edits",
        max_text=4096,
        unit="utf16",
        max_file=MAX_BYTES,
        button_bytes=64,
        edit_interval_s=1.1,
        rates=(Rate(1, 1.0), Rate(20, 60.0, "group"), Rate(30, 1.0, "app")),
        push="getUpdates",
    )

    def __init__(
        self,
        api: Api,
        files: FileStore,
        buttons: Buttons,
        *,
        secret: WebhookSecret | None = None,
        tenant: str = "default",
    ) -> None:
        self._api = api
        self._files = files
        self._buttons = buttons
        self._secret = secret
        self._tenant = tenant
        self._reader: Reader | None = None
        self._keeper = Keeper(self.name, silence_s=SILENCE_SECONDS)

    @property
    def link(self) -> Link:
        """How polling is; always up where Telegram calls us."""
        return self._keeper.link if self._secret is None else Link("up", self._keeper.link.since, "webhook")

    @property
    def hooks(self) -> tuple[Hook, ...]:
        """One address for all updates."""
        if self._secret is None:
            return ()
        return (Hook("/updates", "Receive an update of Telegram", parameters={"X-Telegram-Bot-Api-Secret-Token": "…"}),)

    async def listen(self, receive: Receive) -> None:
        """Poll for ever, unless Telegram calls us."""
        if self._secret is None:
            await self._keeper.run(lambda alive: self._poll(receive, alive))

    async def accept(self, call: Call, receive: Receive) -> Answer:
        """Check the secret, then take the update."""
        if self._secret is None:
            raise Unauthorized("This bot is polled; nothing is accepted here.")
        self._secret.verify(call.headers)
        await self.take(read_json(call.body), receive)
        return Answer(200)

    async def take(self, update: Mapping[str, object], receive: Receive) -> None:
        """Store what an authentic update says; raises as `receive` does."""
        reader = await self._who()
        try:
            said = reader.read(update)
        except (InvalidInput, ValueError) as error:
            logger.warning("an update of Telegram's could not be read", extra={"error": type(error).__name__})
            return
        if isinstance(said, Press):
            await self._pressed(said, receive)
        elif isinstance(said, Said):
            await receive(await self._with_files(said))

    async def send(self, message: OutboundMessage) -> Delivery:
        """Send one message, and its files after it."""
        stamp: str | None = None
        try:
            if message.text.strip() or not message.attachments:
                sent = await self._api.call("sendMessage", _place(message) | self._content(message))
                stamp = _id(sent)
            for file in message.attachments:
                sent_as = await self._send_file(file, message)
                stamp = stamp or sent_as
        except Unclear as error:
            return Delivery(state="unknown", platform_id=stamp, error=str(error))
        except RunbellError as error:
            if stamp is None:
                raise
            return Delivery(state="unknown", platform_id=stamp, error=f"The text arrived, a file did not: {error}")
        return Delivery(state="sent", platform_id=stamp)

    async def edit(self, platform_id: str, message: OutboundMessage) -> Delivery:
        """Replace a text and its buttons."""
        content = {"reply_markup": {"inline_keyboard": []}} | self._content(message)
        content.pop("reply_parameters", None)
        chat = _place(message)["chat_id"]
        try:
            arguments = {"chat_id": chat, "message_id": int(platform_id), **content}
            await self._api.call("editMessageText", arguments)
        except Unclear as error:
            raise Unavailable(str(error)) from error
        except Rejected as error:
            if "message is not modified" not in str(error):
                raise
        return Delivery(state="sent", platform_id=platform_id)

    async def aclose(self) -> None:
        """Close the connections to Telegram."""
        await self._api.aclose()

    async def _poll(self, receive: Receive, alive: Alive) -> None:
        """Ask for updates until something fails; each is confirmed by the offset of the call after it was stored."""
        await self._clear("deleteWebhook", {"drop_pending_updates": False})
        alive()  # The first poll may stay silent for long.
        offset = 0
        while True:
            arguments = {"timeout": POLL_SECONDS, "allowed_updates": UPDATES, "limit": MAX_UPDATES, "offset": offset}
            updates = cast("list[Mapping[str, object]]", await self._clear("getUpdates", arguments))
            alive()
            await side_by_side(updates, chat_of, lambda update: self.take(update, receive))
            if updates:
                offset = number(updates[-1], "update_id") + 1

    async def _clear(self, method: str, arguments: Mapping[str, object]) -> object:
        """Call a method that may be repeated."""
        try:
            return await self._api.call(method, arguments, wait_s=POLL_SECONDS)
        except Unclear as error:
            raise Unavailable(str(error), after=UNCLEAR_SECONDS) from error

    async def _who(self) -> Reader:
        if self._reader is None:
            me = cast("Mapping[str, object]", await self._clear("getMe", {}))
            self._reader = Reader(self.name, self._tenant, Me(number(me, "id"), text(me, "username")))
        return self._reader

    def _content(self, message: OutboundMessage) -> dict[str, object]:
        found: dict[str, object] = {"text": message.text or "…", "link_preview_options": {"is_disabled": True}}
        if message.choices:
            keyboard = [
                [{"text": one.label[:60] or "…", "callback_data": self._seal(one.text, message)}]
                for one in message.choices
            ]
            found["reply_markup"] = {"inline_keyboard": keyboard}
        if message.in_reply_to and message.in_reply_to.isdigit() and message.address.conversation.startswith("-"):
            reply = {"message_id": int(message.in_reply_to), "allow_sending_without_reply": True}
            found["reply_parameters"] = reply
        return found

    def _seal(self, said: str, message: OutboundMessage) -> str:
        return self._buttons.seal(said, message.address, account=message.asked)

    async def _pressed(self, press: Press, receive: Receive) -> None:
        """Take a press, and end the clock that the button shows meanwhile."""
        told = ""
        try:
            said = self._buttons.open(press.token, press.message.address, press.message.account)
            await receive(press.message.model_copy(update={"text": said}))
        except (Unauthorized, Forbidden) as error:
            told = str(error)[:200]
        try:
            shown = {"text": told, "show_alert": True} if told else {}
            await self._api.call("answerCallbackQuery", {"callback_query_id": press.query_id, **shown})
        except RunbellError as error:
            logger.info("a press could not be answered", extra={"error": str(error)})

    async def _with_files(self, said: Said) -> InboundMessage:
        kept: list[Attachment] = []
        refused: list[str] = []
        for file in said.files:
            try:
                kept.append(await self._fetched(file))
            except InvalidInput as error:
                refused.append(f"({file.name}: {error})")
        if not kept and not refused:
            return said.message
        shown = "\n".join(filter(None, [said.message.text, *refused]))
        return said.message.model_copy(update={"attachments": tuple(kept), "text": shown})

    async def _fetched(self, file: FileRef) -> Attachment:
        if file.size > MAX_BYTES:
            raise InvalidInput(f"{file.size} bytes are too many; the most is {MAX_BYTES}.")
        data = await self._api.download(file.file_id, MAX_BYTES)
        return await asyncio.to_thread(self._files.put, data, name=file.name, media_type=file.media_type)

    async def _send_file(self, file: Attachment, message: OutboundMessage) -> str | None:
        data = await asyncio.to_thread(self._files.path(file.id).read_bytes)
        picture = file.media_type in {"image/png", "image/jpeg"} and file.size < 10 * 1024 * 1024
        method, part = ("sendPhoto", "photo") if picture else ("sendDocument", "document")
        return _id(await self._api.call(method, _place(message), files={part: (file.name, data)}))


def _place(message: OutboundMessage) -> dict[str, object]:
    chat, _, topic = message.address.conversation.partition("/")
    try:
        place: dict[str, object] = {"chat_id": int(chat)}
        return place | ({"message_thread_id": int(topic)} if topic else {})
    except ValueError as error:
        raise Rejected(f"Telegram has no conversation {message.address.conversation!r}.") from error


def _id(sent: object) -> str | None:
    return str(cast("Mapping[str, object]", sent)["message_id"]) if isinstance(sent, dict) else None


def connect(settings: Settings) -> Iterable[Channel]:
    """Return the channel; raises Misconfigured for a blank secret."""
    section = settings.channels.telegram
    if section is None:
        return []
    api = Api(_secret(section.bot_token, "bot_token"), section.api_url)
    secret = _webhook_secret(section) if section.mode == "webhook" else None
    files = FileStore(settings.state / "files")
    return [Telegram(api, files, Buttons.of(settings), secret=secret, tenant=settings.tenant)]


def _webhook_secret(section: Section) -> WebhookSecret:
    found = [_secret(section.secret_token, "secret_token")]
    if section.previous_secret_token is not None:
        found.append(_secret(section.previous_secret_token, "previous_secret_token"))
    return WebhookSecret(found)


def _secret(reference: str | None, name: str) -> str:
    return secrets.resolve(reference, name=f"channels.telegram.{name}").get_secret_value()
