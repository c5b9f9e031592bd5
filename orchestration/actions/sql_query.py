"""Action `sql_query`: one statement on a database that the operator named; it reads unless it is told it may write."""

from pydantic import Field

from integrations.database.querying import Rows, query
from integrations.errors import NotFound
from integrations.security.secrets import resolve
from integrations.settings import Settings
from integrations.settings_actions import QueriedDatabase
from orchestration.actions import FIXED, Arguments, Effect, Means, Occasion, Outcome

SHOWN = 50
"""Rows that stand in the text; `data` has all."""


class Question(Arguments):
    """What to ask; values belong into `parameters`, as `:name` in the statement."""

    database: str = Field(json_schema_extra=FIXED)
    statement: str = Field(min_length=1, max_length=20_000, json_schema_extra=FIXED)
    parameters: dict[str, str | int | float | bool | None] = Field(
        default_factory=dict[str, str | int | float | bool | None]
    )


class SqlQuery:
    """Asks; where a database may be written it destroys, as far as anybody can tell from outside."""

    name = "sql_query"
    summary = "Run one SQL statement on a configured database."
    arguments = Question

    def effect(self, args: Question, settings: Settings) -> Effect:
        """Tell by the database's setting."""
        return "destructive" if _named(args.database, settings).write else "read"

    def preview(self, args: Question, settings: Settings) -> str:
        """Show the statement; of the parameters only their names."""
        configured = _named(args.database, settings)
        how = "change" if configured.write else "read"
        names = f" (parameters: {', '.join(args.parameters)})" if args.parameters else ""
        return f"would {how} the database {args.database}: {args.statement}{names}"

    def carry_out(self, args: Question, means: Means, occasion: Occasion) -> Outcome:  # noqa: ARG002
        """Ask. Raises what `integrations.database.querying` raises."""
        configured = _named(args.database, means.settings)
        rows = query(
            resolve(configured.url, name=f"actions.databases.{args.database}.url").get_secret_value(),
            args.statement,
            args.parameters,
            write=configured.write,
            max_rows=configured.max_rows,
            timeout_s=configured.timeout_s,
        )
        return Outcome(text=_told(rows), data=_data(rows))


def _named(name: str, settings: Settings) -> QueriedDatabase:
    known = settings.actions.databases
    if name not in known:
        there = f"There are {', '.join(known)}." if known else "None is set up (setting actions.databases)."
        raise NotFound(f"There is no database {name!r}. {there}")
    return known[name]


def _data(rows: Rows) -> dict[str, object]:
    return {"columns": rows.columns, "rows": rows.rows, "more": rows.more, "changed": rows.changed}


def _told(rows: Rows) -> str:
    """Return a Markdown table."""
    if not rows.columns:
        return f"{rows.changed} rows were changed."
    if not rows.rows:
        return f"No rows ({', '.join(rows.columns)})."
    lines = [_line(rows.columns), _line("---" for _ in rows.columns), *map(_line, rows.rows[:SHOWN])]
    if rows.more or len(rows.rows) > SHOWN:
        count = f"more than {len(rows.rows)}" if rows.more else str(len(rows.rows))
        lines += ["", f"{count} rows, the first {min(SHOWN, len(rows.rows))} are shown."]
    return "\n".join(lines)


def _line(cells: object) -> str:
    texts = ("" if cell is None else str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells)  # type: ignore[attr-defined]
    return f"| {' | '.join(texts)} |"


ACTION = SqlQuery()
