"""Rows of a table that come or change, found by a column that only grows: an id, a version, a time of change."""

import json
import re
from dataclasses import dataclass
from typing import cast

from integrations.database import Database
from integrations.database.querying import Rows, query
from integrations.errors import InvalidInput, NotFound
from integrations.security.secrets import resolve
from integrations.settings import Settings
from integrations.settings_actions import QueriedDatabase
from orchestration.events.seam import MOST, Batch, Event

_NAME = re.compile(r"[A-Za-z_]\w{0,62}(\.[A-Za-z_]\w{0,62})?")


@dataclass(frozen=True)
class Watermark:
    """A table, its growing column and its key; `from_start` takes what is there already."""

    database: str
    table: str
    watermark: str
    key: str
    from_start: bool = False

    def __post_init__(self) -> None:
        for name in (self.table, self.watermark, self.key):
            if not _NAME.fullmatch(name):
                raise ValueError(f"rows: {name!r} is no name of a table or column")

    @property
    def kind(self) -> str:
        """What it is called in the Dagster UI."""
        return f"rows of {self.table} in {self.database}"

    def problem(self, settings: Settings) -> str | None:
        """Return that the database is not set up."""
        if self.database in settings.actions.databases:
            return None
        return f"There is no database {self.database!r}: set it up as [actions.databases.{self.database}]."

    def look(self, cursor: str | None, database: Database, settings: Settings) -> Batch:
        """Return rows at or beyond the watermark, without those that were returned with it."""
        del database
        if problem := self.problem(settings):
            raise NotFound(problem)
        configured = settings.actions.databases[self.database]
        if cursor is None and not self.from_start:
            return Batch(self._end(configured))
        mark, seen = cast("tuple[object, list[str]]", tuple(json.loads(cursor))) if cursor else (None, [])
        found = self._beyond(configured, mark, seen)
        events: list[Event] = []
        for row in found.rows:
            fields = dict(zip(found.columns, row, strict=True))
            value, key = fields[self.watermark], str(fields[self.key])
            if value is None:
                raise InvalidInput(f"{self.table}.{self.watermark} is null in a row; a watermark must not be")
            seen = [*seen, key] if value == mark else [key]
            mark = value
            events.append(Event(f"{self.table}:{key}:{value}", fields))
        if len(seen) > MOST * 10:
            raise InvalidInput(f"{len(seen)} rows have the same {self.watermark}: it does not tell them apart")
        return Batch(json.dumps([mark, seen]), events)

    def _end(self, configured: QueriedDatabase) -> str:
        """Return the cursor behind all that is there."""
        top = self._ask(configured, f"select max({self.watermark}) as mark from {self.table}", {}, 1).rows[0][0]  # noqa: S608 - names that were checked
        if top is None:
            return json.dumps([None, []])
        statement = f"select {self.key} from {self.table} where {self._at('=', top, configured)}"  # noqa: S608
        same = self._ask(configured, statement, {"mark": top}, MOST * 10)
        return json.dumps([top, [str(row[0]) for row in same.rows]])

    def _beyond(self, configured: QueriedDatabase, mark: object, seen: list[str]) -> Rows:
        where, parameters = "1 = 1", dict[str, object]()
        if mark is not None:
            # Not those that were taken with this very watermark.
            parameters = {"mark": mark, **{f"seen{number}": key for number, key in enumerate(seen)}}
            taken = "".join(f" and cast({self.key} as varchar(4000)) <> :seen{number}" for number in range(len(seen)))
            where = f"{self._at('>', mark, configured)} or ({self._at('=', mark, configured)}{taken})"
        statement = f"select * from {self.table} where {where} order by {self.watermark}, {self.key} limit {MOST}"  # noqa: S608
        return self._ask(configured, statement, parameters, MOST)

    def _at(self, sign: str, mark: object, configured: QueriedDatabase) -> str:
        """Return the comparison with `:mark`; PostgreSQL wants to know that text is an instant."""
        instant = isinstance(mark, str) and _is_postgres(configured)
        return f"{self.watermark} {sign} {'cast(:mark as timestamptz)' if instant else ':mark'}"

    def _ask(self, configured: QueriedDatabase, statement: str, parameters: dict[str, object], most: int) -> Rows:
        url = resolve(configured.url, name=f"actions.databases.{self.database}.url").get_secret_value()
        return query(url, statement, parameters, write=False, max_rows=most, timeout_s=configured.timeout_s)


def _is_postgres(configured: QueriedDatabase) -> bool:
    return "postgres" in resolve(configured.url, name="url").get_secret_value().partition(":")[0]


def rows(database: str, table: str, *, watermark: str, key: str, from_start: bool = False) -> Watermark:
    """Return a source of the rows of a table that come or change.

    `database` is a name of `[actions.databases]`. `watermark` is a number or an instant that only grows, in the order
    in which transactions commit; `key` tells rows apart. A row that gets a larger watermark is another event.
    Raises ValueError for what is no name.
    """
    return Watermark(database, table, watermark, key, from_start)
