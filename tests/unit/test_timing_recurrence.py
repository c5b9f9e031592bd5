"""Words in English and Chinese → cron: a table, and properties over many ways to say the same."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration.timing import Unclear, following, read

TABLE = {
    "every monday 9:00": "0 9 * * 1",
    "Every Mon, Wed and Fri at 9am": "0 9 * * 1,3,5",
    "mondays at 9": "0 9 * * 1",
    "monday to friday 18:30": "30 18 * * 1-5",
    "fri to mon 8": "0 8 * * 0,1,5,6",
    "9am every day": "0 9 * * *",
    "weekdays at 6pm": "0 18 * * 1-5",
    "every weekend at noon": "0 12 * * 0,6",
    "daily at midnight": "0 0 * * *",
    "every day at 12am": "0 0 * * *",
    "every day 9:00 and 17:00": "0 9,17 * * *",
    "every minute": "* * * * *",
    "every 15 minutes": "*/15 * * * *",
    "hourly": "0 * * * *",
    "every 2 hours": "0 */2 * * *",
    "every hour at :15": "15 * * * *",
    "on the 1st of every month at 9:00": "0 9 1 * *",
    "every month on the 1st and 15th 8.30": "30 8 1,15 * *",
    "the last day of every month 17:00": "0 17 L * *",
    "every year on january 1st at 9": "0 9 1 1 *",
    "every 4 july 10:00": "0 10 4 7 *",
    "0 9 * * 1": "0 9 * * 1",
    "*/5 8-18 * * mon-fri": "*/5 8-18 * * mon-fri",
    "每周一上午九点": "0 9 * * 1",
    "每周一三五早上8点": "0 8 * * 1,3,5",
    "每周一、三、五 8:00": "0 8 * * 1,3,5",
    "每周一到周五 18:30": "30 18 * * 1-5",
    "每周一10点": "0 10 * * 1",
    "每周五六点半": "30 6 * * 5",
    "每周一二十点": "0 20 * * 1",
    "星期天中午12点": "0 12 * * 0",
    "每礼拜五下午三点二十分": "20 15 * * 5",
    "每天 9:30": "30 9 * * *",
    "每天9点一刻": "15 9 * * *",
    "每天凌晨两点": "0 2 * * *",
    "每天九点和十七点": "0 9,17 * * *",
    "工作日下午六点半": "30 18 * * 1-5",
    "周末10点": "0 10 * * 0,6",
    "每15分钟": "*/15 * * * *",
    "每隔两小时": "0 */2 * * *",
    "每小时第15分": "15 * * * *",
    "每月1号 8:00": "0 8 1 * *",
    "每月一号和十五号晚上8点": "0 20 1,15 * *",
    "每月最后一天下午5点": "0 17 L * *",
    "每年1月1日 10:00": "0 10 1 1 *",
}
UNCLEAR = {
    "": "When?",
    "every monday": "At what time?",
    "9:00": "Which days?",
    "每天": "At what time?",
    "every mensday 9:00": "I don't understand `every mensday 9:00`",
    "every monday nein": "I understood `every monday`, but not `nein`",
    "tomorrow 9am": "I don't understand `tomorrow",
    "every other monday 9:00": "I don't understand",
    "every monday 25:00": "is no time of day",
    "every day 13pm": "am and pm go with 1 to 12",
    "every 7 minutes": "every 1, 2, 3, 4, 5, 6",
    "every 2 hours 9:00": "An interval has no time of day",
    "every day at 9:15 and 17:30": "make two schedules",
    "every monday on the 1st of every month 9:00": "Days are named twice",
    "on the 32nd of every month 9:00": "No month has a day 32",
    "0 9 31 2 *": "never comes",
    "every year on february 30th 9:00": "That day never comes",
    "every 0 minutes": "can't be kept evenly",
    "61 9 * * *": "never comes, or is no cron",
    "每天晚上12点": "Midnight belongs to two days",
    "每年13月1日 9:00": "There is no month 13",
    "x" * 201: "at most 200 characters",
}
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
NUMERALS = "零一二三四五六七八九十"


@pytest.mark.parametrize(("said", "cron"), TABLE.items())
def test_what_is_said_becomes_cron(said: str, cron: str) -> None:
    assert read(said).cron == cron


@pytest.mark.parametrize(("said", "reason"), UNCLEAR.items())
def test_what_is_not_wholly_understood_is_refused_and_says_what_was(said: str, reason: str) -> None:
    with pytest.raises(Unclear) as told:
        read(said)

    assert reason in told.value.english
    assert told.value.chinese


@given(
    st.sets(st.integers(0, 6), min_size=1, max_size=4),
    st.integers(0, 23),
    st.integers(0, 59),
    st.sampled_from(["every {} at {}", "on {} {}", "each {}, {}", "{1} every {0}"]),
    st.booleans(),
)
def test_any_days_at_any_time_in_english(days: set[int], hour: int, minute: int, form: str, half: bool) -> None:
    names = [DAYS[day] for day in sorted(days)]
    listed = names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]
    clock = f"{hour % 12 or 12}:{minute:02} {'am' if hour < 12 else 'pm'}" if half else f"{hour}:{minute:02}"

    _, hours, _, _, week = read(form.format(listed, clock)).cron.split()

    assert hours == str(hour)
    assert _expanded(week) == {(day + 1) % 7 for day in days}


@given(
    st.sets(st.integers(0, 6), min_size=1, max_size=4),
    st.integers(0, 23),
    st.integers(0, 59),
    st.sampled_from(["周", "星期", "礼拜"]),
    st.sampled_from(["", "、", "和"]),
    st.booleans(),
)
def test_any_days_at_any_time_in_chinese(
    days: set[int], hour: int, minute: int, name: str, joint: str, digits: bool
) -> None:
    listed = joint.join("一二三四五六日"[day] for day in sorted(days))
    clock = f" {hour}:{minute:02}" if digits else f" {_numeral(hour)}点{_numeral(minute)}分"

    minutes, hours, _, _, week = read(f"每{name}{listed}{clock}").cron.split()

    assert (hours, minutes) == (str(hour), str(minute))
    assert _expanded(week) == {(day + 1) % 7 for day in days}


@given(st.integers(1, 31), st.integers(0, 23), st.sampled_from(["每月{}号{}点", "每个月{}日 {}:00"]))
def test_any_day_of_the_month_in_chinese(day: int, hour: int, form: str) -> None:
    assert read(form.format(day, hour)).cron == f"0 {hour} {day} * *"
    assert read(f"每月{_numeral(day)}号{_numeral(hour)}点").cron == f"0 {hour} {day} * *"


@given(st.text(max_size=60) | st.lists(st.sampled_from([*TABLE, "每", "点", ":", " and "]), max_size=4).map("".join))
def test_nothing_that_is_said_is_more_than_refused(said: str) -> None:
    try:
        found = read(said)
    except Unclear:
        return
    assert len(following(found.cron, "UTC", datetime(2026, 11, 25, tzinfo=UTC), 1)) == 1


def test_a_time_zone_may_follow_and_its_clocks_count_also_when_they_change() -> None:
    found = read("every sunday 2:30 europe/berlin")

    times = following(found.cron, found.zone or "", datetime(2026, 3, 22, 12, tzinfo=UTC), 2)
    autumn = following("30 2 * * *", "Europe/Berlin", datetime(2026, 10, 24, 12, tzinfo=UTC), 2)

    # There is no 2:30 on the day on which summer begins, and two on the day on which it ends.
    assert [time.isoformat() for time in times] == ["2026-03-29T03:00:00+02:00", "2026-04-05T02:30:00+02:00"]
    assert [time.isoformat() for time in autumn] == ["2026-10-25T02:30:00+01:00", "2026-10-26T02:30:00+01:00"]


def _numeral(number: int) -> str:
    if number <= 10:
        return NUMERALS[number]
    tens, ones = divmod(number, 10)
    return ("" if tens == 1 else NUMERALS[tens]) + "十" + (NUMERALS[ones] if ones else "")


def _expanded(week: str) -> set[int]:
    return (
        set(range(1, 6)) if week == "1-5" else set(range(7)) if week == "*" else {int(day) for day in week.split(",")}
    )
