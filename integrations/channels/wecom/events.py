"""What an app's callback says: WeCom's XML, already decrypted, as our messages. Pure; the files are fetched by `app`.

developer.work.weixin.qq.com/document/path/90239 (messages), 90240 (events). An app is spoken to by one member at a
time, so every conversation is direct and named by the member's id.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from integrations.messages import Address, InboundMessage
from integrations.security.text import clean

CHANNEL = "wecom"
EXTENSIONS = {"image/jpeg": ".jpg", "image/png": ".png", "image/gif": ".gif", "video/mp4": ".mp4"}
Fields = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Press:
    """A button of a template card that somebody pressed."""

    token: str
    task_id: str
    account: str
    event_id: str


@dataclass(frozen=True, slots=True)
class Media:
    """A file that a message brings, still with WeCom."""

    id: str
    name: str
    extension: str = ""

    def named(self, media_type: str) -> str:
        """Return a name that fits what came."""
        if "." in self.name:
            return self.name
        return self.name + (self.extension or EXTENSIONS.get(media_type, ""))


def sender(fields: Fields) -> str:
    """Return the member's id; blank where no member speaks."""
    account = fields.get("FromUserName", "").strip()
    return "" if account == "sys" else account


def address(account: str, tenant: str) -> Address:
    """Return the conversation with a member."""
    return Address(channel=CHANNEL, conversation=account, tenant=tenant)


def message(fields: Fields, tenant: str, at: datetime) -> InboundMessage | None:
    """Return what a member says; None for what nobody said: events, and types we don't know."""
    account, kind = sender(fields), fields.get("MsgType", "")
    if not account:
        return None
    if kind == "event":
        return _menu(fields, account, tenant, at)
    text, brought = clean(_text(kind, fields)).strip(), media(fields)
    number = fields.get("MsgId", "")
    if not number or not (text or brought):
        return None
    return InboundMessage(
        address=address(account, tenant), event_id=number, account=account, text=text, ref=number, received_at=at
    )


def press(fields: Fields) -> Press | None:
    """Return the button that was pressed, if that is what happened."""
    account = sender(fields)
    if fields.get("MsgType") != "event" or fields.get("Event") != "template_card_event" or not account:
        return None
    token, task = fields.get("EventKey", ""), fields.get("TaskId", "")
    if not token or not task:
        return None
    return Press(token, task, account, _event_id(fields, account, task))


def media(fields: Fields) -> Media | None:
    """Return the file that a message brings."""
    identity, kind = fields.get("MediaId", ""), fields.get("MsgType", "")
    if not identity:
        return None
    if kind == "image":
        return Media(identity, "image")
    if kind == "voice":
        return Media(identity, "voice", "." + (fields.get("Format", "").lower() or "amr"))
    if kind == "video":
        return Media(identity, "video", ".mp4")
    if kind == "file":
        return Media(identity, fields.get("FileName", "") or fields.get("Title", "") or "file")
    return None


def _text(kind: str, fields: Fields) -> str:
    if kind == "text":
        return fields.get("Content", "")
    if kind == "location":
        place = f"{fields.get('Location_X', '')}, {fields.get('Location_Y', '')}"
        return f"📍 {fields.get('Label', '')} ({place})"
    if kind == "link":
        lines = (fields.get("Title", ""), fields.get("Description", ""), fields.get("Url", ""))
        return "\n".join(line for line in lines if line)
    return ""


def _menu(fields: Fields, account: str, tenant: str, at: datetime) -> InboundMessage | None:
    """Return the command behind an entry of the app's menu: its key, where that begins with a slash."""
    key = fields.get("EventKey", "").strip()
    if fields.get("Event") != "click" or not key.startswith("/"):
        return None
    return InboundMessage(
        address=address(account, tenant),
        event_id=_event_id(fields, account, key),
        account=account,
        text=clean(key),
        received_at=at,
    )


def _event_id(fields: Fields, account: str, what: str) -> str:
    """Events have no id: who, when and what name one (document/path/90238)."""
    return f"{fields.get('Event', '')}:{account}:{fields.get('CreateTime', '')}:{what}"[:256]
