"""Lengths of time as people write them: `90s`, `1h30m`, `2 days`, `3天`, `PT5M`; a bare number is seconds.

`Length` and `Seconds` are the kinds of fields that take them, in settings, `@command` and workflows alike.
"""

import re
import unicodedata
from datetime import timedelta
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

_UNITS = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds", "秒", "秒钟"), 1),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes", "分", "分钟"), 60),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours", "时", "小时", "个小时", "钟头"), 3600),
    **dict.fromkeys(("d", "day", "days", "天", "日"), 86_400),
    **dict.fromkeys(("w", "week", "weeks", "周", "星期", "个星期"), 604_800),
}
_PART = re.compile(r"(?P<number>\d{1,9}(?:\.\d{1,6})?|半)\s*(?P<unit>[a-z]+|[^\W\da-z半]+)?[\s,]*")
_ISO = re.compile(r"p(?:\d{1,5}w)?(?:\d{1,6}d)?(?:t(?:\d{1,6}h)?(?:\d{1,6}m)?(?:\d{1,9}(?:\.\d{1,6})?s)?)?")
_DIGITS = {character: value for value, character in enumerate("零一二三四五六七八九")} | {"两": 2, "〇": 0}
_NUMERAL = re.compile(r"[零〇一二两三四五六七八九十百]{1,12}")
LONGEST = timedelta(days=3650)
_SHAPE = {"type": ["string", "number"], "examples": ["90s", "1h30m", "3 days"]}


def parse_duration(text: str) -> timedelta:
    """Return the length of time. Raises ValueError for anything else, and beyond ten years."""
    word = unicodedata.normalize("NFKC", text[:100]).strip().lower()
    word = in_digits(word)
    seconds = _of_iso(word) if word.startswith("p") else _of_words(word)
    if seconds > LONGEST.total_seconds():
        raise ValueError("longer than ten years")
    return timedelta(seconds=seconds)


def in_digits(text: str) -> str:
    """Write Chinese numerals below a thousand in digits: 三十 is 30, 二〇二六 is 2026."""
    return _NUMERAL.sub(lambda match: str(_number(match[0])), text)


def show_duration(length: timedelta) -> str:
    """Return it as it can be typed: `1d2h30m`; `0s` for nothing."""
    left = round(length.total_seconds(), 3)
    parts: list[str] = []
    for unit, seconds in (("d", 86_400), ("h", 3600), ("m", 60)):
        count, left = divmod(left, seconds)
        if count:
            parts.append(f"{int(count)}{unit}")
    if left or not parts:
        parts.append(f"{left:g}s")
    return "".join(parts)


def _length(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return parse_duration(value)
    except ValueError as error:
        raise ValueError(f"{value[:100]!r}: {error}; a length of time is written 90s, 2h or 3 days") from error


def _seconds(value: object) -> object:
    if isinstance(value, str) and value.strip().replace(".", "", 1).isdecimal():
        return float(value)  # as the environment has numbers, to any digit
    length = _length(value)
    return length.total_seconds() if isinstance(length, timedelta) else length


Length = Annotated[
    timedelta,
    BeforeValidator(_length),
    PlainSerializer(show_duration, return_type=str),
    WithJsonSchema(_SHAPE, mode="validation"),
]
"""A length of time; may be written `24h`, `3 days`."""
Seconds = Annotated[float, BeforeValidator(_seconds), WithJsonSchema(_SHAPE, mode="validation")]
"""A number of seconds; may be written as a length of time, too."""


def _number(numeral: str) -> int:
    if "十" not in numeral and "百" not in numeral:
        return int("".join(str(_DIGITS[character]) for character in numeral))
    total = digit = 0
    for character in numeral:
        if character in "十百":
            total += (digit or 1) * (10 if character == "十" else 100)
            digit = 0
        else:
            digit = _DIGITS[character]
    return total + digit


def _of_words(word: str) -> float:
    seconds, at = 0.0, 0
    while at < len(word):
        match = _PART.match(word, at)
        if match is None:
            raise ValueError("no length of time")
        unit = match["unit"]
        if unit is None and (at or match.end() < len(word)):
            raise ValueError("a number without its unit")
        if unit is not None and unit not in _UNITS:
            raise ValueError("an unknown unit")
        number = 0.5 if match["number"] == "半" else float(match["number"])
        seconds += number * (_UNITS[unit] if unit else 1)
        at = match.end()
    if not word:
        raise ValueError("nothing")
    return seconds


def _of_iso(word: str) -> float:
    if not _ISO.fullmatch(word) or word in {"p", "pt"} or word.endswith("t"):
        raise ValueError("no length of time")
    date, _, time = word[1:].partition("t")
    parts = [*re.findall(r"([\d.]+)([wd])", date), *re.findall(r"([\d.]+)([hms])", time)]
    return sum(float(number) * _UNITS[unit] for number, unit in parts)
