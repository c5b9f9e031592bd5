"""What the intelligent robot's connection brings, as our messages. Pure; files are fetched by `robot`.

developer.work.weixin.qq.com/document/path/101463 (frames), 101027 (events: what happened lies in a member that is
called like the event). A conversation is a group's chat id, or the member's id where the robot is spoken to alone.
"""

import re
from dataclasses import dataclass
from datetime import datetime

from integrations.channels.members import Json, table, tables, text
from integrations.messages import MAX_TEXT, Address, InboundMessage
from integrations.security.text import clean

CHANNEL = "wecom-robot"
MAX_FILES = 10
_MENTION = re.compile(r"@\S{1,64}\s*")


@dataclass(frozen=True, slots=True)
class Media:
    """A file of a message, encrypted with a key of its own."""

    url: str
    key: str
    name: str


@dataclass(frozen=True, slots=True)
class Said:
    """A message and its files."""

    message: InboundMessage
    files: tuple[Media, ...] = ()


@dataclass(frozen=True, slots=True)
class Press:
    """A pressed button, still sealed."""

    message: InboundMessage
    token: str


@dataclass(frozen=True, slots=True)
class Entered:
    """Somebody opened the chat with the robot for the first time today."""


@dataclass(frozen=True, slots=True)
class Displaced:
    """A newer connection has taken our place."""


def read(body: Json, tenant: str, at: datetime) -> Said | Press | Entered | Displaced | None:
    """Return what a callback says; None for what nobody said, and for what is not known."""
    kind = text(body, "msgtype")
    if kind == "event":
        return _event(body, tenant, at)
    account, number = text(table(body, "from"), "userid"), text(body, "msgid")
    if not account or not number:
        return None
    message = _message(body, tenant, at)
    said, files = _content(body, kind)
    if not message.direct:
        # In a group the text begins with the mention that brought it here.
        said = _MENTION.sub("", said, count=1) if said.startswith("@") else said
    said = clean(said).strip()[:MAX_TEXT]
    if not said and not files:
        return None
    return Said(message.model_copy(update={"text": said, "ref": number}), files)


def _event(body: Json, tenant: str, at: datetime) -> Press | Entered | Displaced | None:
    event = table(body, "event")
    kind = text(event, "eventtype")
    if kind == "disconnected_event":
        return Displaced()
    if kind == "enter_chat":
        return Entered()
    pressed = table(event, "template_card_event")
    token, task = text(pressed, "event_key"), text(pressed, "task_id")
    if kind != "template_card_event" or not token or not text(table(body, "from"), "userid"):
        return None
    message = _message(body, tenant, at)
    return Press(message.model_copy(update={"kind": "action", "subject": task or None}), token)


def _message(body: Json, tenant: str, at: datetime) -> InboundMessage:
    account, chat = text(table(body, "from"), "userid"), text(body, "chatid")
    direct = text(body, "chattype") != "group"
    return InboundMessage(
        address=Address(channel=CHANNEL, conversation=account if direct or not chat else chat, tenant=tenant),
        event_id=text(body, "msgid")[:256],
        account=account,
        direct=direct,
        mentioned=not direct,
        received_at=at,
    )


def _content(body: Json, kind: str) -> tuple[str, tuple[Media, ...]]:
    if kind in ("text", "voice"):
        # A voice message comes with what was understood.
        return text(table(body, kind), "content"), ()
    if kind in ("image", "file", "video"):
        return "", _media(table(body, kind), kind)
    if kind == "mixed":
        items = tables(table(body, "mixed"), "msg_item")
        spoken = [text(table(item, "text"), "content") for item in items if text(item, "msgtype") == "text"]
        images = [
            found for item in items if text(item, "msgtype") == "image" for found in _media(item.get("image"), "image")
        ]
        return "\n".join(spoken), tuple(images[:MAX_FILES])
    return "", ()


def _media(source: object, name: str) -> tuple[Media, ...]:
    found = table({"it": source}, "it")
    url = text(found, "url")
    return (Media(url, text(found, "aeskey"), text(found, "filename")[:200] or name),) if url else ()
