"""Ask a database that the operator named: one statement, parameters apart from it, within bounds of rows and time."""

import re
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError

from integrations.errors import Forbidden, InvalidInput, Misconfigured, Rejected, Unavailable

MAX_CELL = 4_000
"""Characters of one value that come back."""
_READING = re.compile(r"\(*\s*(select|with|values|table|explain|show)\b", re.IGNORECASE)
_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_SQLITE_STEPS = 10_000


@dataclass(frozen=True)
class Rows:
    """What a statement gave: names, rows of plain values, whether there were more, and how many it changed."""

    columns: tuple[str, ...] = ()
    rows: tuple[tuple[object, ...], ...] = ()
    more: bool = False
    changed: int | None = None


def query(
    url: str, statement: str, parameters: Mapping[str, object], *, write: bool, max_rows: int, timeout_s: float
) -> Rows:
    """Run one statement in a transaction of its own; without `write` the database itself refuses every change.

    Parameters stand as `:name`. Raises `InvalidInput` for what is no single statement or misses a parameter,
    `Forbidden` for a change, `Rejected` for what the database refuses (a time-out too), `Unavailable`, `Misconfigured`.
    """
    if not write and not _READING.match(_COMMENT.sub(" ", statement).lstrip()):
        raise Forbidden("This database may only be read: begin with SELECT, WITH, VALUES, TABLE, EXPLAIN or SHOW.")
    engine = _engine(url, timeout_s, write=write)
    clause = sa.text(statement)
    _check_parameters(clause, parameters)
    try:
        with engine.connect() as connection:
            _restrict(connection, write=write)
            rows = _rows(connection.execute(clause, dict(parameters)), max_rows)
            if write:
                connection.commit()
            return rows
    except OperationalError as error:
        raise _operational(error) from error
    except DBAPIError as error:
        raise Rejected(f"The database refused: {_first_line(error)}") from error
    except SQLAlchemyError as error:
        raise InvalidInput(f"The statement can't be run: {_first_line(error)}", field="statement") from error
    finally:
        engine.dispose()


def _engine(url: str, timeout_s: float, *, write: bool) -> sa.Engine:
    try:
        target = sa.make_url(url)
    except SQLAlchemyError as error:
        raise Misconfigured("The database's URL is malformed (actions.databases).") from error
    backend = target.get_backend_name()
    if backend == "postgresql":
        options = f"-c statement_timeout={round(timeout_s * 1000)} -c default_transaction_read_only={_on(not write)}"
        connect = {"connect_timeout": 5, "options": options, "application_name": "runbell-action"}
        # Prepared, a text of several statements is refused by the server itself.
        return sa.create_engine(
            target.set(drivername="postgresql+psycopg"),
            poolclass=sa.NullPool,
            connect_args={**connect, "prepare_threshold": 0},
        )
    if backend == "sqlite":
        mode = "rw" if write else "ro"
        path = f"file:{target.database}?mode={mode}"
        return sa.create_engine("sqlite://", poolclass=sa.NullPool, creator=lambda: _sqlite(path, timeout_s))
    raise Misconfigured(f"sql_query asks PostgreSQL and SQLite, not {backend} (actions.databases).")


def _sqlite(path: str, timeout_s: float) -> Any:
    import sqlite3

    connection = sqlite3.connect(path, uri=True, timeout=min(timeout_s, 5.0))
    until = time.monotonic() + timeout_s
    connection.set_progress_handler(lambda: int(time.monotonic() > until), _SQLITE_STEPS)
    return connection


def _restrict(connection: sa.Connection, *, write: bool) -> None:
    if connection.dialect.name == "sqlite":
        if not write:
            connection.exec_driver_sql("pragma query_only = on")
        return
    if write:
        return
    if connection.scalar(sa.text("select current_setting('is_superuser')")) == "on":
        # It may read the server's files and run its programs, also where it must not write.
        raise Misconfigured(
            "This URL is a superuser's: give sql_query a role that may do no more than read its tables."
        )
    connection.commit()
    connection.execute(sa.text("set transaction read only"))


def _check_parameters(clause: sa.TextClause, parameters: Mapping[str, object]) -> None:
    wanted = set(clause._bindparams)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - there is no public way
    if missing := wanted - parameters.keys():
        raise InvalidInput(f"The statement needs the parameters {', '.join(sorted(missing))}.", field="parameters")
    if unknown := parameters.keys() - wanted:
        raise InvalidInput(f"The statement has no :{min(unknown)}.", field="parameters")


def _rows(result: sa.CursorResult[Any], max_rows: int) -> Rows:
    if not result.returns_rows:
        return Rows(changed=result.rowcount)
    with closing(result):
        found = result.fetchmany(max_rows + 1)
    rows = tuple(tuple(_plain(value) for value in row) for row in found[:max_rows])
    return Rows(tuple(result.keys()), rows, more=len(found) > max_rows)


def _plain(value: object) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    text = value.hex() if isinstance(value, bytes | bytearray | memoryview) else str(value)
    return text if len(text) <= MAX_CELL else text[:MAX_CELL] + "…"


def _operational(error: OperationalError) -> Exception:
    text = _first_line(error)
    if "timeout" in text or "interrupted" in text:
        return Rejected("The statement took longer than actions.databases allows, and was stopped.")
    if "readonly" in text or "read-only" in text:
        return Forbidden("This database may only be read.")
    if getattr(error.orig, "sqlstate", None) or "sqlite" in type(error.orig).__module__:
        return Rejected(f"The database refused: {text}")
    return Unavailable(f"The database can't be reached: {text}")


def _first_line(error: Exception) -> str:
    return (str(getattr(error, "orig", None) or error).strip().splitlines() or [""])[0]


def _on(value: bool) -> str:  # noqa: FBT001 - it is a word
    return "on" if value else "off"
