"""What somebody says about when → cron. A grammar of our own: it refuses what it does not wholly understand.

Nothing is guessed: each word is taken by a rule or named in the error. Plain cron with five fields is taken too.
"""

import re
import unicodedata
from dataclasses import dataclass

from orchestration.timing import chinese, english
from orchestration.timing.clock import ZONE, zone_named
from orchestration.timing.parts import LONGEST, Unclear, gather
from orchestration.warm.cron import is_cron

__all__ = ["Recurrence", "Unclear", "read"]
_FIELD = r"[\d*/,\-]+|(?:mon|tue|wed|thu|fri|sat|sun|jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|l)[a-z,\-\d]*"
_CRON = re.compile(rf"[\d*][\d*/,\-]*\s+(?:{_FIELD})\s+(?:{_FIELD})\s+(?:{_FIELD})\s+(?:{_FIELD})", re.IGNORECASE)
_HAN = re.compile(r"[\u3400-\u9fff]")
_QUOTES = "\"'`“”‘’「」『』 .。!！"


@dataclass(frozen=True)
class Recurrence:
    """When something recurs; `zone` is the time zone that was said with it, if one was."""

    cron: str
    zone: str | None = None


def read(text: str) -> Recurrence:
    """Return when `text`, of 200 characters at most, says. Raises `Unclear`."""
    if len(text) > LONGEST:
        raise Unclear(f"A time takes at most {LONGEST} characters.", f"时间最多 {LONGEST} 个字符。")
    said = unicodedata.normalize("NFKC", text).strip(_QUOTES)
    said, zone = _without_zone(" ".join(said.split()))
    said = said.casefold().strip(_QUOTES)
    if _CRON.fullmatch(said):
        return Recurrence(_checked(said), zone)
    if not said:
        raise Unclear("When? For instance `every monday 9:00`.", "什么时候？例如“每周一上午九点”。")
    grammar = chinese if _HAN.search(said) else english
    cron = gather(said, grammar.RULES, grammar.FILLER).cron()
    if not is_cron(cron):
        raise Unclear("That day never comes.", "这一天永远不会到来。")
    return Recurrence(cron, zone)


def _without_zone(said: str) -> tuple[str, str | None]:
    """Return the text without the time zone at its end, and that zone."""
    match = ZONE.search(said)
    name = zone_named(match["zone"]) if match else None
    if match is None or name is None:
        return said, None
    return said[: match.start()].strip(), name


def _checked(cron: str) -> str:
    if not is_cron(cron):
        raise Unclear(
            f"`{cron}` never comes, or is no cron expression.", f"`{cron}` 永远不会到来，或不是有效的 cron 表达式。"
        )
    return cron
