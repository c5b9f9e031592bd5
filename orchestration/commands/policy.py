"""What a job is as a command, beyond its arguments: names, who may run it, what it does, who approves, limits.

Authors say it with `@command` (`orchestration/authoring.py`), which keeps it in the job's metadata as JSON.
"""

import re
from datetime import timedelta
from string import Formatter
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema, model_validator

from integrations.messages import Address
from integrations.settings_access import rules
from orchestration.commands.durations import parse_duration, show_duration

Effect = Literal["read", "write", "destructive"]
"""What a command does to the world: nothing, something, or something that can't be undone."""
Late = Literal["ignore", "run", "ask"]
Progress = Literal["card", "line", "none"]
_WORD = re.compile(r"[^\W\d_][\w.-]{0,63}|[\w.-]{1,64}")
_PLACE = re.compile(r"[\w.-]{1,64}")


def _length(value: object) -> object:
    return parse_duration(value) if isinstance(value, str) else value


def _rules(value: object) -> object:
    return rules(value) if isinstance(value, str | list | tuple) else value


def _texts(value: object) -> object:
    return (value,) if isinstance(value, str) else value


_ONE_OR_MORE = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}

Length = Annotated[
    timedelta,
    BeforeValidator(_length),
    PlainSerializer(show_duration, return_type=str),
    WithJsonSchema({"type": ["string", "number"], "examples": ["90s", "1h30m", "3 days"]}, mode="validation"),
]
"""A length of time; may be written `24h`, `3 days`."""
Rules = Annotated[tuple[str, ...], BeforeValidator(_rules), WithJsonSchema(_ONE_OR_MORE, mode="validation")]
"""Whom something is for: `everyone`, a role, `group:G`, `CHANNEL:ACCOUNT` or `principal:ID`."""
Texts = Annotated[tuple[str, ...], BeforeValidator(_texts), WithJsonSchema(_ONE_OR_MORE, mode="validation")]


class Approval(BaseModel):
    """Who must agree before a command runs, how many of them, and until when.

    It is asked in `conversation`, or where the command was said. An approver is checked at the moment of deciding.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    approvers: Rules = Field(min_length=1)
    count: int = Field(default=1, ge=1, le=20)
    requester_may_approve: bool = False
    expires_after: Length = timedelta(days=1)
    remind_after: Length | None = None
    escalate_to: Rules = ()
    """Who may decide as well once `escalate_after` is over."""
    escalate_after: Length | None = None
    may_delegate: bool = False
    reason_required: bool = False
    conversation: Address | None = None

    @model_validator(mode="after")
    def _possible(self) -> Self:
        """Refuse what could never be decided, or never happens."""
        if self.expires_after <= timedelta(0):
            raise ValueError("expires_after must be longer than nothing")
        for name in ("remind_after", "escalate_after"):
            length: timedelta | None = getattr(self, name)
            if length is not None and not timedelta(0) < length < self.expires_after:
                raise ValueError(f"{name} must be shorter than expires_after ({show_duration(self.expires_after)})")
        if bool(self.escalate_to) != (self.escalate_after is not None):
            raise ValueError("escalate_to and escalate_after go together")
        named = [one for one in self.approvers if not one.startswith(("role:", "group:")) and one != "everyone"]
        if len(named) == len(self.approvers) and self.count > len(set(named)):
            raise ValueError(f"{self.count} must approve, but only {len(set(named))} may")
        return self


class Traits(BaseModel):
    """What a command is beyond its arguments. A job that says nothing has the defaults.

    `allowed` is None where the setting `access.default` decides; an administrator may run everything.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    description_zh: str = ""
    aliases: Texts = ()
    examples: Texts = ()
    rest: str | None = None
    """The argument that takes free text to the end of the line."""
    hidden: bool = False
    allowed: Rules | None = None
    effect: Effect = "write"
    approval: Approval | None = None
    max_age: Length | None = None
    """How old its message may be when it is reached; what happens to an older one is `late`."""
    late: Late = "ask"
    time_limit: Length | None = None
    """How long a run may take, waiting for people and events not counted."""
    concurrency_key: str | None = None
    """Runs of an equal key wait for each other: a text with arguments in braces, `refund-{region}`."""
    concurrency: int = Field(default=1, ge=1, le=1000)
    """How many runs of an equal key may run at once."""
    progress: Progress = "card"

    @model_validator(mode="after")
    def _well_said(self) -> Self:
        for alias in self.aliases:
            if not _WORD.fullmatch(alias):
                raise ValueError(f"the alias {alias!r} can't be typed: letters, digits, '.', '-' and '_' only")
        for name in ("max_age", "time_limit"):
            length: timedelta | None = getattr(self, name)
            if length is not None and length <= timedelta(0):
                raise ValueError(f"{name} must be longer than nothing")
        if self.concurrency_key is not None:
            places_of(self.concurrency_key)
        return self


class Declared(Traits):
    """What `@command` said, as it stands in the job's metadata; without `name`, the job's own is the command's."""

    name: str | None = None

    @model_validator(mode="after")
    def _named(self) -> Self:
        if self.name is not None and not _WORD.fullmatch(self.name):
            raise ValueError(f"the name {self.name!r} can't be typed: letters, digits, '.', '-' and '_' only")
        return self


def places_of(template: str) -> list[str]:
    """Return the arguments that a concurrency key names. Raises ValueError where it is more than names in braces."""
    found: list[str] = []
    for _, place, form, conversion in Formatter().parse(template):
        if place is None:
            continue
        if not _PLACE.fullmatch(place) or form or conversion:
            raise ValueError(f"concurrency_key: {{{place}}} is no argument's name in braces")
        found.append(place)
    return found
