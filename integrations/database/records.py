"""What the stores hand out: frozen dataclasses, never rows."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import cast

from integrations.approvals.values import Approval
from integrations.database.turns import AtOnce
from integrations.messages import (
    Address,
    Attachment,
    Choice,
    Form,
    InboundMessage,
    MessageStatus,
    OutboundMessage,
    Receipt,
)


@dataclass(frozen=True, slots=True)
class Received:
    """What became of one message that was handed to the inbox.

    `fresh` is false where the event id was known. `message_id` is None where it was refused because its
    conversation has too many messages waiting.
    """

    message_id: str | None
    fresh: bool


@dataclass(frozen=True, slots=True)
class ClaimedMessage:
    """A message that this worker may route until its lease ends; `token` fences every write."""

    message_id: str
    token: int
    message: InboundMessage
    priority: int
    attempts: int
    redacted: bool = False
    """Whether `message` lacks secrets that are stored in it still: what ends its routing removes them."""


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run to be made for a message; `run_config` and `tags` are Dagster's.

    With `retry_of`, the id of a failed run, it takes that one's config and goes on where it failed; with `again_of` it
    does once more what that run did. `asked` is the typed command that it is the run of, if it is.
    """

    location: str
    job: str
    run_config: dict[str, object]
    tags: dict[str, str]
    retry_of: str | None = None
    again_of: str | None = None
    asked: "AskedCommand | None" = None
    at_once: AtOnce | None = None


@dataclass(frozen=True, slots=True)
class AskedCommand:
    """A typed command as it was asked for: what its run shows of itself, and what it takes to run it again."""

    command: str
    args: dict[str, object] = field(default_factory=dict[str, object])
    language: str = "en"
    progress: str = "card"


@dataclass(frozen=True, slots=True)
class RunClaim:
    """A run that this worker may execute until its lease ends; `token` fences every write.

    `request` is None where Dagster has the run already. `attempts` counts claims, this one included: above
    one, an earlier worker began; `began_version` is the version of its code. `address` and `traceparent` are those
    of its message, if it has one.
    """

    run_id: str
    token: int
    location: str
    job: str
    request: dict[str, object] | None
    message_id: str | None
    address: Address | None
    traceparent: str | None
    principal_id: str | None
    tenant: str
    priority: int
    attempts: int
    cancel_requested: bool = False
    parked: dict[str, object] | None = None
    began_version: str | None = None
    concurrency_key: str | None = None


@dataclass(frozen=True, slots=True)
class QueuedRun:
    """Where a run stands in the queue."""

    run_id: str
    location: str
    job: str
    state: str
    claimed_by: str | None
    message_id: str | None
    principal_id: str | None
    created_at: datetime
    lease_until: datetime | None
    cancel_requested: bool
    parked: dict[str, object] | None
    attempts: int
    version: str | None = None
    concurrency_key: str | None = None


@dataclass(frozen=True, slots=True)
class Demand:
    """What waits for the workers of a code location: how many runs or messages, and the oldest for how long."""

    waiting: int = 0
    oldest_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Shown:
    """A card in the transcript: its state, and its name, which all states of one card share. The last one counts."""

    state: str
    key: str


@dataclass(frozen=True, slots=True)
class ShownForm:
    """A form in the transcript: its name, which all its states share, and its state; the last one counts.

    It is `open` with its questions; else `answered`, `cancelled`, `expired`, or `replaced` by what was asked next.
    """

    key: str
    state: str
    form: Form | None = None


@dataclass(frozen=True, slots=True)
class Conversation:
    """Whether one is direct, whose it is, and the model that was chosen for it, if one was."""

    direct: bool
    principal_id: str | None
    model: str | None


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a conversation's transcript; ids increase in the order of becoming visible."""

    id: int
    address: Address
    message_id: str | None
    run_id: str | None
    principal_id: str | None
    role: str
    text: str
    at: datetime
    attachments: tuple[Attachment, ...] = ()
    choices: tuple[Choice, ...] = ()
    card: Shown | None = None
    form: ShownForm | None = None


@dataclass(frozen=True, slots=True)
class MessageView:
    """All that is known of one message."""

    message_id: str
    address: Address
    event_id: str
    principal_id: str | None
    account: str
    text: str
    status: MessageStatus
    run_id: str | None
    error: str | None
    receipt: Receipt
    replies: tuple[Entry, ...] = ()
    traceparent: str | None = None
    waits_for: str = ""
    """Why a waiting one waits, in words; `approval` is the decision that it waits for, if it is one."""
    approval: Approval | None = None


@dataclass(frozen=True, slots=True)
class OutboxItem:
    """One message on its way out; `key` is unique for ever and is the idempotency key where a network has one.

    `group` is true where more than one person reads the conversation.
    """

    id: int
    key: str
    message: OutboundMessage
    attempts: int
    state: str
    created_at: datetime
    error: str | None = None
    traceparent: str | None = None
    group: bool = False


@dataclass(frozen=True, slots=True)
class OpState:
    """How far one op of a running job is; milliseconds that it took, or so far while it is at it."""

    op: str
    state: str
    ms: float | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All progress of one message, collapsed; later progress has a larger `seq`. `run` is all that was told of it."""

    seq: int = 0
    run_id: str | None = None
    run_url: str | None = None
    job: str | None = None
    ops: tuple[OpState, ...] = ()
    partial: str = ""
    run: dict[str, object] | None = None


@dataclass(frozen=True, slots=True)
class Proposal:
    """A command that was shown with its exact arguments and waits for the principal's yes."""

    id: str
    address: Address
    principal_id: str
    command: str
    args: dict[str, object]
    created_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Pending:
    """A command that lacks `argument`, for which its sender was asked in `language`.

    `form` is the key of the form that asks for all that it lacks, where one is shown.
    """

    command: str
    args: dict[str, object]
    argument: str
    language: str
    form: str | None = None


@dataclass(frozen=True, slots=True)
class StoredCommand:
    """A typed command of a code location; `spec` is the catalogue's own JSON."""

    name: str
    location: str
    job: str
    spec: dict[str, object] = field(default_factory=dict[str, object])

    @property
    def allowed(self) -> tuple[str, ...] | None:
        """Who may run it, as `integrations.access` reads it."""
        said = self.spec.get("allowed")
        return tuple(str(rule) for rule in cast("list[object]", said)) if isinstance(said, list) else None


@dataclass(frozen=True, slots=True)
class WorkerState:
    """One live worker."""

    id: str
    location: str
    pid: int
    threads: int
    busy: int
    version: str
    state: str
    started_at: datetime
    heartbeat_at: datetime
    texts: int = 0
    """Texts whose vectors were asked for since its start, and how many of them it still had."""
    texts_known: int = 0
