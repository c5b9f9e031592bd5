"""每周一上午九点、工作日 18:30、每月1号和15号晚上8点、每15分钟。"""

import re

from orchestration.timing.parts import Found, Rule, Unclear, daily, month_days, span, week, working

_DIGITS = {"零": 0, "〇": 0, "一": 1, "二": 2, "两": 2, "三": 3, "四": 4, "五": 5, "六": 6, "七": 7, "八": 8, "九": 9}
_WEEK = {**{str(n): n for n in range(1, 8)}, **dict(zip("一二三四五六日", range(1, 8), strict=True)), "天": 7}
_NUMBER = r"(?:\d{1,3}|[零〇一二两三四五六七八九十]{1,3})"
_EVERY = r"每(?:一)?(?:个)?"
_NAME = r"(?:周|星期|礼拜)"
_JOINT = r"[、,和及与]"
_RANGE = r"[到至\-~—]"
# What stands before the hour's sign is the hour, not a day.
_SIGN = r"[一二三四五六日天](?!\s*[点时:]|十)"
_FIGURE = r"[1-7](?!\d|\s*[点时:])"
_WEEK_LIST = rf"(?:[一二三四五六日天]|{_FIGURE})(?:(?:{_JOINT}|{_RANGE}){_NAME}?(?:{_SIGN}|{_FIGURE})|{_NAME}?{_SIGN})*"
_PART = r"(?:凌晨|清晨|清早|早上|早晨|上午|中午|正午|下午|午后|傍晚|晚上|夜里|夜晚)"
_CLOCK = (
    rf"(?:{_PART}?\s*(?:{_NUMBER}\s*[点时](?:钟|整|半|一刻|三刻|{_NUMBER}分?)?|\d{{1,2}}:\d{{2}})|中午|正午|午夜|半夜)"
)
_ONE = re.compile(
    rf"(?P<part>{_PART})?\s*(?:(?P<hour>{_NUMBER})\s*[点时](?P<minute>钟|整|半|一刻|三刻|{_NUMBER}分?)?"
    r"|(?P<h>\d{1,2}):(?P<m>\d{2}))|(?P<word>中午|正午|午夜|半夜)"
)
_MINUTES = {"半": 30, "一刻": 15, "三刻": 45, "整": 0, "钟": 0}


def number(text: str) -> int:
    """Read digits or Chinese numerals up to 99. Raises `Unclear`."""
    if text.isascii():
        return int(text)
    tens, ten, ones = text.rpartition("十")
    known = all(part in _DIGITS for part in (*tens, *ones))
    if not known or len(tens) > 1 or (len(ones) > 1 and not (ones[0] in "零〇" and len(ones) == 2)):
        raise Unclear(f"`{text}` is no number.", f"“{text}”不是有效的数字。")
    low = _DIGITS[ones[-1]] if ones else 0
    return (_DIGITS[tens] if tens else 1) * 10 + low if ten else low


def _interval(match: re.Match[str], found: Found) -> None:
    found.every(number(match["count"] or "1"), "minute" if match["unit"].startswith("分") else "hour")


def _past(match: re.Match[str], found: Found) -> None:
    found.past(number(match["minute"]))


def _week_days(match: re.Match[str], found: Found) -> None:
    days: set[int] = set()
    last, ranged = 0, False
    for sign in match["days"]:
        if sign in _WEEK:
            days |= span(last, _WEEK[sign]) if ranged and last else {_WEEK[sign]}
            last, ranged = _WEEK[sign], False
        elif re.fullmatch(_RANGE, sign):
            ranged = True
    found.on(week_days=week(days))


def _month_days(match: re.Match[str], found: Found) -> None:
    if match["last"]:
        found.on(month_days="L")
        return
    found.on(month_days=month_days([number(word) for word in re.findall(_NUMBER, match["days"])]))


def _yearly(match: re.Match[str], found: Found) -> None:
    month = number(match["month"])
    if not 1 <= month <= 12:
        raise Unclear(f"There is no month {month}.", f"没有 {month} 月。")
    found.on(month_days=month_days([number(match["day"])]), month=str(month))


def _times(match: re.Match[str], found: Found) -> None:
    for one in _ONE.finditer(match["times"]):
        shown = one[0].strip()
        if word := one["word"]:
            found.at(0 if word in ("午夜", "半夜") else 12, 0, shown)
            continue
        hour = number(one["hour"] or one["h"])
        minute = int(one["m"]) if one["m"] else _minute(one["minute"] or "整")
        found.at(_hour(hour, one["part"] or "", shown), minute, shown)


def _minute(said: str) -> int:
    return _MINUTES[said] if said in _MINUTES else number(said.removesuffix("分"))


def _hour(hour: int, part: str, shown: str) -> int:
    """Return the hour of the day that an hour of a part of the day is."""
    if part in ("晚上", "夜里", "夜晚") and hour in (0, 12):
        raise Unclear(
            "Midnight belongs to two days: write 0:00 or 23:59.", f"“{shown}”属于哪一天不明确，请写 0:00 或 23:59。"
        )
    if part == "凌晨" and hour == 12:
        return 0
    if part in ("中午", "正午"):
        return hour + 12 if hour < 4 else hour
    return hour + 12 if part in ("下午", "午后", "傍晚", "晚上", "夜里", "夜晚") and hour < 12 else hour


FILLER = re.compile(r"[\s,、的在]+")
RULES: tuple[Rule, ...] = tuple(
    (re.compile(pattern), take)
    for pattern, take in (
        (rf"每(?:隔|一)?\s*(?P<count>{_NUMBER})?\s*(?:个)?\s*(?P<unit>分钟?|小时|钟头)(?!点)", _interval),
        (rf"第?\s*(?P<minute>{_NUMBER})\s*分(?:钟)?", _past),
        (r"(?:每天|每日|天天|每一天)", daily),
        (rf"(?:{_EVERY})?(?:(?P<weekend>周末)|工作日|平日)", working),
        (rf"(?:{_EVERY})?(?:{_NAME})(?P<days>{_WEEK_LIST})", _week_days),
        (
            rf"{_EVERY}月(?:的)?\s*(?:(?P<last>最后一天|底|末)|(?P<days>{_NUMBER}\s*[号日]?"
            rf"(?:\s*{_JOINT}\s*{_NUMBER}\s*[号日]?)*)(?<=[号日]))",
            _month_days,
        ),
        (rf"每年\s*(?P<month>{_NUMBER})月\s*(?P<day>{_NUMBER})[号日]", _yearly),
        (rf"(?P<times>{_CLOCK}(?:\s*{_JOINT}\s*{_CLOCK})*)", _times),
    )
)
