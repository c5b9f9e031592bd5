"""Frames of the chat socket: what clients send, and how entries and snapshots are shown to them."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from integrations.database import Entry, MessageView, ShownForm, Snapshot
from integrations.database.sealed import REFERENCE
from integrations.gateway.schema import Name, Request, Text, Value, file_view
from integrations.messages import MAX_TEXT, utc_now
from integrations.security.secrets import DOTS
from integrations.settings import Settings

MOST_FIELDS = 100


class Hello(Request):
    """The first frame: who it is, and the largest entry id it has seen."""

    type: Literal["hello"]
    token: str | None = Field(None, max_length=500)
    after: int = Field(0, ge=0, le=2**62)


class Say(Request):
    """A message; repeated with the same event id after a lost connection, it counts once."""

    type: Literal["message"]
    event_id: Name
    text: Text = Field(min_length=1, max_length=MAX_TEXT)


class Fill(Request):
    """A form, filled in; repeated with the same event id after a lost connection, it counts once.

    `form` is the key of its entry. With `cancel`, it is taken back.
    """

    type: Literal["form"]
    event_id: Name
    form: Name
    values: dict[Name, Value] = Field(default_factory=dict[str, str], max_length=MOST_FIELDS)
    cancel: bool = False


class Ping(Request):
    """Asks for a pong."""

    type: Literal["ping"]


class _Identified(BaseModel):
    event_id: str = Field(max_length=200)


Frame = Hello | Say | Fill | Ping
_frames: TypeAdapter[Frame] = TypeAdapter(Annotated[Frame, Field(discriminator="type")])


def parse(text: str) -> Frame:
    """Read a client's frame; raises pydantic's ValidationError."""
    return _frames.validate_json(text)


def event_id_of(text: str) -> str | None:
    """Return the event id of a frame that can't be accepted, so that its sender knows which and doesn't repeat it."""
    try:
        return _Identified.model_validate_json(text).event_id
    except ValidationError:
        return None


def entry_frame(entry: Entry, settings: Settings) -> dict[str, Any]:
    """Show one line of the transcript."""
    return {
        "type": "entry",
        "id": entry.id,
        "message_id": entry.message_id,
        "role": entry.role,
        "text": entry.text,
        "at": entry.at.isoformat(),
        "run_id": entry.run_id,
        "run_url": settings.run_url(entry.run_id) if entry.run_id else None,
        "attachments": [file_view(attachment).model_dump() for attachment in entry.attachments],
        "choices": [
            choice.model_dump() for choice in entry.choices if not choice.url
        ],  # it shows the run's link itself
        "card": {"state": entry.card.state, "key": entry.card.key} if entry.card else None,
        "form": form_view(entry.form, utc_now()) if entry.form else None,
    }


def form_view(shown: ShownForm, now: datetime) -> dict[str, Any]:
    """Show a form and its state; an open one with the seconds that are left, and what is known already.

    What is sealed of that is dots.
    """
    form = shown.form
    if form is None or form.until is None or form.until <= now:
        return {"key": shown.key, "state": "expired" if form else shown.state, "title": form.title if form else ""}
    known = {name: DOTS if REFERENCE.fullmatch(str(value)) else value for name, value in form.args.items()}
    asked = form.model_dump(mode="json", include={"title", "submit", "questions"})
    return {"key": shown.key, "state": "open", **asked, "known": known, "left_s": (form.until - now).total_seconds()}


def snapshot_frame(view: MessageView, snapshot: Snapshot, settings: Settings) -> dict[str, Any]:
    """Show how far a message is that has no answer yet."""
    run_id = snapshot.run_id or view.run_id
    return {
        "type": "snapshot",
        "message_id": view.message_id,
        "event_id": view.event_id,
        "text": view.text,
        "status": view.status.value,
        "run_id": run_id,
        "run_url": snapshot.run_url or (settings.run_url(run_id) if run_id else None),
        "ops": [{"op": op.op, "state": op.state, "ms": op.ms} for op in snapshot.ops],
        "partial": snapshot.partial,
        "seq": snapshot.seq,
    }
