"""What Telegram's updates say, read into our messages. A conversation is `CHAT`, or `CHAT/TOPIC` in a forum.

Entities count UTF-16 units. In groups only what is meant for the bot counts: commands, mentions, replies to it.
"""

from dataclasses import dataclass
from typing import cast

from integrations.channels.members import Json, table, tables, text
from integrations.errors import InvalidInput
from integrations.messages import MAX_TEXT, Address, InboundMessage

_FILES = ("document", "video", "audio", "voice", "animation", "video_note", "sticker")


@dataclass(frozen=True, slots=True)
class Press:
    """A pressed button: what it carries, still sealed; `query_id` must be answered."""

    message: InboundMessage
    token: str
    query_id: str


@dataclass(frozen=True, slots=True)
class FileRef:
    """A file at Telegram."""

    file_id: str
    name: str
    media_type: str | None
    size: int


@dataclass(frozen=True, slots=True)
class Said:
    """A message and the files that are still at Telegram."""

    message: InboundMessage
    files: tuple[FileRef, ...] = ()


@dataclass(frozen=True, slots=True)
class Me:
    """Who we are."""

    id: int
    username: str


class Reader:
    """Reads for one channel name, tenant and bot."""

    def __init__(self, channel: str, tenant: str, me: Me) -> None:
        self._channel = channel
        self._tenant = tenant
        self._me = me

    def read(self, update: Json) -> Said | Press | None:
        """Return what an update says; None where it is nothing to us. Raises InvalidInput for what is malformed."""
        event_id = str(number(update, "update_id"))
        if isinstance(update.get("message"), dict):
            return self._said(table(update, "message"), event_id)
        if isinstance(update.get("edited_message"), dict):
            said = self._said(table(update, "edited_message"), event_id)
            if said is None:
                return None
            changes = {"kind": "edit", "subject": said.message.ref}
            return Said(said.message.model_copy(update=changes))
        if isinstance(update.get("callback_query"), dict):
            return self._pressed(table(update, "callback_query"), event_id)
        return None

    def _said(self, message: Json, event_id: str) -> Said | None:
        sender, chat = table(message, "from"), table(message, "chat")
        if sender.get("is_bot") or not sender or chat.get("type") == "channel" or not _has_content(message):
            return None
        direct = chat.get("type") == "private"
        said, mentioned = self._text(message)
        if not direct and not mentioned:
            return None
        reply = message.get("reply_to_message")
        return Said(
            self._message(message, sender, event_id).model_copy(
                update={
                    "text": said[:MAX_TEXT],
                    "direct": direct,
                    "mentioned": mentioned,
                    "ref": str(number(message, "message_id")),
                    "subject": str(number(cast("Json", reply), "message_id")) if isinstance(reply, dict) else None,
                }
            ),
            files_of(message),
        )

    def _message(self, message: Json, sender: Json, event_id: str) -> InboundMessage:
        chat = str(number(table(message, "chat"), "id"))
        topic = message.get("message_thread_id") if message.get("is_topic_message") else None
        names = [text(sender, "first_name"), text(sender, "last_name")]
        return InboundMessage(
            address=Address(
                channel=self._channel, conversation=f"{chat}/{topic}" if topic else chat, tenant=self._tenant
            ),
            event_id=event_id,
            account=str(number(sender, "id")),
            account_name=" ".join(filter(None, names))[:200],
        )

    def _text(self, message: Json) -> tuple[str, bool]:
        """Return the text without the mention of us, and whether we were meant."""
        said = text(message, "text") or text(message, "caption")
        units = said.encode("utf-16-le", "surrogatepass")
        name, cut, meant = f"@{self._me.username}".lower(), list[tuple[int, int]](), self._is_reply_to_us(message)
        for entity in tables(message, "entities") or tables(message, "caption_entities"):
            begin, length = number(entity, "offset") * 2, number(entity, "length") * 2
            shown = units[begin : begin + length].decode("utf-16-le", "replace").lower()
            kind, target = entity.get("type"), table(entity, "user").get("id")
            if (kind == "mention" and shown == name) or (kind == "text_mention" and target == self._me.id):
                cut.append((begin, length))
                meant = True
            elif kind == "bot_command" and (shown.endswith(name) or "@" not in shown):
                suffix = len(name.encode("utf-16-le")) if shown.endswith(name) else 0
                cut.append((begin + length - suffix, suffix))
                meant = True
        for begin, length in sorted(cut, reverse=True):
            units = units[:begin] + units[begin + length :]
        return units.decode("utf-16-le", "replace").strip(), meant

    def _is_reply_to_us(self, message: Json) -> bool:
        return table(table(message, "reply_to_message"), "from").get("id") == self._me.id

    def _pressed(self, query: Json, event_id: str) -> Press | None:
        message, sender = table(query, "message"), table(query, "from")
        if not message or not text(query, "data") or sender.get("is_bot"):
            return None
        found = self._message(message, sender, event_id).model_copy(
            update={
                "kind": "action",
                "direct": table(message, "chat").get("type") == "private",
                "mentioned": True,
                "subject": str(number(message, "message_id")),
            }
        )
        return Press(found, text(query, "data"), text(query, "id"))


def chat_of(update: Json) -> str:
    """Return the chat that an update belongs to; a blank one for buttons, which wait for nobody."""
    message = table(update, "message") or table(update, "edited_message")
    return str(table(message, "chat").get("id", ""))


def files_of(message: Json) -> tuple[FileRef, ...]:
    """Return the files of a message; of a picture the largest."""
    found = [_file(file, kind) for kind in _FILES if (file := table(message, kind))]
    if photos := tables(message, "photo"):
        found.append(_file({**photos[-1], "file_name": "photo.jpg", "mime_type": "image/jpeg"}, "photo"))
    # An animation is there as a document too.
    return tuple({file.file_id: file for file in reversed(found)}.values())


def _file(file: Json, kind: str) -> FileRef:
    size = file.get("file_size")
    return FileRef(
        text(file, "file_id"),
        text(file, "file_name")[:200] or kind,
        text(file, "mime_type")[:100] or None,
        size if isinstance(size, int) else 0,
    )


def _has_content(message: Json) -> bool:
    return bool(text(message, "text") or text(message, "caption") or files_of(message))


def number(source: Json, name: str) -> int:
    """Return a member that must be a whole number; raise InvalidInput where it is not."""
    found = source.get(name)
    if not isinstance(found, int) or isinstance(found, bool):
        raise InvalidInput(f"Telegram's {name} is missing or malformed.", field=name)
    return found
