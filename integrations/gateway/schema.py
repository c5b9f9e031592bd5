"""What requests and answers of the REST API look like."""

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Literal, cast

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from integrations.database import Entry, MessageView
from integrations.errors import InvalidInput
from integrations.messages import MAX_TEXT, Attachment, Choice, MessageStatus, Receipt
from integrations.security.text import check_name, check_value, clean
from integrations.settings import Settings


def _spoken(text: str) -> str:
    cleaned = _cleaned(text)
    if not cleaned.strip():
        raise ValueError("The text is empty.")
    return cleaned


def _cleaned(text: str) -> str:
    try:
        return clean(text)
    except InvalidInput as error:
        raise ValueError(str(error)) from error


def _named(name: str) -> str:
    try:
        return check_name(name, field="The name")
    except InvalidInput as error:
        raise ValueError(str(error)) from error


def _storable(args: dict[str, object]) -> dict[str, object]:
    try:
        check_value(args, field="args")
    except InvalidInput as error:
        raise ValueError(str(error)) from error
    return args


Text = Annotated[str, AfterValidator(_spoken)]
Value = Annotated[str, Field(max_length=MAX_TEXT), AfterValidator(_cleaned)]
Name = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_named)]
Args = Annotated[dict[str, object], AfterValidator(_storable)]


class Request(BaseModel):
    """A body that we read; fields that we don't know are refused."""

    model_config = ConfigDict(extra="forbid", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _known(cls, body: object) -> object:
        """Refuse unknown fields with the list of those that there are; pydantic's own words don't tell it."""
        unknown = cast("dict[str, object]", body).keys() - cls.model_fields.keys() if isinstance(body, dict) else ()
        if unknown:
            raise ValidationError.from_exception_data(
                cls.__name__, [_unknown(name, cls.model_fields) for name in sorted(unknown)[:20]]
            )
        return body


def _unknown(name: str, known: Iterable[str]) -> InitErrorDetails:
    shown = name[:100].encode("utf-8", "replace").decode()  # JSON can hold half a character, an error can't.
    told: dict[str, object] = {"name": repr(shown), "known": ", ".join(known)}
    return {
        "type": PydanticCustomError("unknown_field", "There is no field {name}. Known: {known}.", told),
        "loc": (shown,),
        "input": None,
    }


class NewMessage(Request):
    """Something to say."""

    text: Text = Field(min_length=1, max_length=MAX_TEXT, description="A sentence, or `/command key=value`.")
    conversation: Name | None = Field(None, description="Where to go on; a new conversation without it.")
    event_id: Name | None = Field(None, description="Repeat it with a repeated request: the message counts once.")


class NewRun(Request):
    """A command to start."""

    command: Name = Field(description="A name from /v1/commands.")
    args: Args = Field(default_factory=dict[str, object])
    event_id: Name | None = Field(None, description="Repeat it with a repeated request: the run is made once.")
    callback_url: str | None = Field(
        None,
        max_length=2000,
        description="Where each change of the run's state is posted, as a signed Standard Webhook: run.running, "
        "run.waiting, run.answered, run.failed, run.dead. Its secret: RUNBELL_HOME/callback_secret.",
    )


class ReplyView(BaseModel):
    """One answer."""

    text: str
    at: datetime
    attachments: list["FileView"] = Field(default_factory=list["FileView"])
    choices: list[Choice] = Field(default_factory=list[Choice])


class FileView(BaseModel):
    """A file that an answer shows."""

    id: str
    name: str
    media_type: str
    size: int
    url: str


class AcceptedMessage(BaseModel):
    """The message is stored and will be answered."""

    message_id: str
    conversation: str
    url: str
    duplicate: bool = Field(description="The event id was known: this is what became of the first one.")


class WaitView(BaseModel):
    """What a waiting message waits for; all but `text` only where that is an approval."""

    text: str = Field(description="In words, in the language of whoever asked.")
    approval_id: str | None = Field(None, description="For /v1/approvals/{id}, or `/approve ID` anywhere.")
    shown: str | None = Field(None, description="What is to be approved, exactly.")
    approvers: list[str] = Field(default_factory=list[str], description="Rules of who may decide.")
    missing: int = Field(0, description="How many people have yet to approve.")
    expires_at: datetime | None = None
    url: str | None = Field(None, description="The approval.")


class MessageState(BaseModel):
    """Where a message stands."""

    message_id: str
    channel: str
    conversation: str
    event_id: str
    status: MessageStatus
    run_id: str | None
    run_url: str | None
    error: str | None
    waits_for: WaitView | None = Field(description="While its status is `waiting`.")
    replies: list[ReplyView]
    receipt: Receipt
    trace_id: str | None
    url: str


class AcceptedRun(BaseModel):
    """The command is stored and its run will begin."""

    run_id: str
    run_url: str
    message_id: str
    url: str
    duplicate: bool


class RunState(BaseModel):
    """Where a run stands: waiting to be claimed, queued, running, parked or finished.

    `run_url` is null where no run was made: the command was refused, as the message's reply says.
    """

    run_id: str
    run_url: str | None
    state: Literal["waiting", "queued", "running", "parked", "finished"]
    job: str | None = None
    location: str | None = None
    created_at: datetime | None = None
    cancel_requested: bool = False
    message: MessageState | None = None


class Cancelled(BaseModel):
    """What became of the wish to cancel."""

    run_id: str
    state: Literal["requested", "cancelled"]


class CommandView(BaseModel):
    """A command, with the JSON Schema of its arguments."""

    name: str
    description: str
    description_zh: str
    aliases: list[str]
    examples: list[str]
    location: str
    job: str
    effect: Literal["read", "write", "destructive"]
    needs_approval: bool
    json_schema: dict[str, object] = Field(serialization_alias="schema")
    tool: dict[str, object] = Field(description="The same as OpenAI's API takes a tool of a model.")


class Commands(BaseModel):
    """The commands that the caller may run."""

    commands: list[CommandView]


class SessionLink(BaseModel):
    """A link that opens the page once, within ten minutes."""

    url: str
    expires_in_s: int


def file_view(attachment: Attachment) -> FileView:
    """Tell where a file can be read."""
    return FileView(**attachment.model_dump(), url=f"/v1/files/{attachment.id}")


def reply_view(entry: Entry) -> ReplyView:
    """Show one answer."""
    return ReplyView(
        text=entry.text,
        at=entry.at,
        attachments=[file_view(attachment) for attachment in entry.attachments],
        choices=list(entry.choices),
    )


def wait_view(view: MessageView) -> WaitView:
    """Show what a message waits for."""
    if (approval := view.approval) is None:
        return WaitView.model_validate({"text": view.waits_for})
    return WaitView(
        text=view.waits_for,
        approval_id=approval.id,
        shown=approval.shown,
        approvers=list(approval.policy.rules(escalated=approval.escalated)),
        missing=approval.missing,
        expires_at=approval.expires_at,
        url=f"/v1/approvals/{approval.id}",
    )


def message_state(view: MessageView, settings: Settings) -> MessageState:
    """Show where a message stands."""
    return MessageState(
        message_id=view.message_id,
        channel=view.address.channel,
        conversation=view.address.conversation,
        event_id=view.event_id,
        status=view.status,
        run_id=view.run_id,
        run_url=settings.run_url(view.run_id) if view.run_id else None,
        error=view.error,
        waits_for=wait_view(view) if view.status is MessageStatus.WAITING else None,
        replies=[reply_view(reply) for reply in view.replies],
        receipt=view.receipt,
        trace_id=view.traceparent.split("-")[1] if view.traceparent else None,
        url=f"/v1/messages/{view.message_id}",
    )
