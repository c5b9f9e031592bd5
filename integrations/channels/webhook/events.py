"""What an authentic webhook says: our own form of event, or any JSON by a small table of templates.

A template is a text with `{path}` in it, a path being names and indexes with dots between: `{data.items.0.title}`.
A template that is one path and nothing else gives the value as it is; otherwise the values are written into the text.
Nothing is evaluated: no formats, no attributes, no expressions.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from integrations.complaints import in_words, named
from integrations.errors import InvalidInput
from integrations.messages import MAX_TEXT
from integrations.security import text
from integrations.security.documents import read_json
from integrations.settings_channels import WebhookFields

_PATH = re.compile(r"\{([^{}\s]{1,200})\}")
_MISSING = object()


class Event(BaseModel):
    """What a source says: `text`, or a `command` with `args`.

    Either at the top or, as Standard Webhooks recommend, inside `data`. Other members are the sender's own
    business and ignored.
    """

    model_config = ConfigDict(extra="ignore", strict=True)

    text: str = Field("", max_length=MAX_TEXT, description="What to say, or `/command key=value`.")
    command: str | None = Field(None, max_length=200)
    args: dict[str, object] = Field(default_factory=dict[str, object])
    conversation: str = Field("", max_length=200, description="One of the source's conversations.")
    account_name: str = Field("", max_length=200)
    event_id: str = Field("", max_length=180)


class Envelope(Event):
    """An event, perhaps wrapped: `{"type": …, "timestamp": …, "data": {…}}`."""

    data: Event | None = None


def parse(body: bytes) -> Event:
    """Read our own form out of an authentic body; raise InvalidInput where it says nothing usable."""
    try:
        envelope = Envelope.model_validate_json(body)
    except ValidationError as error:
        raise _invalid(error) from error
    event = envelope.data if envelope.data and not (envelope.text or envelope.command) else envelope
    return _checked(event)


def translate(body: bytes, fields: WebhookFields) -> Event | None:
    """Read any JSON object by the table; None where `when` does not fit, so that nothing is to be done."""
    document = read_json(body)
    if not _counts(document, fields):
        return None
    args = {name: _filled(template, document) for name, template in fields.args.items()}
    try:
        event = Event(
            text=_word(fields.text, document) or "",
            command=_word(fields.command, document),
            args={name: value for name, value in args.items() if value is not _MISSING},
            conversation=_word(fields.conversation, document) or "",
            account_name=_word(fields.account_name, document) or "",
            event_id=_word(fields.event_id, document) or "",
        )
    except ValidationError as error:
        raise _invalid(error) from error
    return _checked(event)


def occurrence(body: bytes, fields: WebhookFields | None) -> Event | None:
    """Read any JSON object as it is, for jobs that wait for events; None where the table's `when` does not fit."""
    document = read_json(body)
    if fields is not None and not _counts(document, fields):
        return None
    event_id = (_word(fields.event_id, document) if fields is not None else None) or ""
    if event_id:
        text.check_name(event_id, field="event_id")
    return Event.model_validate({"args": document, "event_id": event_id})


def digest(body: bytes) -> str:
    """Return a name for a body that has no id of its own."""
    return hashlib.sha256(body).hexdigest()


def _counts(document: Mapping[str, object], fields: WebhookFields) -> bool:
    return all(
        _plain(_find(document, path)) in ([wanted] if isinstance(wanted, str) else wanted)
        for path, wanted in fields.when.items()
    )


def _checked(event: Event) -> Event:
    spoken = text.clean(event.text)
    if not spoken.strip() and not event.command:
        raise InvalidInput(
            'Send {"text": "…"} or {"command": "…", "args": {…}}, at the top or in "data".', field="text"
        )
    for field in ("conversation", "account_name", "command", "event_id"):
        if value := getattr(event, field):
            text.check_name(value, field=field)
    text.check_value(event.args, field="args")
    return event.model_copy(update={"text": spoken})


def _invalid(error: ValidationError) -> InvalidInput:
    first = error.errors(include_input=False, include_url=False)[0]
    where = named(first) or "body"
    return InvalidInput(f"{where}: {in_words(first)}", field=where)


def _word(template: str, document: Mapping[str, object]) -> str | None:
    value = _filled(template, document)
    return None if value is _MISSING else _plain(value) or None


def _filled(template: str, document: Mapping[str, object]) -> object:
    whole = _PATH.fullmatch(template)
    if whole:
        return _find(document, whole[1])
    return _PATH.sub(lambda found: _plain(_find(document, found[1])), template)


def _find(document: Mapping[str, object], path: str) -> object:
    value: object = document
    for name in path.split("."):
        if isinstance(value, dict):
            value = value.get(name, _MISSING)
        elif isinstance(value, list) and name.isascii() and name.isdigit() and len(name) < 5:
            items = cast("list[object]", value)
            value = items[int(name)] if int(name) < len(items) else _MISSING
        else:
            return _MISSING
    return value


def _plain(value: object) -> str:
    """Write a value as people would."""
    if value is _MISSING or value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
