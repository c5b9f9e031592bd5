"""Kinds of arguments beyond str, int, float, bool, enum, Literal and list, for the config class of a command.

    class Refund(dg.Config):
        amount: Amount
        on: Day = Field(description="Value date")
        region: Annotated[str, Choices(regions)]

To Dagster each is a text in one canonical form: a day is `2026-12-01`, an instant `2026-12-01T09:00:00+08:00`, a
length of time `PT1H30M`, an amount `12.50` (`decimal.Decimal(config.amount)`), a person `slack:U024BE7LH`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Annotated, Any

from pydantic import Field, GetJsonSchemaHandler, SecretStr, WithJsonSchema
from pydantic_core import CoreSchema

from integrations.database import Database
from integrations.durations import parse_duration
from integrations.settings import Settings
from orchestration.sealing import open_sealed

__all__ = ["Amount", "Choices", "Day", "Duration", "File", "Instant", "Person", "Secret", "length_of", "open_secret"]

Day = Annotated[str, WithJsonSchema({"type": "string", "format": "date"})]
"""A day: `2026-12-01`, `tomorrow`, `next friday`, `下周五`."""
Instant = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]
"""A day and time, in the asker's time zone: `tomorrow 9am`, `明天上午九点`, `in 2 hours`."""
Duration = Annotated[str, WithJsonSchema({"type": "string", "format": "duration"})]
"""A length of time: `90s`, `1h30m`, `3天`; `length_of` makes a timedelta of it."""
Amount = Annotated[str, WithJsonSchema({"type": "string", "format": "decimal"})]
"""An exact decimal number."""
Person = Annotated[str, WithJsonSchema({"type": "string", "format": "principal"})]
"""An account: `me`, a mention, `CHANNEL:ACCOUNT`."""
File = Annotated[str, WithJsonSchema({"type": "string", "format": "file"})]
"""A file that came with the message; `database.files.path(...)` of the resource `database` is where it lies."""

Secret = Annotated[str, Field(json_schema_extra={"format": "password", "dagster__is_secret": True})]
"""A text that is shown nowhere: what reaches the op stands for it, and `open_secret` gives it."""

MOST_CHOICES = 1000


@dataclass(frozen=True)
class Choices:
    """Restricts a text to what a function returns, which is asked when a worker loads the code and every five minutes.

    While it fails, the last ones stay, and `/status` tells administrators so (setting `workers.choices_s`).

    `region: Annotated[str, Choices(regions)]`
    """

    of: Callable[[], Iterable[str]]

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Ask the function. Raises ValueError where it returns nothing, or more than a thousand."""
        found = [str(choice) for choice in self.of()]
        if not 0 < len(found) <= MOST_CHOICES:
            raise ValueError(f"Choices: the function returned {len(found)} values; it must be 1 to {MOST_CHOICES}")
        return {**handler(core), "enum": found}


def open_secret(value: str) -> SecretStr:
    """Return what an argument of the kind `Secret` stands for; call it in the op, and log nothing of it.

    Raises `NotFound` where it is kept no longer (`retention.detail_days`), `Misconfigured`.
    """
    return open_sealed(*_installation(), value)


@cache
def _installation() -> tuple[Database, Settings]:
    from orchestration.warm.assembly import open_database

    settings = Settings()
    return open_database(settings, "runbell-secrets"), settings


def length_of(duration: str) -> timedelta:
    """Return the length of time that an argument of the kind `Duration` holds. Raises ValueError."""
    return parse_duration(duration)
