"""What DingTalk's callbacks say: pure translation; files are named, and fetched by the channel.

A conversation is a group, `cid…`, or one person, `user/STAFF_ID`, who can be written to at any time. People of other
organizations have no staff id: `session/cid…` can be answered only as long as the address lasts that they brought.
"""

import re
from dataclasses import dataclass

from integrations.channels.members import Json, rows, table
from integrations.errors import InvalidInput
from integrations.security import text
from integrations.security.documents import read_json

_ID = re.compile(r"[\x21-\x7e]{1,200}")
USER, SESSION = "user/", "session/"


@dataclass(frozen=True, slots=True)
class File:
    """A file of a message, still at DingTalk."""

    code: str
    name: str


@dataclass(frozen=True, slots=True)
class Said:
    """One utterance, and the address that answers it for a while."""

    event_id: str
    conversation: str
    account: str
    name: str
    text: str
    direct: bool
    files: tuple[File, ...] = ()
    webhook: str = ""
    webhook_ends_ms: int = 0


@dataclass(frozen=True, slots=True)
class Pressed:
    """A button of a card."""

    event_id: str
    account: str
    conversation: str
    token: str
    card: str


def read_message(data: Json) -> Said | None:
    """Return what a robot is told; None where it is nothing to answer. Raises InvalidInput for what lacks its ids."""
    staff, sender = _id(data, "senderStaffId") if data.get("senderStaffId") else "", _id(data, "senderId")
    if sender == data.get("chatbotUserId"):
        return None
    direct = str(data.get("conversationType")) == "1"
    conversation = _id(data, "conversationId")
    if direct:
        conversation = f"{USER}{staff}" if staff else f"{SESSION}{conversation}"
    said, files = _content(data)
    if not said and not files:
        return None
    ends = data.get("sessionWebhookExpiredTime")
    return Said(
        event_id=_id(data, "msgId"),
        conversation=conversation,
        account=staff or sender,
        name=text.clean(str(data.get("senderNick") or ""))[:200],
        text=said,
        direct=direct,
        files=files,
        webhook=str(data.get("sessionWebhook") or ""),
        webhook_ends_ms=ends if isinstance(ends, int) else 0,
    )


def read_press(data: Json, event_id: str) -> Pressed | None:
    """Return which button of our card was pressed; None for cards that are not ours."""
    content = data.get("content")
    inner = read_json(content) if isinstance(content, str) else table(data, "content")
    params = table(table(inner, "cardPrivateData"), "params")
    token, conversation = params.get("token"), params.get("conversation")
    if not isinstance(token, str) or not isinstance(conversation, str):
        return None
    return Pressed(event_id, _id(data, "userId"), conversation, token, _id(data, "outTrackId"))


def _content(data: Json) -> tuple[str, tuple[File, ...]]:
    kind, content = data.get("msgtype"), table(data, "content")
    if kind == "text":
        return text.clean(str(table(data, "text").get("content") or "")).strip(), ()
    if kind == "richText":
        parts = rows(content.get("richText"))
        shown = "".join(str(part.get("text") or "") for part in parts)
        return text.clean(shown).strip(), tuple(_file(part, "picture") for part in parts if part.get("downloadCode"))
    if kind == "audio":
        # DingTalk has listened already.
        spoken = text.clean(str(content.get("recognition") or "")).strip()
        return spoken, () if spoken else (_file(content, "audio"),)
    if kind in ("picture", "video", "file"):
        return "", (_file(content, str(kind)),)
    return "", ()


def _file(content: Json, kind: str) -> File:
    code = content.get("downloadCode")
    if not isinstance(code, str) or not 0 < len(code) <= 2000:
        raise InvalidInput("downloadCode is missing.", field="downloadCode")
    ending = {"picture": "png", "video": "mp4", "audio": "amr"}.get(kind, "bin")
    name = text.clean(str(content.get("fileName") or f"{kind}.{ending}"))[:200]
    return File(code, name)


def _id(document: Json, name: str) -> str:
    found = document.get(name)
    if not isinstance(found, str) or not _ID.fullmatch(found):
        raise InvalidInput(f"{name} is missing or malformed.", field=name)
    return found
