"""What a job is as a command, beyond its arguments: names, who may run it, what it does, who approves, limits.

Authors say it with `@command` (`orchestration/authoring.py`), which keeps it in the job's metadata as JSON.
"""

import re
from datetime import timedelta
from string import Formatter
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from integrations.approvals.declared import Approval
from integrations.durations import Length
from integrations.settings_access import ONE_OR_MORE, Rules

__all__ = ["Approval", "Declared", "Effect", "Late", "Progress", "Traits", "places_of"]

Effect = Literal["read", "write", "destructive"]
"""What a command does to the world: nothing, something, or something that can't be undone."""
Late = Literal["ignore", "run", "ask"]
Progress = Literal["card", "line", "none"]
_WORD = re.compile(r"[^\W\d_][\w.-]{0,63}|[\w.-]{1,64}")
_PLACE = re.compile(r"[\w.-]{1,64}")


def _texts(value: object) -> object:
    return (value,) if isinstance(value, str) else value


Texts = Annotated[tuple[str, ...], BeforeValidator(_texts), WithJsonSchema(ONE_OR_MORE, mode="validation")]


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
