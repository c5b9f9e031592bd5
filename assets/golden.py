"""The golden set: what the models must get right, and how what they say is judged. No model judges: words count.

Cases are data (`golden.json`): a command to be picked, or none; a question whose answer stands in given facts; one
whose answer stands nowhere, where only admitting it is right.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

Kind = Literal["command", "grounded", "unknown"]
SHOWN = 160
"""Characters of an answer in the table."""


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Known(_Data):
    """A command that may be picked."""

    description: str
    examples: tuple[str, ...]


class Case(_Data):
    """One question."""

    id: str
    kind: Kind
    language: Literal["en", "zh"]
    text: str
    command: str | None = None
    facts: tuple[str, ...] = ()
    must: tuple[str, ...] = ()
    must_not: tuple[str, ...] = ()


class Golden(_Data):
    """The set."""

    commands: dict[str, Known]
    admits: dict[str, tuple[str, ...]] = Field(description="Words by which not knowing is admitted, by language.")
    cases: tuple[Case, ...]

    @property
    def digest(self) -> str:
        """What this set is known by: scores of two sets can't be compared."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:12]


class Reply(_Data):
    """What came back to a case."""

    text: str = ""
    command: str | None = None


class Examinee(Protocol):
    """What is examined: the assistant's own way of answering, with the model that answers now."""

    def version(self) -> dict[str, str]:
        """Tell which model it is: `model`, `engine`, `embedder`, and `fingerprint`, which changes with any of it."""
        ...

    def reply(self, case: Case, commands: dict[str, Known]) -> Reply:
        """Answer, as repeatably as the engine promises. Raises what `Models.stream` raises."""
        ...


@dataclass(frozen=True)
class Mark:
    """A case and what became of it; `wrong` is empty where it passed."""

    case: Case
    reply: Reply
    wrong: str

    @property
    def passed(self) -> bool:
        """Whether the reply was right."""
        return not self.wrong


@cache
def golden() -> Golden:
    """Return the set that is shipped."""
    return Golden.model_validate_json(Path(__file__).with_suffix(".json").read_bytes())


def judge(case: Case, reply: Reply, admits: Sequence[str]) -> Mark:
    """Say whether a reply is right, and else what is wrong with it."""
    return Mark(case, reply, _wrong(case, reply, admits))


def scores(marks: Sequence[Mark]) -> dict[str, float]:
    """Return the share of right replies: `all`, by kind and by language, from 0 to 1."""
    groups: dict[str, list[bool]] = {"all": []}
    for mark in marks:
        for group in ("all", mark.case.kind, mark.case.language):
            groups.setdefault(group, []).append(mark.passed)
    return {group: round(sum(passed) / max(len(passed), 1), 4) for group, passed in groups.items()}


def as_markdown(marks: Sequence[Mark]) -> str:
    """Return the table of all cases, the wrong ones first."""
    head = "| case | asked | answered | |\n|---|---|---|---|\n"
    rows = sorted(marks, key=lambda mark: mark.passed)
    return head + "\n".join(
        f"| {mark.case.id} | {_cell(mark.case.text)} | {_cell(_said(mark.reply))} | {_cell(mark.wrong) or '✓'} |"
        for mark in rows
    )


def _wrong(case: Case, reply: Reply, admits: Sequence[str]) -> str:
    if case.kind == "command":
        return "" if reply.command == case.command else f"not {case.command or 'a command'}"
    if reply.command is not None:
        return f"proposed {reply.command}"
    said = reply.text.casefold()
    for words in case.must:
        if words.casefold() not in said:
            return f"lacks {words}"
    for words in case.must_not:
        if words.casefold() in said:
            return f"says {words}"
    if case.kind == "unknown" and not any(words.casefold() in said for words in admits):
        return "does not admit that it does not know"
    return ""


def _said(reply: Reply) -> str:
    return f"/{reply.command}" if reply.command else reply.text


def _cell(text: str) -> str:
    line = " ".join(text.split()).replace("|", "\\|")
    return line if len(line) <= SHOWN else f"{line[:SHOWN]}…"
