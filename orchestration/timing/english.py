"""`every monday 9:00`, `weekdays at 6pm`, `on the 1st of every month at noon`, `every 15 minutes`."""

import re

from orchestration.timing.parts import Found, Rule, Unclear, daily, month_days, span, week, working

_DAYS = {
    name: number
    for number, names in enumerate(
        (
            "monday mon",
            "tuesday tue tues",
            "wednesday wed",
            "thursday thu thur thurs",
            "friday fri",
            "saturday sat",
            "sunday sun",
        ),
        start=1,
    )
    for name in names.split()
}
_MONTHS = {
    name: number
    for number, names in enumerate(
        (
            "january jan",
            "february feb",
            "march mar",
            "april apr",
            "may",
            "june jun",
            "july jul",
            "august aug",
            "september sep sept",
            "october oct",
            "november nov",
            "december dec",
        ),
        start=1,
    )
    for name in names.split()
}
_ORDINALS = {"first": 1, "second": 2, "third": 3, "fourth": 4, "fifth": 5, "tenth": 10, "fifteenth": 15, "last": 0}
_EVERY = r"(?:every|each)"
_DAY = r"(?:mon|tues?|wed|thu(?:rs?)?|fri|sat|sun)(?:day|nesday|urday)?s?"
_AND = r"(?:\s*(?:,|&|\band\b|\bto\b|\bthrough\b|\buntil\b|-|–)\s*(?:and\s+)?)"
_DAY_LIST = rf"{_DAY}\b(?:{_AND}(?:every\s+)?{_DAY}\b)*"
_NTH = r"(?:\d{1,2}(?:st|nd|rd|th)|first|second|third|fourth|fifth|tenth|fifteenth|last\s+day|last)"
_NTH_LIST = rf"(?:the\s+)?{_NTH}(?:\s*(?:,|&|\band\b)\s*(?:the\s+)?{_NTH})*"
_MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|"
    r"nov(?:ember)?|dec(?:ember)?)"
)
_CLOCK = r"(?:noon|midnight|\d{1,2}(?:[:.]\d{2})?(?:\s*[ap]\.?m\b\.?)?(?!\d|st|nd|rd|th))"
_ONE_TIME = re.compile(r"(noon|midnight)|(\d{1,2})(?:[:.](\d{2}))?(?:\s*([ap])\.?m\b\.?)?")


def _interval(match: re.Match[str], found: Found) -> None:
    found.every(int(match["count"] or 1), match["unit"].removesuffix("s"))


def _hourly(match: re.Match[str], found: Found) -> None:
    del match
    found.every(1, "hour")


def _past(match: re.Match[str], found: Found) -> None:
    found.past(int(match["minute"]))


def _week_days(match: re.Match[str], found: Found) -> None:
    days: set[int] = set()
    last = 0
    for joint, word in re.findall(rf"({_AND})?(?:every\s+)?\b({_DAY})", match["days"]):
        number = _day(word)
        ranged = last and re.search(r"to|through|until|-|–", joint)
        days |= span(last, number) if ranged else {number}
        last = number
    found.on(week_days=week(days))


def _day(word: str) -> int:
    """Return the number of a day, in the plural too."""
    number = _DAYS.get(word) or _DAYS.get(word.removesuffix("s"))
    if number is None:
        raise Unclear(f"`{word}` is no day of the week.", f"“{word}”不是星期几。")
    return number


def _month_days(match: re.Match[str], found: Found) -> None:
    numbers = [_nth(word) for word in re.findall(_NTH, match["nth"])]
    if 0 in numbers:
        if len(numbers) > 1:
            raise Unclear("The last day of the month goes alone.", "“最后一天”请单独写。")
        found.on(month_days="L")
        return
    found.on(month_days=month_days(numbers))


def _nth(word: str) -> int:
    word = word.split(maxsplit=1)[0]
    return _ORDINALS[word] if word in _ORDINALS else int(re.sub(r"\D", "", word))


def _yearly(match: re.Match[str], found: Found) -> None:
    number = int(re.sub(r"\D", "", match["first"] or match["second"]))
    found.on(month_days=month_days([number]), month=str(_MONTHS[match["month"] or match["month2"]]))


def _times(match: re.Match[str], found: Found) -> None:
    for one in _ONE_TIME.finditer(match["times"]):
        word, hour, minute, half = one.groups()
        if word:
            found.at(12 if word == "noon" else 0, 0, word)
            continue
        value = int(hour)
        if half and not 1 <= value <= 12:
            raise Unclear(
                f"`{one[0].strip()}` is no time: am and pm go with 1 to 12.", f"“{one[0].strip()}”不是有效时间。"
            )
        if half:
            value = value % 12 + (12 if half == "p" else 0)
        found.at(value, int(minute or 0), one[0].strip())


FILLER = re.compile(r"[\s,;]+|(?:at|on|the|and)\b(?!\s*:)")
RULES: tuple[Rule, ...] = tuple(
    (re.compile(pattern), take)
    for pattern, take in (
        (rf"{_EVERY}\s+(?:(?P<count>\d{{1,3}})\s*)?(?P<unit>minutes?|hours?)\b", _interval),
        (r"hourly\b", _hourly),
        (r"(?:at\s+)?:(?P<minute>\d{2})\b", _past),
        (r"(?:at\s+)?(?P<minute>\d{1,2})\s+(?:minutes?\s+)?past(?:\s+the\s+hour)?\b", _past),
        (rf"(?:{_EVERY}\s+day|everyday|daily)\b", daily),
        (rf"(?:{_EVERY}\s+)?(?:(?P<weekend>weekends?)|weekdays?|workdays?|(?:working|business)\s+days?)\b", working),
        (rf"(?:(?:{_EVERY}|on|weekly(?:\s+on)?)\s+)?(?P<days>{_DAY_LIST})", _week_days),
        (rf"(?P<nth>{_NTH_LIST})\s+(?:day\s+)?(?:of\s+)?(?:{_EVERY}|the|a)\s+month\b", _month_days),
        (rf"(?:{_EVERY}\s+month|monthly)(?:\s+on)?\s+(?P<nth>{_NTH_LIST})\b", _month_days),
        (
            rf"(?:{_EVERY}\s+year|yearly|annually|{_EVERY})(?:\s+on)?\s+(?:the\s+)?(?:(?P<month>{_MONTH})\.?\s+(?:the\s+)?"
            rf"(?P<first>\d{{1,2}}(?:st|nd|rd|th)?)|(?P<second>\d{{1,2}}(?:st|nd|rd|th)?)\s+(?:of\s+)?(?P<month2>{_MONTH}))\b",
            _yearly,
        ),
        (rf"(?:at\s+)?(?P<times>{_CLOCK}(?:\s*(?:,|&|\band\b)\s*(?:at\s+)?{_CLOCK})*)", _times),
    )
)
