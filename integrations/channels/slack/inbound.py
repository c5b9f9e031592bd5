"""What Slack says, read into our messages: events, slash commands, pressed buttons, submitted modals.

Socket Mode and HTTP carry the same payloads. A conversation is `CHANNEL`, or `CHANNEL/TS` inside a thread; a mention
in a channel begins a thread. Where there are several workspaces, `TEAM:` stands before it, and before an account. A
mention arrives twice where `message.channels` is subscribed too, so a new message is named by channel and time stamp,
which both carry.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from integrations.channels.members import Json, table, tables, text
from integrations.errors import InvalidInput
from integrations.messages import MAX_TEXT, Address, InboundMessage

COMMAND = "/runbell"
_NEW = {"", "file_share", "thread_broadcast", "me_message"}
_ENTITY = re.compile(r"<([^<>\n]{1,4000})>")
_ESCAPES = (("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&"))


@dataclass(frozen=True, slots=True)
class Press:
    """A pressed button: what it carries, still sealed, and where."""

    message: InboundMessage
    token: str
    trigger_id: str
    opens_form: bool = False


@dataclass(frozen=True, slots=True)
class Submission:
    """A modal that was sent: its sealed form, where it belongs, and what was filled in, by block."""

    message: InboundMessage
    token: str
    values: Mapping[str, str]


Translated = InboundMessage | Press | Submission | None


class Reader:
    """Reads for one channel name and tenant; `team` is the workspace, where there are several, `bot` our user there."""

    def __init__(self, channel: str, tenant: str, team: str = "", bot: str = "") -> None:
        self._channel = channel
        self._tenant = tenant
        self._bot = bot
        self._prefix = f"{team}:" if team else ""

    def read(self, payload: Json) -> Translated:
        """Return what a payload says; None where it is nothing to us. Raises InvalidInput for what is malformed."""
        kind = payload.get("type")
        if kind == "event_callback":
            return self._event(payload)
        if kind == "block_actions":
            return self._action(payload)
        if kind == "view_submission":
            return self._submission(payload)
        return self._command(payload) if "command" in payload else None

    def address(self, channel: str, thread: str = "") -> Address:
        """Return the address of a channel, or of a thread in it."""
        conversation = f"{channel}/{thread}" if thread else channel
        return Address(channel=self._channel, conversation=f"{self._prefix}{conversation}", tenant=self._tenant)

    def _event(self, payload: Json) -> InboundMessage | None:
        event, bot = table(payload, "event"), self._bot or own_user(payload)
        if text(event, "type") not in {"message", "app_mention"}:
            return None
        subtype = text(event, "subtype")
        if subtype == "message_changed":
            return self._changed(payload, event, bot)
        if subtype == "message_deleted":
            return self._deleted(payload, event, bot)
        if subtype not in _NEW or _is_bots(event, bot) or not self._is_for_us(event, bot):
            return None
        stamp, channel = needed(event, "ts"), needed(event, "channel")
        return self._message(event, channel, bot).model_copy(
            update={
                "event_id": f"{self._prefix}{channel}:{stamp}",
                "ref": stamp,
                "subject": text(event, "thread_ts") or None,
            }
        )

    def _message(self, event: Json, channel: str, bot: str) -> InboundMessage:
        direct = channel.startswith("D")
        thread = text(event, "thread_ts") or ("" if direct else needed(event, "ts"))
        return InboundMessage(
            address=self.address(channel, thread),
            event_id="-",
            account=self._prefix + needed(event, "user"),
            text=clean(text(event, "text"), bot),
            direct=direct,
            mentioned=not direct,
        )

    def _changed(self, payload: Json, event: Json, bot: str) -> InboundMessage | None:
        now, before = table(event, "message"), table(event, "previous_message")
        # Slack changes a message as well when it unfolds a link in it.
        if not now.get("edited") or now.get("text") == before.get("text") or _is_bots(now, bot):
            return None
        if not self._is_for_us({**now, "channel": event.get("channel")}, bot):
            return None
        message = self._message(now, needed(event, "channel"), bot)
        return message.model_copy(
            update={"event_id": needed(payload, "event_id"), "kind": "edit", "subject": needed(now, "ts")}
        )

    def _deleted(self, payload: Json, event: Json, bot: str) -> InboundMessage | None:
        gone = table(event, "previous_message")
        if not gone or _is_bots(gone, bot) or not self._is_for_us({**gone, "channel": event.get("channel")}, bot):
            return None
        message = self._message(gone, needed(event, "channel"), bot)
        return message.model_copy(
            update={
                "event_id": needed(payload, "event_id"),
                "kind": "delete",
                "subject": needed(event, "deleted_ts"),
                "text": "",
            }
        )

    @staticmethod
    def _is_for_us(event: Json, bot: str) -> bool:
        """Tell direct messages and mentions from what people say to each other."""
        if event.get("type") == "app_mention" or text(event, "channel").startswith("D"):
            return True
        return bool(bot) and f"<@{bot}>" in text(event, "text")

    def _command(self, payload: Json) -> InboundMessage:
        command, rest = needed(payload, "command"), text(payload, "text").strip()
        said = f"{command} {rest}".strip() if command != COMMAND else f"/{rest.removeprefix('/') or 'help'}"
        channel = needed(payload, "channel_id")
        return InboundMessage(
            address=self.address(channel),
            event_id=needed(payload, "trigger_id"),
            account=self._prefix + needed(payload, "user_id"),
            account_name=text(payload, "user_name")[:200],
            text=clean(said, ""),
            direct=channel.startswith("D"),
            mentioned=True,
        )

    def _action(self, payload: Json) -> Press | None:
        actions = tables(payload, "actions")
        if not actions or not text(actions[0], "value"):
            return None
        message = self._at(payload, needed(payload, "trigger_id"), "action")
        opens = text(actions[0], "action_id").startswith("form")
        return Press(message, text(actions[0], "value"), needed(payload, "trigger_id"), opens)

    def _at(self, payload: Json, event_id: str, kind: str) -> InboundMessage:
        """Return an empty message from the place of the message that carries the button."""
        container, shown = table(payload, "container"), table(payload, "message")
        user, stamp = table(payload, "user"), text(container, "message_ts")
        channel = text(container, "channel_id") or needed(table(payload, "channel"), "id")
        thread = text(container, "thread_ts") or text(shown, "thread_ts")
        return InboundMessage(
            # A thread that somebody began below our message is not the place where it was said.
            address=self.address(channel, thread if thread != stamp else ""),
            event_id=event_id,
            account=self._prefix + needed(user, "id"),
            account_name=text(user, "username")[:200],
            direct=channel.startswith("D"),
            mentioned=True,
            kind="action" if kind == "action" else "form",
            subject=stamp or None,
        )

    def _submission(self, payload: Json) -> Submission | None:
        view = table(payload, "view")
        token, _, place = text(view, "private_metadata").partition(" ")
        conversation, _, subject = place.partition(" ")
        if not conversation or view.get("callback_id") != "form":
            return None
        channel, _, thread = conversation.removeprefix(self._prefix).partition("/")
        user = table(payload, "user")
        message = InboundMessage(
            address=self.address(channel, thread),
            event_id=f"view:{needed(view, 'id')}",
            account=self._prefix + needed(user, "id"),
            account_name=text(user, "username")[:200],
            direct=channel.startswith("D"),
            mentioned=True,
            kind="form",
            subject=subject or None,
        )
        blocks = table(table(view, "state"), "values")
        return Submission(message, token, {str(name): _filled(blocks[name]) for name in blocks})


def own_user(payload: Json) -> str:
    """Return our own user id, which each event carries."""
    for one in tables(payload, "authorizations"):
        if one.get("is_bot") is not False:
            return text(one, "user_id")
    return ""


def clean(said: str, bot: str) -> str:
    """Return Slack's own markup as Markdown, without the mention of us."""
    said = _ENTITY.sub(lambda found: _entity(found[1], bot), said)
    for escaped, plain in _ESCAPES:
        said = said.replace(escaped, plain)
    return said.strip()[:MAX_TEXT]


def _entity(content: str, bot: str) -> str:
    target, _, label = content.partition("|")
    if target.startswith("@"):
        return "" if bot and target == f"@{bot}" else f"@{label or target[1:]}"
    if target.startswith("#"):
        return f"#{label or target[1:]}"
    if target.startswith("!"):
        return label or f"@{target[1:].partition('^')[0]}"
    target = target.removeprefix("mailto:") if target == f"mailto:{label}" else target
    return f"[{label}]({target})" if label and label not in target else target


def _is_bots(event: Json, bot: str) -> bool:
    return bool(event.get("bot_id") or event.get("bot_profile")) or (bool(bot) and event.get("user") == bot)


def _filled(block: object) -> str:
    """Return the value of a modal's only element in a block, whatever kind it is."""
    for element in cast("Json", block).values() if isinstance(block, dict) else ():
        state = cast("Json", element) if isinstance(element, dict) else {}
        option = table(state, "selected_option")
        return text(option, "value") or text(state, "selected_date") or text(state, "value")
    return ""


def needed(source: Json, name: str) -> str:
    """Return a member that must be there; raise InvalidInput where it is not."""
    found = text(source, name)
    if not found or len(found) > 250:
        raise InvalidInput(f"Slack's {name} is missing or malformed.", field=name)
    return found
