"""What Discord says, as our messages: interactions and gateway messages share these shapes. Pure.

discord.com/developers/docs: interactions/receiving-and-responding, resources/message, events/gateway-events.
In a server only what is addressed to the bot is taken: it is mentioned, or one of its messages is replied to.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, cast

from integrations.messages import MAX_TEXT, Address, Attachment, InboundMessage
from integrations.security.text import clean

CHANNEL = "discord"
PING, COMMAND, COMPONENT, AUTOCOMPLETE, MODAL = 1, 2, 3, 4, 5
SPOKEN = frozenset({0, 19})
SUBCOMMANDS = frozenset({1, 2})
FREE = frozenset({"ask", "runbell"})
Json = Mapping[str, Any]


def person(data: Json) -> Json:
    """Return the user behind an interaction."""
    return _object(_object(data.get("member")).get("user")) or _object(data.get("user"))


def address(data: Json, tenant: str) -> Address:
    """Return where it happened: a channel, a thread, or a direct message."""
    return Address(channel=CHANNEL, conversation=str(data["channel_id"]), tenant=tenant)


def direct(data: Json) -> bool:
    """Say whether only the person and the bot take part."""
    kind = _object(data.get("channel")).get("type")
    return not data.get("guild_id") and (kind is None or kind == 1) and data.get("context") != 2


def said(data: Json, who: Json, tenant: str, at: datetime) -> dict[str, Any]:
    """Return what all messages of an interaction have in common."""
    return {
        "address": address(data, tenant),
        "event_id": str(data["id"]),
        "account": str(who["id"]),
        "account_name": str(who.get("global_name") or who.get("username") or "")[:200],
        "direct": direct(data),
        "mentioned": True,
        "received_at": at,
    }


def command(data: Json, tenant: str, at: datetime) -> InboundMessage:
    """Return a slash command: `/ask text:…` is free text, anything else a command with arguments."""
    given = _object(data.get("data"))
    name, options = str(given["name"]), _list(given.get("options"))
    while len(options) == 1 and options[0].get("type") in SUBCOMMANDS:
        name, options = f"{name} {options[0]['name']}", _list(options[0].get("options"))
    args = {str(option["name"]): option.get("value") for option in options}
    common = {**said(data, person(data), tenant, at), "ref": str(data["id"])}
    if name in FREE and isinstance(args.get("text"), str):
        return InboundMessage.model_validate({**common, "text": clean(str(args["text"]))[:MAX_TEXT]})
    return InboundMessage.model_validate({**common, "command": name, "args": args})


def inputs(data: Json) -> dict[str, str]:
    """Return what was typed into a modal: the inputs' names and values, in rows or labels."""
    found: dict[str, str] = {}
    for row in _list(_object(data.get("data")).get("components")):
        for item in [*_list(row.get("components")), _object(row.get("component"))]:
            if "custom_id" in item and isinstance(item.get("value"), str):
                found[str(item["custom_id"])] = clean(str(item["value"])).strip()
    return found


def message(data: Json, bot_id: str, tenant: str, at: datetime) -> InboundMessage | None:
    """Return a message that a person wrote to the bot; None for everybody else's, and for notices."""
    author = _object(data.get("author"))
    if author.get("bot") or data.get("webhook_id") or data.get("type", 0) not in SPOKEN or not author.get("id"):
        return None
    alone = not data.get("guild_id")
    addressed = alone or _addressed(data, bot_id)
    text = stripped(clean(str(data.get("content") or "")), bot_id)
    if not addressed or not (text or data.get("attachments")):
        return None
    subject = _object(data.get("message_reference")).get("message_id")
    changed = bool(data.get("edited_timestamp"))
    return InboundMessage(
        address=address(data, tenant),
        event_id=f"{data['id']}:{data['edited_timestamp']}" if changed else str(data["id"]),
        account=str(author["id"]),
        account_name=str(author.get("global_name") or author.get("username") or "")[:200],
        text=text[:MAX_TEXT],
        direct=alone,
        kind="edit" if changed else "message",
        ref=str(data["id"]),
        subject=str(data["id"]) if changed else (str(subject) if subject else None),
        mentioned=not alone,
        received_at=at,
    )


def removed(data: Json, tenant: str, at: datetime) -> InboundMessage:
    """Return that a message was taken back; Discord does not say by whom."""
    number = str(data["id"])
    return InboundMessage(
        address=address(data, tenant),
        event_id=f"{number}:deleted",
        account="unknown",
        direct=not data.get("guild_id"),
        kind="delete",
        subject=number,
        received_at=at,
    )


def files(data: Json) -> list[Json]:
    """Return the descriptions of a message's files."""
    return _list(data.get("attachments"))


def with_files(message: InboundMessage, stored: list[Attachment], left_out: list[str]) -> InboundMessage:
    """Return the message with its files, and a line for each that did not come."""
    text = "\n".join([message.text, *left_out]).strip()
    return message.model_copy(update={"attachments": tuple(stored), "text": text[:MAX_TEXT]})


def stripped(text: str, bot_id: str) -> str:
    """Return the text without mentions of the bot."""
    return re.sub(rf"<@!?{re.escape(bot_id)}>", "", text).strip() if bot_id else text.strip()


def _addressed(data: Json, bot_id: str) -> bool:
    mentions = [_object(one).get("id") for one in _list(data.get("mentions"))]
    replied = _object(_object(data.get("referenced_message")).get("author")).get("id")
    return bot_id in mentions or replied == bot_id


def _object(value: object) -> Json:
    return cast("Json", value) if isinstance(value, dict) else {}


def _list(value: object) -> list[Json]:
    return [one for one in cast("list[Json]", value) if isinstance(one, dict)] if isinstance(value, list) else []
