"""What Feishu's events say: pure translation of an authentic document; files are named, and fetched by the channel.

A conversation is a chat with one person, `oc_…`, or a thread of a group, `oc_…/om_root`: whoever speaks to us in a
group begins a thread with that, and is answered in it. People are known by their open_id.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from integrations.channels.members import Json, rows, table
from integrations.errors import InvalidInput
from integrations.security import text
from integrations.security.documents import Document

_PLACEHOLDER = re.compile(r"@_user_\d+|@_all")
_ID = re.compile(r"[A-Za-z0-9_.\-]{1,200}")


@dataclass(frozen=True, slots=True)
class File:
    """A file of a message, still at Feishu; `kind` is how its address wants it."""

    key: str
    name: str
    kind: str


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who is mentioned; `key` stands for them in the text."""

    key: str
    open_id: str
    name: str


@dataclass(frozen=True, slots=True)
class Said:
    """One utterance, before files are fetched and a bot's own name is known to be ours."""

    event_id: str
    message_id: str
    chat_id: str
    conversation: str
    account: str
    text: str
    direct: bool
    people: tuple[Person, ...] = ()
    files: tuple[File, ...] = ()

    def mentions(self, bot: str) -> bool:
        """Say whether the bot is addressed by name."""
        return any(person.open_id == bot for person in self.people)

    def spoken(self, bot: str) -> str:
        """Return the text with names for the placeholders of people; the bot's own falls away."""
        names = {person.key: "" if person.open_id == bot else f"@{person.name}" for person in self.people}
        names["@_all"] = "@all"
        return text.clean(_PLACEHOLDER.sub(lambda found: names.get(found[0], found[0]), self.text)).strip()


@dataclass(frozen=True, slots=True)
class Recalled:
    """A message that was taken back; who did it, the event doesn't tell."""

    event_id: str
    message_id: str
    chat_id: str


@dataclass(frozen=True, slots=True)
class Pressed:
    """A button of a card, or a form that was sent."""

    event_id: str
    message_id: str
    conversation: str
    account: str
    token: str
    values: Mapping[str, object] | None


def read(document: Document) -> Said | Recalled | Pressed | None:
    """Return what an event says; None for everything that is not ours to answer.

    Raises InvalidInput for an event of a known type that lacks what it must have.
    """
    header = table(document, "header")
    event = table(document, "event")
    kind = header.get("event_type")
    if kind == "im.message.receive_v1":
        return _message(event)
    if kind == "im.message.recalled_v1":
        return Recalled(f"recall:{_id(event, 'message_id')}", _id(event, "message_id"), _id(event, "chat_id"))
    if kind == "card.action.trigger":
        return _pressed(event, str(header.get("event_id") or ""))
    return None


def conversation_of(message: Json) -> str:
    """Return the conversation that a message belongs to."""
    chat = _id(message, "chat_id")
    if message.get("chat_type") == "p2p":
        return chat
    return f"{chat}/{message.get('root_id') or _id(message, 'message_id')}"


def _message(event: Json) -> Said | None:
    sender, message = table(event, "sender"), table(event, "message")
    if sender.get("sender_type", "user") != "user":
        return None
    shown, files = _content(str(message.get("message_type")), str(message.get("content") or ""))
    if not shown and not files:
        return None
    return Said(
        # One message may come in several events, so its own id is what tells repetitions.
        event_id=_id(message, "message_id"),
        message_id=_id(message, "message_id"),
        chat_id=_id(message, "chat_id"),
        conversation=conversation_of(message),
        account=_id(table(sender, "sender_id"), "open_id"),
        text=shown,
        direct=message.get("chat_type") == "p2p",
        people=tuple(_person(mention) for mention in rows(message.get("mentions"))),
        files=files,
    )


def _person(mention: Json) -> Person:
    name = str(mention.get("name") or "")[:100]
    return Person(str(mention.get("key")), str(table(mention, "id").get("open_id") or ""), name)


def _content(kind: str, content: str) -> tuple[str, tuple[File, ...]]:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InvalidInput("The message's content is not JSON.") from error
    if not isinstance(found, dict):
        raise InvalidInput("The message's content is not a JSON object.")
    inner = cast("dict[str, Any]", found)
    if kind == "text":
        return str(inner.get("text") or ""), ()
    if kind == "post":
        return _post(inner)
    if kind == "image":
        return "", _file(inner, "image_key", "image")
    if kind in ("file", "audio", "media"):
        return "", _file(inner, "file_key", "file")
    return "", ()


def _post(content: Json) -> tuple[str, tuple[File, ...]]:
    lines, files = [str(content.get("title") or "")], list[File]()
    for paragraph in _rows(content.get("content")):
        line = ""
        for part in paragraph:
            line += _part(part)
            if part.get("tag") == "img":
                files += _file(part, "image_key", "image")
            elif part.get("tag") == "media":
                files += _file(part, "file_key", "file")
        lines.append(line)
    return "\n".join(lines).strip(), tuple(files)


def _part(part: Json) -> str:
    kind, shown = part.get("tag"), str(part.get("text") or "")
    if kind == "at":
        return str(part.get("user_id") or "")
    if kind == "a":
        return f"[{shown}]({part.get('href') or ''})"
    if kind == "code_block":
        return f"```{str(part.get('language') or '').lower()}\n{shown.rstrip()}\n```"
    return shown


def _file(content: Json, key: str, kind: str) -> tuple[File, ...]:
    found = _id(content, key)
    guessed = f"{found[-12:]}.png" if kind == "image" else f"{found[-12:]}.bin"
    return (File(found, text.clean(str(content.get("file_name") or guessed))[:200], kind),)


def _pressed(event: Json, event_id: str) -> Pressed | None:
    action, context = table(event, "action"), table(event, "context")
    value = table(action, "value")
    token, conversation = value.get("token"), value.get("conversation")
    if not isinstance(token, str) or not isinstance(conversation, str):
        return None
    if conversation.partition("/")[0] != context.get("open_chat_id"):
        raise InvalidInput("This button was made for another chat.")
    return Pressed(
        event_id=f"card:{event_id or str(event.get('token') or '')}"[:256],
        message_id=_id(context, "open_message_id"),
        conversation=conversation,
        account=_id(table(event, "operator"), "open_id"),
        token=token,
        values=table(action, "form_value") if "form_value" in action else None,
    )


def _rows(value: object) -> Sequence[Sequence[Json]]:
    return [rows(row) for row in cast("list[object]", value)[:1000]] if isinstance(value, list) else ()


def _id(document: Json, name: str) -> str:
    found = document.get(name)
    if not isinstance(found, str) or not _ID.fullmatch(found):
        raise InvalidInput(f"{name} is missing or malformed.", field=name)
    return found
