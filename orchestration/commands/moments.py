"""Days and instants as people say them: `2026-12-01`, `tomorrow 9am`, `next friday`, `明天上午九点`, `3天后`.

ISO is read by Python, Chinese by `chinese_time.py`, the rest by dateparser, which is imported when first needed.
"""

import re
import unicodedata
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, tzinfo
from typing import Any

from integrations.messages import Attachment, utc_now
from orchestration.commands.chinese_time import NO_DAY, NO_TIME, read_chinese

MAX_TEXT = 60
UNCLEAR = "day and month may be swapped; write 2026-12-01"
_ISO_DAY = re.compile(r"\d{4}-\d{1,2}-\d{1,2}\b.*")
_FIGURES = re.compile(r"[\d\s/.-]+")
_CLEAR = re.compile(r"(1[3-9]|2\d|3[01])[/.](0?[1-9]|1[0-2])[/.]\d{4}|(0?[1-9]|1[0-2])/(1[3-9]|2\d|3[01])/\d{4}")
"""Figures of which only one can be the month."""
_HOUR = re.compile(r"\bat (\d{1,2})$")
_TIME = re.compile(r"\d\s*:|\d\s*[ap]\.?m\b|[a-z]\s+\d{1,2}$")
"""What looks like a time of day: dateparser leaves out one that does not exist (`tomorrow 25:00`, `tomorrow 9`)."""
_MONTH_DAY = re.compile(r"\b(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?\s+\d{1,2}$")
MAX_YEARS = 50
"""So far ahead is nothing meant: `12 march 25` would be the year 2125."""


@dataclass(frozen=True)
class Moment:
    """When, where and by whom something is said: what `tomorrow` and `me` mean depends on it."""

    now: datetime = field(default_factory=utc_now)
    zone: tzinfo = UTC
    account: str = ""
    """`CHANNEL:ACCOUNT` of whoever says it."""
    channel: str = ""
    files: tuple[Attachment, ...] = ()
    """What came with the message."""


def read_day(text: str, moment: Moment) -> date:
    """Return the day that is meant. Raises ValueError for anything else, and where day and month may be swapped."""
    return _read(text, moment).astimezone(moment.zone).date()


def read_instant(text: str, moment: Moment) -> datetime:
    """Return the instant that is meant, in the asker's time zone; a day without a time means its beginning."""
    return _read(text, moment)


def _read(text: str, moment: Moment) -> datetime:
    word = unicodedata.normalize("NFKC", text[: MAX_TEXT + 1]).strip()
    if not word or len(text) > MAX_TEXT:
        raise ValueError("no day")
    local = moment.now.astimezone(moment.zone).replace(tzinfo=None)
    found = _read_iso(word)
    if found is None:
        found = read_chinese(word, local)
    if found is None:
        found = _read_words(word, local)
    return found if found.tzinfo is not None else found.replace(tzinfo=moment.zone)


def _read_iso(word: str) -> datetime | None:
    try:
        if len(word) <= len("2026-12-01"):
            return datetime.combine(date.fromisoformat(word), time())
        return datetime.fromisoformat(word)
    except ValueError:
        return None


def _read_words(word: str, local: datetime) -> datetime:
    if _ISO_DAY.fullmatch(word):
        raise ValueError(NO_DAY)
    if _FIGURES.fullmatch(word) and not _CLEAR.fullmatch(word):
        raise ValueError(UNCLEAR)
    from dateparser.date import DateDataParser

    settings: dict[str, Any] = {
        "PREFER_DATES_FROM": "future",
        "RELATIVE_BASE": local.replace(microsecond=0),
        "RETURN_TIME_AS_PERIOD": True,
        "PARSERS": ["relative-time", "absolute-time"],
    }
    found = DateDataParser(languages=["en"], settings=settings).get_date_data(_HOUR.sub(r"\1:00", word))
    instant = found.date_obj
    if instant is None or found.period in {"month", "year"} or instant.year > local.year + MAX_YEARS:
        raise ValueError("no day")
    # Of a day alone dateparser keeps the time of now.
    unsaid = found.period != "time" and instant.time() == local.replace(microsecond=0).time()
    if unsaid and _TIME.search(word.casefold()) and not _MONTH_DAY.search(word.casefold()):
        raise ValueError(NO_TIME)
    return instant.replace(hour=0, minute=0, second=0) if unsaid else instant
