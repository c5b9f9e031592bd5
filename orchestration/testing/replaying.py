"""Say a recorded conversation again to the code as it is now, and tell what comes out otherwise.

Nothing is carried out: actions are recorded, and what ops try to reach on the network is refused (`walls.py`). The
model answers what it answered then. Ids, addresses, times and durations count as equal, and the stages of `/why` too:
one that it could not tell yet, since the answer was not delivered when it was asked, is no difference.
"""

import difflib
import re
from collections.abc import Callable, Iterator, Mapping

import dagster as dg
import yaml

from integrations.errors import RunbellError
from integrations.security.secrets import DOTS
from integrations.telemetry.redaction import redact
from orchestration.commands.telling import is_stage
from orchestration.testing.conversation import Conversation, Said
from orchestration.testing.house import House
from orchestration.testing.recording import Recording, Turn, with_runs
from orchestration.testing.server import Server
from serving.client import ScriptedModels

_ID = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")
_URL = re.compile(r"https?://[^\s)>\"']+")
_TIME = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?: ?UTC|Z|\+00:00)?|\b\d\d:\d\d:\d\d\b")
_TOOK = re.compile(r"\b\d+(?:\.\d+)?( ?(?:ms|s|min|毫秒|秒))\b")
_TAG = re.compile(r"#[0-9a-f]{4,}\b")


def replay(recording: Recording, server: Server, defs: Mapping[str, dg.Definitions]) -> Recording:
    """Say it all again in an installation of its own, and return what comes of it now."""
    now = iter(recording.turns)
    current: list[Turn] = []
    models = ScriptedModels(fallback=lambda _: current[0].answer if current else "")
    with House(server, defs, model=models) as house:
        player = _Player(house, recording)
        turns: list[Turn] = []
        for number, turn in enumerate(now, 1):
            current[:] = [turn]
            turns.append(player.play(turn, number))
    return recording.model_copy(update={"turns": turns})


class _Player:
    """All people of a recording in one room."""

    def __init__(self, house: House, recording: Recording) -> None:
        self._house = house
        people = recording.people or {turn.by: ["user"] for turn in recording.turns}
        first: Conversation | None = None
        self._people: dict[str, Conversation] = {}
        for name, roles in people.items():
            person = house.person(name, roles=roles)
            if first is None:
                first = person
            person.address = first.address
            self._people[name] = person
        self._runs: dict[str, str] = {}

    def play(self, turn: Turn, number: int) -> Turn:
        person = self._people.get(turn.by) or self._house.person(turn.by)
        try:
            said = person.press(turn.press) if turn.press else person.say(self._with_ids(turn.say))
        except (LookupError, TimeoutError, RunbellError) as error:
            return turn.model_copy(update={"status": "stuck", "command": None, "args": {}, "answer": f"({error})"})
        return self._seen(turn, said, number)

    def _seen(self, turn: Turn, said: Said, number: int) -> Turn:
        run, asked = said.run, None
        if run is not None:
            self._runs[run.id] = f"{{run {number}}}"
            asked = self._house.database.follow_ups.asked(run.id)
        effects = [{"action": done.action, **done.args} for done in said.effects]
        return Turn(
            by=turn.by,
            say=turn.say,
            press=turn.press,
            status=said.status,
            command=asked.command if asked else None,
            args={} if asked is None else {key: _shown(key, value, turn) for key, value in asked.args.items()},
            answer=with_runs(said.answer, self._runs),
            effects=effects,
        )

    def _with_ids(self, text: str) -> str:
        for run_id, name in self._runs.items():
            text = text.replace(name, run_id)
        return text


def differences(before: Recording, after: Recording) -> Iterator[str]:
    """Yield one text per turn that came out otherwise: its words, and a diff."""
    for number, (old, new) in enumerate(zip(before.turns, after.turns, strict=True), 1):
        effects = new.effects if old.effects is not None else None
        lines = list(
            difflib.unified_diff(
                _compared(old),
                _compared(new.model_copy(update={"effects": effects})),
                "recorded",
                "now",
                lineterm="",
                n=1,
            )
        )
        if lines:
            yield "\n".join([f"turn {number}: {f'[{old.press}]' if old.press else old.say}", *lines])


def _compared(turn: Turn) -> list[str]:
    """Return what of a turn must stay as it was, as lines, without what never does."""
    data = turn.model_dump(mode="json", include={"status", "command", "args", "answer", "effects"}, exclude_none=True)
    answer = str(data.pop("answer", ""))
    facts = yaml.safe_dump(data, allow_unicode=True, sort_keys=True, width=200)
    return [_settled(line) for line in (*facts.splitlines(), *answer.splitlines()) if not is_stage(line)]


def _settled(line: str) -> str:
    rules: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = (
        (_URL, "URL"), (_ID, "ID"), (_TIME, "TIME"), (_TOOK, r"N\1"), (_TAG, "#ID"),
    )  # fmt: skip
    for pattern, instead in rules:
        line = pattern.sub(instead, line)
    return redact(line).rstrip()


def _shown(name: str, value: object, turn: Turn) -> object:
    return DOTS if turn.args.get(name) == DOTS else value
