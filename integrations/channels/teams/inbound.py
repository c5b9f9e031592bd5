"""Read an authentic activity: plain functions from Teams' JSON to what we take of it; None for what we ignore."""

import hashlib
import html
import re
from dataclasses import dataclass
from typing import Literal

from integrations.channels.members import Json, rows, table
from integrations.errors import InvalidInput
from integrations.security.text import clean

BUTTON = "runbell"
FORM = "runbell_form"
DOWNLOAD = "application/vnd.microsoft.teams.file.download.info"
_AT = re.compile(r"<at(?:\s[^>]*)?>(.*?)</at>", re.DOTALL)


@dataclass(frozen=True, slots=True)
class File:
    """A file to fetch; `pictures` of the service need our token."""

    name: str
    url: str
    own: bool


@dataclass(frozen=True, slots=True)
class Heard:
    """Something that a person did."""

    kind: Literal["message", "edit", "delete", "action", "form"]
    event_id: str
    conversation: str
    account: str
    account_name: str
    direct: bool
    ref: str
    subject: str | None = None
    text: str = ""
    mentioned: bool = False
    files: tuple[File, ...] = ()
    token: str = ""
    values: Json | None = None


def read(activity: Json) -> Heard | None:
    """Return what a person did; None for bots, ourselves, and events that nothing is to be done with."""
    kind, sender = activity.get("type"), table(activity, "from")
    me = str(table(activity, "recipient").get("id") or "")
    if not _person(sender, me) or not table(activity, "conversation").get("id"):
        return None
    if kind == "invoke":
        return _invoked(activity)
    if kind == "message":
        return _submitted(activity) if activity.get("value") else _said(activity, "message", me)
    if kind == "messageUpdate":
        return _said(activity, "edit", me)
    return _heard(activity, "delete") if kind == "messageDelete" else None


def root(conversation: str) -> str:
    """Return a channel's conversation without its thread: a button stays the same in both."""
    return conversation.partition(";messageid=")[0]


def _said(activity: Json, kind: Literal["message", "edit"], me: str) -> Heard | None:
    text, mentioned = spoken(activity, me)
    files = _files(activity)
    if not text and not files:
        return None
    return _heard(activity, kind, text=text, mentioned=mentioned, files=files)


def spoken(activity: Json, me: str) -> tuple[str, bool]:
    """Return the text without our own mention, and whether there was one; others' mentions become @Name."""
    text, mentioned = str(activity.get("text") or ""), False
    for entity in rows(activity.get("entities")):
        if entity.get("type") != "mention" or not me or table(entity, "mentioned").get("id") != me:
            continue
        mark = str(entity.get("text") or "")
        if mark and mark in text:
            text, mentioned = text.replace(mark, " ", 1), True
    text = _AT.sub(r"@\1", text).replace("&nbsp;", " ")
    if activity.get("textFormat") == "xml":
        text = html.unescape(text)
    return clean(text.replace("\xa0", " ")).strip(), mentioned


def _invoked(activity: Json) -> Heard | None:
    if activity.get("name") != "adaptiveCard/action":
        return None
    data = table(table(table(activity, "value"), "action"), "data")
    return _pressed(activity, data)


def _submitted(activity: Json) -> Heard | None:
    return _pressed(activity, table(activity, "value"))


def _pressed(activity: Json, data: Json) -> Heard | None:
    button, form = data.get(BUTTON), data.get(FORM)
    if isinstance(button, str):
        return _heard(activity, "action", token=button)
    if isinstance(form, str):
        values = {name: value for name, value in data.items() if name not in (FORM, "msteams")}
        return _heard(activity, "form", token=form, values=values)
    return None


def _heard(activity: Json, kind: Literal["message", "edit", "delete", "action", "form"], **more: object) -> Heard:
    sender, place = table(activity, "from"), table(activity, "conversation")
    ref, conversation = str(activity.get("id") or ""), str(place["id"])
    account = str(sender.get("aadObjectId") or sender.get("id") or "")
    if not ref or not 0 < len(account) <= 256:
        raise InvalidInput("The activity has no id, or no sender.")
    stamp = f"{activity.get('timestamp') or ''}" if kind in ("edit", "delete") else ""
    # Ids are unique within their conversation only, and an edit carries the id of what it changes.
    name = hashlib.sha256(f"{conversation}\n{kind}\n{ref}\n{stamp}".encode()).hexdigest()
    subject = ref if kind in ("edit", "delete") else str(activity.get("replyToId") or "") or None
    personal = place.get("conversationType", "personal") == "personal" and not place.get("isGroup")
    found: dict[str, object] = {
        "kind": kind,
        "event_id": name,
        "conversation": conversation,
        "account": account,
        "account_name": clean(str(sender.get("name") or ""))[:200],
        "direct": personal and not conversation.startswith("19:"),
        "ref": ref,
        "subject": subject,
        **more,
    }
    return Heard(**found)  # pyright: ignore[reportArgumentType] - the names are checked by the dataclass


def _files(activity: Json) -> tuple[File, ...]:
    found = list[File]()
    for attachment in rows(activity.get("attachments")):
        kind, name = str(attachment.get("contentType") or ""), str(attachment.get("name") or "file")[:200]
        if kind == DOWNLOAD:
            found.append(File(name, str(table(attachment, "content").get("downloadUrl") or ""), own=False))
        elif kind.startswith("image/"):
            found.append(File(name, str(attachment.get("contentUrl") or ""), own=True))
    return tuple(found)


def _person(sender: Json, me: str) -> bool:
    """Tell people from bots: an app's id begins with 28, and its role says so."""
    name = str(sender.get("id") or "")
    return bool(name) and name != me and not name.startswith("28:") and sender.get("role") not in ("bot", "skill")
