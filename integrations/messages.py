"""What crosses process boundaries between channels, the database and ops: frozen pydantic models.

Instants are aware UTC datetimes. Identifiers are strings; a message id is the UUID of its inbox row.
"""

import uuid
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict
from pydantic import Field as Spec

RUN_NAMESPACE = uuid.UUID("5f0f4f7e-6a5b-4d1e-9a57-72756e62656c")
MAX_TEXT = 100_000
"""Characters of text that a message may carry; channels refuse more."""
MOST_EVENT_ID = 256
BY_ACTION = "action:"
"""What the event ids of messages begin with that an action of a run has sent; its idempotency key is the rest."""


def sent_as(key: str) -> str:
    """Return the event id of a message that an action sends under its idempotency key."""
    return f"{BY_ACTION}{key}"[:MOST_EVENT_ID]


def run_id_for(message_id: str) -> str:
    """Derive the run id of a message, so that a second attempt meets the first."""
    return str(uuid.uuid5(RUN_NAMESPACE, message_id))


def utc_now() -> datetime:
    """Return the present instant, aware, in UTC."""
    return datetime.now(UTC)


class Frozen(BaseModel):
    """Base of values that cross a process."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Priority:
    """Order of claiming; smaller goes first."""

    CHAT = 0
    TIMER = 10
    BACKFILL = 20


class MessageStatus(StrEnum):
    """Where an inbound message stands."""

    RECEIVED = "received"
    RUNNING = "running"
    WAITING = "waiting"
    ANSWERED = "answered"
    FAILED = "failed"
    DEAD = "dead"

    @property
    def settled(self) -> bool:
        """Whether nothing more will happen."""
        return self in {MessageStatus.ANSWERED, MessageStatus.FAILED, MessageStatus.DEAD}


class Address(Frozen):
    """A place where messages go: a conversation on a channel, of one tenant."""

    channel: str
    conversation: str
    tenant: str = "default"


class Attachment(Frozen):
    """A stored file, passed by reference; `id` is the SHA-256 of its bytes."""

    id: str
    name: str
    media_type: str
    size: int


class InboundMessage(Frozen):
    """One utterance from a channel, authenticated and parsed, not yet stored.

    `account` is the platform's own user id, never a display name. `event_id` is the platform's; redelivery
    repeats it. `direct` is true where only the sender and Runbell take part. `command` and `args` carry a
    structured command (a card, `POST /v1/runs`) instead of text.

    `kind` tells what happened: something was said; an earlier message was changed (`text` is the new one) or taken
    back; a button was pressed (`text` is what it says); a form was sent (`command` and `args`). `ref` is the
    platform's id of this message, `subject` of the one it is about: changed, taken back, replied to, pressed.
    `mentioned` is true where the sender addressed Runbell by name in a group. `approval` is set by the database alone:
    the id of the approval that the message has waited for.

    `trigger` is what it comes from where nobody said it: a schedule, or an event; `source` names that one.
    """

    address: Address
    event_id: str = Spec(min_length=1, max_length=MOST_EVENT_ID)
    account: str = Spec(min_length=1, max_length=256)
    account_name: str = ""
    text: str = Spec(default="", max_length=MAX_TEXT)
    command: str | None = None
    args: dict[str, object] = Spec(default_factory=dict[str, object])
    direct: bool = True
    kind: Literal["message", "edit", "delete", "action", "form"] = "message"
    ref: str | None = None
    subject: str | None = None
    mentioned: bool = False
    attachments: tuple[Attachment, ...] = ()
    callback_url: str | None = None
    approval: str | None = None
    trigger: Literal["message", "schedule", "event"] = "message"
    source: str = ""
    traceparent: str | None = None
    received_at: datetime = Spec(default_factory=utc_now)


class Choice(Frozen):
    """A button: `label` is shown, `text` is what pressing it says; one with a `url` leads there and says nothing.

    An `optional` one is left out where it can't be a button below its message.
    """

    label: str
    text: str = ""
    style: Literal["default", "primary", "danger"] = "default"
    url: str | None = None
    optional: bool = False


class Field(Frozen):
    """One line of facts on a card; `short` ones may share a line."""

    name: str
    value: str
    short: bool = True


class Step(Frozen):
    """One op of a run, as a card shows it."""

    name: str
    state: Literal["waiting", "running", "succeeded", "failed", "skipped"]
    ms: int | None = None


class Card(Frozen):
    """A framed view of something that has a state; its buttons are the message's choices."""

    title: str
    text: str = ""
    state: Literal["neutral", "waiting", "running", "succeeded", "failed"] = "neutral"
    fields: tuple[Field, ...] = ()
    steps: tuple[Step, ...] = ()
    url: str | None = None


class Question(Frozen):
    """One field of a form; `name` is the argument's. A `secret` one shows dots where the network can.

    `error` says what is wrong with `value`, where the form is asked for once more.
    """

    name: str
    label: str
    kind: Literal["text", "long_text", "number", "boolean", "choice", "date", "datetime", "secret"] = "text"
    required: bool = True
    options: tuple[Choice, ...] = ()
    value: str = ""
    hint: str = ""
    error: str = ""


class Form(Frozen):
    """Asks for the arguments of a command that are missing; `args` are those known already.

    Where it waits in our own transcript, `key` names it until `until`; a later one with the same key takes its place.
    """

    title: str
    command: str
    questions: tuple[Question, ...]
    args: dict[str, object] = Spec(default_factory=dict[str, object])
    submit: str = "Send"
    key: str = ""
    until: datetime | None = None


class OutboundMessage(Frozen):
    """One utterance to a channel; `text` is Markdown, and says the whole where no card or form can be shown.

    `in_reply_to` is the platform's id of the message that is answered. `replaces` is the outbox key of an earlier
    message whose place this one takes. `asked` is the account that alone may press its buttons or send its form.
    `key` names this message for the platform's idempotency; the gateway sets it.
    """

    address: Address
    text: str
    kind: Literal["reply", "post", "notice"] = "reply"
    attachments: tuple[Attachment, ...] = ()
    choices: tuple[Choice, ...] = ()
    card: Card | None = None
    form: Form | None = None
    in_reply_to: str | None = None
    replaces: str | None = None
    asked: str | None = None
    key: str | None = None
    message_id: str | None = None
    run_id: str | None = None


class Delivery(Frozen):
    """How one attempt to send ended."""

    state: Literal["sent", "unknown", "failed"]
    platform_id: str | None = None
    error: str | None = None


class Reply(Frozen):
    """What an op may return as the answer: Markdown text and the paths of files to show with it."""

    text: str
    files: tuple[Path, ...] = ()
    choices: tuple[Choice, ...] = ()


class Principal(Frozen):
    """One person over all their accounts, with what the settings give these: roles and groups."""

    id: str
    tenant: str
    name: str
    roles: tuple[str, ...] = ("user",)
    groups: tuple[str, ...] = ()
    accounts: tuple[str, ...] = ()
    """Each as `CHANNEL:ACCOUNT`."""
    timezone: str | None = None


class Receipt(Frozen):
    """The time stamps of one message; a stage not reached is None."""

    accepted_at: datetime | None = None
    claimed_at: datetime | None = None
    started_at: datetime | None = None
    first_token_at: datetime | None = None
    replied_at: datetime | None = None
    delivered_at: datetime | None = None
