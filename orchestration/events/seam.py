"""What a source of events is: it is asked from where it left off, and answers with what has come since."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from integrations.database import Database
from integrations.settings import Settings
from orchestration.members import as_text, member

MOST = 100
"""Events of one look; more wait for the next."""
When = Mapping[str, str | Sequence[str]]
"""Path of a member (`data.type`) → the value, or values, that count. All of them must fit; nothing is evaluated."""


@dataclass(frozen=True)
class Event:
    """One thing that has happened; `id` is the same whenever it is seen again, and its own for ever."""

    id: str
    fields: Mapping[str, object]

    def __getitem__(self, path: str) -> object:
        """Return a member by its path, `data.items.0.title`. Raises `KeyError`."""
        try:
            return member(self.fields, path.split("."))
        except KeyError:
            raise KeyError(path) from None

    def fits(self, when: When) -> bool:
        """Whether all these members have one of their values."""
        return all(
            self._said(path) in ([wanted] if isinstance(wanted, str) else wanted) for path, wanted in when.items()
        )

    def _said(self, path: str) -> str | None:
        try:
            value = self[path]
        except KeyError:
            return None
        return as_text(value)


@dataclass(frozen=True)
class Batch:
    """What has come, and from where to go on once the runs of it are there."""

    cursor: str
    events: Sequence[Event] = field(default_factory=tuple)


class Source(Protocol):
    """Where events come from."""

    @property
    def kind(self) -> str:
        """What it is called in the Dagster UI."""
        ...

    def problem(self, settings: Settings) -> str | None:
        """Return what is missing in the settings, None where nothing is."""
        ...

    def look(self, cursor: str | None, database: Database, settings: Settings) -> Batch:
        """Return the events since the cursor, at most `MOST`; None is the first look.

        The same cursor again returns events of the same ids. Raises `RunbellError`.
        """
        ...
