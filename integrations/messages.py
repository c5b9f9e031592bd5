"""What crosses process boundaries between channels, the database and ops: frozen pydantic models.

Instants are aware UTC datetimes. Identifiers are strings; a message id is the UUID of its inbox row.
"""

import uuid
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

RUN_NAMESPACE = uuid.UUID("5f0f4f7e-6a5b-4d1e-9a57-72756e62656c")
MAX_TEXT = 100_000
"""Characters of text that a message may carry; channels refuse more."""


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
    """

    address: Address
    event_id: str = Field(min_length=1, max_length=256)
    account: str = Field(min_length=1, max_length=256)
    account_name: str = ""
    text: str = Field(default="", max_length=MAX_TEXT)
    command: str | None = None
    args: dict[str, object] = Field(default_factory=dict[str, object])
    direct: bool = True
    attachments: tuple[Attachment, ...] = ()
    callback_url: str | None = None
    traceparent: str | None = None
    received_at: datetime = Field(default_factory=utc_now)


class Choice(Frozen):
    """A button: `label` is shown, `text` is what pressing it says."""

    label: str
    text: str


class OutboundMessage(Frozen):
    """One utterance to a channel; `text` is Markdown."""

    address: Address
    text: str
    kind: Literal["reply", "post", "notice"] = "reply"
    attachments: tuple[Attachment, ...] = ()
    choices: tuple[Choice, ...] = ()
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
    """One person over all their accounts."""

    id: str
    tenant: str
    name: str
    roles: tuple[str, ...] = ("user",)


class Receipt(Frozen):
    """The time stamps of one message; a stage not reached is None."""

    accepted_at: datetime | None = None
    claimed_at: datetime | None = None
    started_at: datetime | None = None
    first_token_at: datetime | None = None
    replied_at: datetime | None = None
    delivered_at: datetime | None = None
