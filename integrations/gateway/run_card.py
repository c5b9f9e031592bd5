"""The card of a command's run while it works: its ops, the one that runs now, the time so far, a button to cancel it.

It appears only once a run has taken a moment, so that a quick one is answered by its answer alone. The answer takes
its place (`growing.py`).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from integrations.channels.degrade import STATES, card_text
from integrations.messages import Card, Choice, Field, OutboundMessage, Step, utc_now

DELAY_S = 1.5
"""How long a run may take before its card appears."""
MOST_STEPS = 12
_TICKS = ((60.0, 5.0), (600.0, 15.0))
_SLOWEST_S = 60.0
_PART = re.compile(r"[.\[]")
_STATES: Mapping[str, Literal["running", "succeeded", "failed", "skipped"]] = {
    "started": "running",
    "succeeded": "succeeded",
    "failed": "failed",
    "skipped": "skipped",
}


@dataclass(eq=False)
class RunCard:
    """What is known of a run; `since` is when it was first seen here, on a monotonic clock. A `brief` one is a line."""

    run_id: str
    command: str
    url: str
    chinese: bool
    asked_at: datetime
    since: float
    brief: bool = False
    ops: dict[str, tuple[str, float | None]] = field(default_factory=dict[str, "tuple[str, float | None]"])
    waits_for: str | None = None

    @classmethod
    def of(cls, told: Mapping[str, object], asked_at: datetime, now: float) -> "RunCard | None":
        """Return the card of a run that wants one (`told` is progress of the type `run`)."""
        style, chinese = told.get("progress"), told.get("language") == "zh"
        if style not in ("card", "line"):
            return None
        command, url = str(told["command"]), str(told["url"])
        return cls(str(told["run_id"]), command, url, chinese, asked_at, now, brief=style == "line")

    def hear(self, body: Mapping[str, object]) -> None:
        """Take in progress."""
        match body.get("type"):
            case "op":
                ms = body.get("ms")
                self.op(str(body.get("op")), str(body.get("state")), None if ms is None else float(str(ms)))
            case "status":
                self.waits_for = str(body.get("text") or "") if body.get("status") == "waiting" else None
            case "run":
                self.waits_for = None
            case _:
                pass

    def op(self, name: str, state: str, ms: float | None) -> None:
        """Note how far an op is."""
        self.ops[name] = (state, ms)

    def pause(self, now: float) -> float | None:
        """Return seconds until it looks otherwise without any news; None where it never will."""
        if now < self.since + DELAY_S:
            return self.since + DELAY_S - now
        if self.waits_for is not None:
            return None
        taken = now - self.since
        return next((every for until, every in _TICKS if taken < until), _SLOWEST_S)

    def is_due(self, now: float) -> bool:
        """Whether it may be seen."""
        return now >= self.since + DELAY_S

    def on(self, opening: OutboundMessage) -> OutboundMessage:
        """Return a message that shows it."""
        label, word = self._say("Cancel", "取消"), self._say("cancel", "取消")
        cancel = Choice(label=label, text=f"/{word} {self.run_id}", style="danger", optional=True)
        seen: dict[str, object] = {"text": self.text()} if self.brief else {"card": self.card(utc_now())}
        return opening.model_copy(update={**seen, "choices": (cancel,), "run_id": self.run_id})

    def text(self) -> str:
        """Return it as text, now."""
        card = self.card(utc_now())
        if not self.brief:
            return card_text(card)
        return " · ".join([f"{STATES[card.state]} {card.title}", *(fact.value for fact in card.fields)])

    def card(self, at: datetime) -> Card:
        """Return how it looks at that instant."""
        taken = (at - self.asked_at).total_seconds()
        running = [name for name, (state, _) in self.ops.items() if state == "started"]
        facts = [Field(name=self._say("Elapsed", "用时"), value=duration(max(taken, 0.0)))]
        if self.waits_for:
            facts.append(Field(name=self._say("Waits for", "等待"), value=self.waits_for))
        elif running:
            facts.append(Field(name=self._say("Now", "当前"), value=running[-1]))
        return Card(
            title=f"/{self.command}",
            state="running" if self.waits_for is None else "waiting",
            fields=tuple(facts),
            steps=tuple(self._steps()[-MOST_STEPS:]),
            url=self.url,
        )

    def _steps(self) -> list[Step]:
        """Return the ops as steps: mapped ones (`fetch[3]`) are one, with how many of them are done."""
        found: dict[str, list[tuple[str, float | None]]] = {}
        for name, fact in self.ops.items():
            found.setdefault(_PART.split(name)[0], []).append(fact)
        return [_step(name, facts) for name, facts in found.items()]

    def _say(self, english: str, chinese: str) -> str:
        return chinese if self.chinese else english


def _step(name: str, facts: list[tuple[str, float | None]]) -> Step:
    states = {state for state, _ in facts}
    state = next((one for one in ("failed", "started", "succeeded") if one in states), "skipped")
    if len(facts) > 1:
        name = f"{name} {sum(state != 'started' for state, _ in facts)}/{len(facts)}"
    timed = [ms for _, ms in facts if ms is not None]
    return Step(name=name, state=_STATES[state], ms=round(sum(timed)) if timed and state != "started" else None)


def duration(seconds: float) -> str:
    """Write a duration as people do: 7 s, 3 min 20 s, 2 h 5 min."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
