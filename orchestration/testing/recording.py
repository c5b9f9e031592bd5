"""A recorded conversation: what was said, by whom, and what came of it; without names, secrets and ids.

Ids of runs stand as `{run 1}`: the run of the first turn. A file is YAML that people read, shorten and correct.
"""

import re
from collections.abc import Mapping
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from integrations.complaints import in_words, named
from integrations.database import AskedCommand, Database, Entry
from integrations.errors import InvalidInput, NotFound
from integrations.messages import Address
from integrations.security.secrets import DOTS
from integrations.telemetry.redaction import redact
from orchestration.commands.publishing import load

MOST_ENTRIES = 400
HOW = "`runbell record CONVERSATION > FILE` writes one (docs/authoring.md)."
_EMAIL = re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+")
_PHONE = re.compile(r"(?<![\w-])\+?\d(?:[ -]?\d){9,14}(?![\w-])")


class Frozen(BaseModel):
    """Base of what stands in the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Turn(Frozen):
    """One message and what came of it. `press` is a button's label; `effects` is None where nobody knows them."""

    by: str = "person 1"
    say: str = ""
    press: str | None = None
    status: str = "answered"
    command: str | None = None
    args: dict[str, object] = Field(default_factory=dict[str, object])
    answer: str = ""
    effects: list[dict[str, object]] | None = None


class Recording(Frozen):
    """A conversation, and the roles of the people in it."""

    runbell: Literal[1] = 1
    people: dict[str, list[str]] = Field(default_factory=dict[str, list[str]])
    turns: list[Turn] = Field(default_factory=list[Turn])

    def written(self) -> str:
        """Return it as YAML."""
        data = self.model_dump(mode="json", exclude_defaults=True)
        return yaml.safe_dump({"runbell": 1, **data}, allow_unicode=True, sort_keys=False, width=100)


def read(text: str) -> Recording:
    """Read a file. Raises `InvalidInput` saying what is wrong in it, and where."""
    try:
        data: object = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InvalidInput(f"this is no recording that can be read: no valid YAML. {HOW}\n{error}") from error
    if not isinstance(data, dict) or "turns" not in data:
        raise InvalidInput(f"this is no recorded conversation. {HOW}")
    try:
        return Recording.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise InvalidInput(f"{named(first)}: {in_words(first)}. Correct it there. {HOW}") from error


def record(database: Database, tenant: str, conversation: str, channel: str | None = None) -> Recording:
    """Return what was said in a conversation. Raises `NotFound`, or `InvalidInput` where several have that name."""
    address = _found(database, tenant, conversation, channel)
    entries = database.transcript.recent(address, limit=MOST_ENTRIES)
    return _Recorder(database, entries).recorded()


def _found(database: Database, tenant: str, conversation: str, channel: str | None) -> Address:
    places = [one for one in database.transcript.named(tenant, conversation) if channel in (None, one.channel)]
    if not places:
        raise NotFound(f"There is no conversation {conversation!r} here; the page shows its name in its address.")
    if len(places) > 1:
        channels = ", ".join(sorted(one.channel for one in places))
        raise InvalidInput(f"Several networks have a conversation of that name: choose with --channel: {channels}.")
    return places[0]


class _Recorder:
    """One transcript on its way into a recording."""

    def __init__(self, database: Database, entries: list[Entry]) -> None:
        self._database = database
        self._catalogue = load(database)
        self._entries = entries
        self._people: dict[str, str] = {}
        self._names: dict[str, str] = {}
        self._roles: dict[str, list[str]] = {}
        self._runs: dict[str, str] = {}
        self._labels: dict[str, str] = {}

    def recorded(self) -> Recording:
        turns: list[Turn] = []
        for entry in self._entries:
            if entry.role == "user" and entry.message_id is not None:
                turns.append(self._turn(entry, len(turns) + 1))
        return Recording(people=self._roles, turns=turns)

    def _turn(self, entry: Entry, number: int) -> Turn:
        assert entry.message_id is not None
        view = self._database.inbox.get(entry.message_id)
        asked = self._database.follow_ups.asked(entry.run_id) if entry.run_id else None
        by = self._person(entry.principal_id)
        secrets = self._secrets(asked)
        label = self._labels.get(entry.text)
        said = {"press": label} if label else {"say": self._plain(entry.text, secrets)}
        if entry.run_id:
            self._runs[entry.run_id] = f"{{run {number}}}"
        replies = [one for one in self._entries if one.role == "assistant" and one.message_id == entry.message_id]
        self._labels |= {choice.text: choice.label for reply in replies for choice in reply.choices if choice.text}
        return Turn.model_validate(
            {
                **said,
                "by": by,
                "status": view.status.value if view else "answered",
                "command": asked.command if asked else None,
                "args": _without(asked.args, secrets) if asked else {},
                "answer": self._plain("\n\n".join(reply.text for reply in replies), secrets),
            }
        )

    def _person(self, principal_id: str | None) -> str:
        key = principal_id or ""
        if key not in self._people:
            self._people[key] = f"person {len(self._people) + 1}"
            found = self._database.principals.get(key)
            self._roles[self._people[key]] = list(found.roles) if found else ["user"]
            if found is not None and len(found.name) > 2:
                self._names[found.name] = self._people[key]
        return self._people[key]

    def _secrets(self, asked: AskedCommand | None) -> set[str]:
        spec = self._catalogue.find(asked.command) if asked else None
        if asked is None or spec is None:
            return set()
        return {str(value) for name, value in asked.args.items() if spec.by_name[name].secret} - {""}

    def _plain(self, text: str, secrets: set[str]) -> str:
        for secret in secrets:
            text = text.replace(secret, DOTS)
        text = _PHONE.sub("0000000000", _EMAIL.sub("someone@example.com", redact(text)))
        for name, person in self._names.items():
            text = re.sub(rf"\b{re.escape(name)}\b", person, text)
        return with_runs(text, self._runs)


def _without(args: Mapping[str, object], secrets: set[str]) -> dict[str, object]:
    return {name: DOTS if str(value) in secrets else value for name, value in args.items()}


def with_runs(text: str, runs: Mapping[str, str]) -> str:
    """Put names in the place of run ids, whole and as their first eight characters."""
    for run_id, name in runs.items():
        text = text.replace(run_id, name).replace(run_id[:13], name).replace(run_id[:8], name)
    return text
