"""Texts of a known form, by the `format` of their JSON Schema: days, instants, lengths of time, amounts, people, files.

Each is read as people write it and kept in one canonical form, which reads as itself again.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping
from datetime import timedelta
from decimal import Decimal, InvalidOperation

from integrations.durations import parse_duration
from orchestration.commands.moments import Moment, read_day, read_instant

SPACED = frozenset({"date", "date-time", "duration"})
"""Forms that may be written in several words."""
_AMOUNT = re.compile(r"[+-]?(\d{1,30}(\.\d{1,15})?|\.\d{1,15})")
_ME = frozenset({"me", "myself", "我", "自己", "本人"})
_MENTION = re.compile(r"<?@(?P<account>[\w.-]{1,128})(?:\|[^>]{0,128})?>?")
_ACCOUNT = re.compile(r"[\w-]{1,32}:[^\s:]\S{0,200}")
_SHA = re.compile(r"[0-9a-f]{64}")

Limits = Mapping[str, object]


def read_format(text: str, schema: Mapping[str, object], moment: Moment) -> str:
    """Return the canonical form. Raises ValueError where the text is no such thing."""
    return _READERS[str(schema["format"])](text.strip(), schema, moment)


def is_known(schema: Mapping[str, object]) -> bool:
    """Whether the schema is of a form that is read here."""
    return schema.get("format") in _READERS


def _day(text: str, _limits: Limits, moment: Moment) -> str:
    return read_day(text, moment).isoformat()


def _instant(text: str, _limits: Limits, moment: Moment) -> str:
    return read_instant(text, moment).isoformat(timespec="seconds")


def _duration(text: str, _limits: Limits, _moment: Moment) -> str:
    return iso_of(parse_duration(text))


def iso_of(length: timedelta) -> str:
    """Return a length of time in ISO 8601: PT1H30M."""
    seconds = length.total_seconds()
    hours, left = divmod(seconds, 3600)
    minutes, left = divmod(left, 60)
    parts = [(f"{hours:g}", "H"), (f"{minutes:g}", "M"), (f"{left:g}", "S")]
    return "PT" + ("".join(number + unit for number, unit in parts if number != "0") or "0S")


def _amount(text: str, limits: Limits, _moment: Moment) -> str:
    word = unicodedata.normalize("NFKC", text)
    if not _AMOUNT.fullmatch(word):
        raise ValueError("no amount")
    try:
        value = Decimal(word)
    except InvalidOperation as error:
        raise ValueError("no amount") from error
    low, high = limits.get("minimum"), limits.get("maximum")
    if (low is not None and value < Decimal(str(low))) or (high is not None and value > Decimal(str(high))):
        raise ValueError("out of bounds")
    return format(value, "f")


def _person(text: str, _limits: Limits, moment: Moment) -> str:
    if text.casefold() in _ME and moment.account:
        return moment.account
    if (mention := _MENTION.fullmatch(text)) and moment.channel:
        return f"{moment.channel}:{mention['account']}"
    if not _ACCOUNT.fullmatch(text):
        raise ValueError("nobody")
    return text


def _file(text: str, _limits: Limits, moment: Moment) -> str:
    if _SHA.fullmatch(text):
        return text
    found = [file.id for file in moment.files if file.name.casefold() == text.casefold()]
    if not found:
        raise ValueError("no such file came with the message")
    return found[0]


_READERS: dict[str, Callable[[str, Limits, Moment], str]] = {
    "date": _day,
    "date-time": _instant,
    "duration": _duration,
    "decimal": _amount,
    "principal": _person,
    "file": _file,
}
