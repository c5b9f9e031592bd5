"""A day in words, by template."""

from dataclasses import dataclass
from datetime import date

from integrations.database.daily import Traffic
from orchestration.commands.language import Language, pick


@dataclass(frozen=True, slots=True)
class FailedRun:
    """One run that failed, with its page in the Dagster UI."""

    job: str
    run_id: str
    url: str


@dataclass(frozen=True, slots=True)
class Day:
    """The figures of one day; `failures` are those that the reader may see."""

    date: date
    traffic: Traffic
    runs: int
    by_job: tuple[tuple[str, int], ...]
    failed: int
    failures: tuple[FailedRun, ...]


def as_markdown(day: Day, language: Language) -> str:
    """Return the digest."""
    lines = [
        pick(language, f"**Digest of {day.date:%Y-%m-%d}**", f"**{day.date:%Y-%m-%d} 日报**"),
        _messages(day.traffic, language),
        _runs(day, language),
        *_failures(day, language),
    ]
    if day.traffic.model_calls:
        lines.append(_model(day.traffic, language))
    return "\n".join(lines)


def _messages(traffic: Traffic, language: Language) -> str:
    if not traffic.messages:
        return pick(language, "- No messages.", "- 没有消息。")
    median = f"{traffic.median_s:.1f} s" if traffic.median_s is not None else "–"
    return pick(
        language,
        f"- Messages: {traffic.messages} from {_count(traffic.people, 'person', 'people')} in "
        f"{_count(traffic.conversations, 'conversation', 'conversations')}; {traffic.answered} answered "
        f"(median {median}), {traffic.failed} failed.",
        f"- 消息：{traffic.messages} 条，来自 {traffic.people} 人、{traffic.conversations} 个会话；"
        f"已回答 {traffic.answered} 条（中位数 {median}），失败 {traffic.failed} 条。",
    )


def _runs(day: Day, language: Language) -> str:
    if not day.runs:
        return pick(language, "- No runs.", "- 没有运行。")
    jobs = ", ".join(f"{name} {count}" for name, count in day.by_job)
    return pick(
        language,
        f"- Runs: {day.runs}, {day.failed} of them failed ({jobs}).",
        f"- 运行：{day.runs} 次，其中失败 {day.failed} 次（{jobs}）。",
    )


def _failures(day: Day, language: Language) -> list[str]:
    lines = [f"  - ❌ {run.job} [{run.run_id[:8]}]({run.url})" for run in day.failures]
    if (hidden := day.failed - len(day.failures)) > 0 and day.failures:
        lines.append(pick(language, f"  - … and {hidden} more.", f"  - ……另有 {hidden} 次。"))
    return lines


def _model(traffic: Traffic, language: Language) -> str:
    return pick(
        language,
        f"- Model: {_count(traffic.model_calls, 'call', 'calls')}, {traffic.tokens_in} tokens in, "
        f"{traffic.tokens_out} out.",
        f"- 模型：调用 {traffic.model_calls} 次，输入 {traffic.tokens_in} 个词元，输出 {traffic.tokens_out} 个。",
    )


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
