"""What the grammars of both languages gather: which days, at which times; and how that becomes cron."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

MINUTES_IN_HOUR, HOURS_IN_DAY = 60, 24
LONGEST = 200
"""Characters that are read at all."""


class Unclear(Exception):
    """What was said can't be a time; `english` and `chinese` say what was understood and what would be."""

    def __init__(self, english: str, chinese: str) -> None:
        super().__init__(english)
        self.english = english
        self.chinese = chinese


@dataclass
class Found:
    """What has been understood so far; each kind of thing may be said once."""

    days: tuple[str, str, str] | None = None
    """Day of month, month, day of week, as in cron."""
    times: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    interval: tuple[str, str] | None = None
    """Minute and hour, as in cron, of what recurs within the day."""
    zone: str | None = None

    def on(self, *, month_days: str = "*", month: str = "*", week_days: str = "*") -> None:
        """Note the days. Raises `Unclear` where others were named before."""
        if self.days is not None or self.interval is not None:
            raise Unclear("Days are named twice; make two schedules of it.", "日期说了两次，请分成两个定时任务。")
        self.days = (month_days, month, week_days)

    def every(self, count: int, unit: str) -> None:
        """Note an interval of minutes or hours. Raises `Unclear` where the clock can't keep it evenly."""
        if self.interval is not None or self.days is not None:
            raise Unclear("An interval stands alone: `every 2 hours`.", "间隔请单独写，例如“每2小时”。")
        whole = MINUTES_IN_HOUR if unit == "minute" else HOURS_IN_DAY
        if not 0 < count < whole or whole % count:
            fitting = ", ".join(str(n) for n in range(1, whole) if whole % n == 0)
            raise Unclear(
                f"Every {count} {unit}s can't be kept evenly by the clock; every {fitting} {unit}s can.",
                f"每 {count} {'分钟' if unit == 'minute' else '小时'} 无法均匀重复；可用：{fitting}。",
            )
        step = "*" if count == 1 else f"*/{count}"
        self.interval = (step, "*") if unit == "minute" else ("0", step)

    def past(self, minute: int) -> None:
        """Note the minute of an interval of hours. Raises `Unclear`."""
        if self.interval is None or self.interval[0] != "0" or minute >= MINUTES_IN_HOUR:
            raise Unclear("A minute past the hour goes with `every hour`.", "“第几分”只能与“每小时”一起使用。")
        self.interval = (str(minute), self.interval[1])

    def at(self, hour: int, minute: int, shown: str) -> None:
        """Note a time of day. Raises `Unclear` where the clock has none such."""
        if hour >= HOURS_IN_DAY or minute >= MINUTES_IN_HOUR:
            raise Unclear(f"{shown!r} is no time of day.", f"“{shown}”不是有效的时间。")
        self.times.append((hour, minute))

    def cron(self) -> str:
        """Return the cron expression. Raises `Unclear` where something is missing or does not go together."""
        if self.interval is not None:
            if self.times:
                raise Unclear(
                    "An interval has no time of day: `every 2 hours`, or `every day 9:00`.",
                    "间隔不能带时刻：写“每2小时”，或“每天 9:00”。",
                )
            return " ".join([*self.interval, "*", "*", "*"])
        if self.days is None:
            raise Unclear(
                "Which days? For instance `every day 9:00`, `every monday 9:00`.",
                "哪几天？例如“每天 9:00”“每周一 9:00”。",
            )
        if not self.times:
            raise Unclear("At what time? Add one such as 9:00.", "几点？请加上时间，例如 9:00。")
        minutes = {minute for _, minute in self.times}
        if len(minutes) > 1:
            raise Unclear(
                "Several times of one schedule must have the same minute; make two schedules of it.",
                "一个定时任务的多个时间必须是相同的分钟，请分成两个。",
            )
        hours = ",".join(str(hour) for hour in sorted({hour for hour, _ in self.times}))
        return " ".join([str(minutes.pop()), hours, *self.days])


Rule = tuple[re.Pattern[str], Callable[["re.Match[str]", Found], None]]


def gather(text: str, rules: Sequence[Rule], filler: re.Pattern[str]) -> Found:
    """Read `text` from left to right by the first rule that fits. Raises `Unclear`, naming what is not understood."""
    found, at = Found(), 0
    while at < len(text):
        if (skipped := filler.match(text, at)) and skipped.end() > at:
            at = skipped.end()
            continue
        for pattern, take in rules:
            match = pattern.match(text, at)
            if match and match.end() > at:
                take(match, found)
                at = match.end()
                break
        else:
            raise _lost(text, at)
    return found


def _lost(text: str, at: int) -> Unclear:
    before, rest = text[:at].strip(), text[at : at + 40].strip()
    understood = f"I understood `{before}`, but not `{rest}`." if before else f"I don't understand `{rest}`."
    chinese = f"已理解“{before}”，但不明白“{rest}”。" if before else f"不明白“{rest}”。"
    return Unclear(
        f"{understood} Write for instance `every monday 9:00`, `weekdays at 18:30`, `on the 1st of every month 8:00`, "
        "`every 15 minutes`, or cron such as `0 9 * * 1`.",
        f"{chinese}例如：“每周一上午九点”“工作日 18:30”“每月1号 8:00”“每15分钟”，或 cron：`0 9 * * 1`。",
    )


def daily(match: re.Match[str], found: Found) -> None:
    """Take every day."""
    del match
    found.on()


def working(match: re.Match[str], found: Found) -> None:
    """Take the working days, or the weekend where the rule's group of that name fits."""
    found.on(week_days="0,6" if match["weekend"] else "1-5")


def week(days: set[int]) -> str:
    """Return days of the week, 0 and 7 being Sunday, as in cron."""
    plain = sorted({day % 7 for day in days})
    if plain == [1, 2, 3, 4, 5]:
        return "1-5"
    return "*" if len(plain) == 7 else ",".join(map(str, plain))


def span(first: int, last: int) -> set[int]:
    """Return the days of the week from one to another, over Sunday where need be; 1 is Monday, 7 Sunday."""
    return {(first - 1 + step) % 7 + 1 for step in range((last - first) % 7 + 1)}


def month_days(numbers: Sequence[int]) -> str:
    """Return days of the month as in cron. Raises `Unclear` for what no month has."""
    for number in numbers:
        if not 1 <= number <= 31:
            raise Unclear(f"No month has a day {number}.", f"没有 {number} 号。")
    return ",".join(map(str, sorted(set(numbers))))
