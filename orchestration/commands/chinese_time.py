"""Days and instants in Chinese: 明天上午九点, 下周五, 3天后, 十二月一日晚上8点半. Dateparser knows few of them."""

import re
from datetime import datetime, timedelta

from integrations.durations import in_digits

NO_DAY, NO_TIME = "there is no such day", "there is no such time of day"
_WEEKDAY = re.compile(r"(?:周|星期|礼拜)([一二三四五六日天])")
_DAYS = {
    "大前天": -3,
    "前天": -2,
    "昨天": -1,
    "昨日": -1,
    "今天": 0,
    "今日": 0,
    "明天": 1,
    "明日": 1,
    "后天": 2,
    "大后天": 3,
}
_PARTS = {
    "早上": 8,
    "早晨": 8,
    "清晨": 6,
    "上午": 9,
    "中午": 12,
    "正午": 12,
    "下午": 15,
    "午后": 15,
    "傍晚": 18,
    "晚上": 20,
}
_SHORT = {
    "今早": "今天早上",
    "今晚": "今天晚上",
    "明早": "明天早上",
    "明晚": "明天晚上",
    "昨晚": "昨天晚上",
    "夜里": "晚上",
}
_UNITS = {
    "分钟": "minutes",
    "分": "minutes",
    "小时": "hours",
    "个小时": "hours",
    "天": "days",
    "周": "weeks",
    "个星期": "weeks",
}
_MOMENT = re.compile(
    r"(?:(?P<word>" + "|".join(sorted(_DAYS, key=len, reverse=True)) + r")"
    r"|(?P<week>下下|下|这|本|上)?个?周(?P<weekday>[1-7])"
    r"|(?:(?P<year>\d{4})年)?(?:(?P<month>\d{1,2})月|(?P<near>下个?月|本月|这个月))(?P<day>\d{1,2})[日号]?"
    r"|(?P<only>\d{1,2})[日号])?"
    r"\s*(?P<part>凌晨|" + "|".join(_PARTS) + r")?"
    r"\s*(?:(?P<hour>\d{1,2})(?:点钟?|时|:)(?:(?P<minute>\d{1,2})分?|(?P<half>半|1刻|3刻|整))?)?"
)
_RELATIVE = re.compile(
    r"(?P<count>\d{1,5}|半)(?P<unit>" + "|".join(sorted(_UNITS, key=len, reverse=True)) + r")(?:以|之)?(?P<way>后|前)"
)
_QUARTERS = {"半": 30, "1刻": 15, "3刻": 45, "整": 0, None: 0}


def read_chinese(text: str, now: datetime) -> datetime | None:
    """Return the instant that is meant, on the clock of `now`; None where it is no Chinese. Raises ValueError."""
    if not any("一" <= character <= "鿿" for character in text):
        return None
    word = "".join(text.split())
    for short, long in _SHORT.items():
        word = word.replace(short, long)
    # Before numerals become digits: 周五十点 is Friday, ten o'clock.
    word = in_digits(_WEEKDAY.sub(lambda match: f"周{'一二三四五六日天'.index(match[1]) + 1} ", word)).replace(
        "周8", "周7"
    )
    if word in {"现在", "马上"}:
        return now
    if match := _RELATIVE.fullmatch(word):
        count = 0.5 if match["count"] == "半" else float(match["count"])
        return now + timedelta(**{_UNITS[match["unit"]]: count if match["way"] == "后" else -count})
    match = _MOMENT.fullmatch(word)
    if match is None or not any(match.groups()):
        raise ValueError("no day")
    return _instant(match, now)


def _instant(match: re.Match[str], now: datetime) -> datetime:
    day = _day(match, now)
    hour, minute = _clock(match)
    instant = (day or now).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(hours=hour, minutes=minute)
    if instant <= now and day is None:
        return instant + timedelta(days=1)
    if instant <= now and match["weekday"] and not match["week"] and instant.date() == now.date():
        return instant + timedelta(days=7) if match["hour"] else instant
    return instant


def _clock(match: re.Match[str]) -> tuple[int, int]:
    part, hour = match["part"], match["hour"]
    if hour is None:
        if part == "凌晨":
            raise ValueError("which hour?")
        return _PARTS.get(part or "", 0), 0
    value, minute = int(hour), int(match["minute"] or _QUARTERS[match["half"]])
    if value > 24 or minute > 59 or (part and value > 12 and part in {"早上", "早晨", "上午", "凌晨"}):
        raise ValueError(NO_TIME)
    if part in {"下午", "午后", "傍晚", "晚上"} and value <= 12:
        value = value + 12 if value < 12 else (24 if part == "晚上" else 12)
    elif part in {"中午", "正午"} and value < 10:
        value += 12
    elif part == "凌晨" and value == 12:
        value = 0
    return value, minute


def _day(match: re.Match[str], now: datetime) -> datetime | None:
    if match["word"]:
        return now + timedelta(days=_DAYS[match["word"]])
    if match["weekday"]:
        return _weekday(match, now)
    if match["only"] or match["day"]:
        return _date(match, now)
    return None


def _weekday(match: re.Match[str], now: datetime) -> datetime:
    wanted, monday = int(match["weekday"]) - 1, now - timedelta(days=now.weekday())
    weeks = {"下下": 2, "下": 1, "上": -1, "这": 0, "本": 0}.get(match["week"] or "")
    if weeks is not None:
        return monday + timedelta(days=wanted, weeks=weeks)
    return now + timedelta(days=(wanted - now.weekday()) % 7)


def _date(match: re.Match[str], now: datetime) -> datetime:
    try:
        return _dated(match, now, int(match["only"] or match["day"]))
    except ValueError as error:
        raise ValueError(NO_DAY) from error


def _dated(match: re.Match[str], now: datetime, day: int) -> datetime:
    if match["month"]:
        found = now.replace(year=int(match["year"] or now.year), month=int(match["month"]), day=day)
        return found if match["year"] or found.date() >= now.date() else found.replace(year=found.year + 1)
    months = 1 if (match["near"] or "").startswith("下") else 0
    if match["only"] and day < now.day:
        months = 1
    year, month = divmod(now.year * 12 + now.month - 1 + months, 12)
    return now.replace(year=year, month=month + 1, day=day)
