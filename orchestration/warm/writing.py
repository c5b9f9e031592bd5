"""What a group commit writes: events, run statuses, op outputs, log chunks; fenced by the runs' lease tokens."""

import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

import dagster as dg
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from integrations.database.tables import op_logs, op_outputs, run_queue
from integrations.errors import Unavailable
from orchestration.warm.commits import Row
from orchestration.warm.internals import EventLogEntry, EventLogTable, RunsTable

CACHE_BYTES = 4_194_304
"""Outputs of one run that are kept in memory for the ops that read them."""

_LOGS = insert(op_logs).on_conflict_do_nothing()
_EVENTS = EventLogTable.insert()
_STATUSES = {
    dg.DagsterEventType.RUN_START: dg.DagsterRunStatus.STARTED,
    dg.DagsterEventType.RUN_SUCCESS: dg.DagsterRunStatus.SUCCESS,
}


class Writer:
    """Stores rows in one transaction; rows of runs whose token in the queue is another one are refused."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine.execution_options(isolation_level="READ COMMITTED")
        self.tokens: dict[str, int] = {}

    def write(self, batch: list[Row], *, again: bool = False) -> set[str]:
        """Store the rows in order; returns the runs that were refused. Raises `Unavailable`.

        With `again`, looks first whether the lost answer of an earlier attempt was a yes.
        """
        try:
            with self._engine.begin() as connection:
                if again and any(_is_stored(connection, row) for row in reversed(batch)):
                    return set()
                refused = self._refused(connection, batch)
                _store(connection, [row for row in batch if row.run_id not in refused])
        except (OperationalError, InterfaceError, PoolTimeout) as error:
            raise Unavailable(f"the database is not available: {_first_line(error)}") from error
        except DBAPIError as error:
            if error.connection_invalidated:
                raise Unavailable("the database broke the connection off") from error
            raise
        return refused

    def _refused(self, connection: sa.Connection, batch: Sequence[Row]) -> set[str]:
        held = {row.run_id: self.tokens[row.run_id] for row in batch if row.run_id in self.tokens}
        if not held:
            return set()
        # Locked until commit: whoever claims the run after us sees these rows.
        query = (
            sa.select(run_queue.c.run_id, run_queue.c.token)
            .where(run_queue.c.run_id.in_(sorted(held)))
            .order_by(run_queue.c.run_id)
            .with_for_update(read=True)
        )
        current = {row.run_id: row.token for row in connection.execute(query)}
        return {run_id for run_id, token in held.items() if current.get(run_id) != token}


def _store(connection: sa.Connection, rows: Sequence[Row]) -> None:
    outputs = [row.values for row in rows if row.table == "output"]
    logs = [row.values for row in rows if row.table == "log"]
    events = [row.values for row in rows if row.table == "event"]
    for values in outputs:
        connection.execute(_upsert(values))
    if logs:
        connection.execute(_LOGS, logs)
    if events:
        connection.execute(_EVENTS, events)
    for row in rows:
        if row.table == "run":
            connection.execute(sa.update(RunsTable).where(RunsTable.c.run_id == row.run_id).values(row.values))


def status_of(event: EventLogEntry) -> Mapping[str, object] | None:
    """Return what the event changes in its run's row, where that is all that it means; else None.

    Dagster reads the status from its column, so the run's body need neither be read nor written for it.
    """
    status = _STATUSES.get(event.dagster_event_type) if event.dagster_event_type else None
    if status is None:
        return None
    at = datetime.fromtimestamp(event.timestamp, UTC)
    moment = "start_time" if status is dg.DagsterRunStatus.STARTED else "end_time"
    return {"status": status.value, "update_timestamp": at, moment: event.timestamp}


def _upsert(values: Mapping[str, object]) -> sa.Insert:
    row = insert(op_outputs).values(values)
    changed = {"value": row.excluded.value, "url": row.excluded.url, "at": sa.func.now()}
    return row.on_conflict_do_update(index_elements=["run_id", "step_key", "output"], set_=changed)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0]


def _is_stored(connection: sa.Connection, row: Row) -> bool:
    if row.table != "event":
        return False
    table = EventLogTable
    query = sa.select(table.c.id).where(table.c.run_id == row.run_id, table.c.event == row.values["event"]).limit(1)
    return connection.execute(query).first() is not None


class Outputs:
    """Values of op outputs as bytes: in memory while their run executes here, in the table for everybody."""

    def __init__(self, engine: sa.Engine, append: Callable[[Row], None], flush: Callable[[], None]) -> None:
        self._engine = engine
        self._append = append
        self._flush = flush
        self._lock = threading.Lock()
        self._values: dict[str, dict[tuple[str, str], bytes]] = {}

    def put(self, run_id: str, step_key: str, output: str, value: bytes | None, url: str | None = None) -> None:
        """Store a value, or where it lies, with the step events around it."""
        values = {"run_id": run_id, "step_key": step_key, "output": output, "value": value, "url": url}
        self._append(Row("output", run_id, values))
        with self._lock:
            kept = self._values.setdefault(run_id, {})
            kept.pop((step_key, output), None)
            if value is not None and sum(map(len, kept.values())) + len(value) <= CACHE_BYTES:
                kept[step_key, output] = value

    def get(self, run_id: str, step_key: str, output: str) -> tuple[bytes | None, str | None] | None:
        """Return a value or where it lies; None where there is none."""
        with self._lock:
            value = self._values.get(run_id, {}).get((step_key, output))
        if value is not None:
            return value, None
        self._flush()
        query = sa.select(op_outputs.c.value, op_outputs.c.url).where(
            op_outputs.c.run_id == run_id,
            op_outputs.c.step_key == step_key,
            op_outputs.c.output == output,
        )
        with self._engine.connect() as connection:
            row = connection.execute(query).first()
        return (row.value and bytes(row.value), row.url) if row else None

    def of_run(self, run_id: str) -> list[tuple[str, str, bytes | None]]:
        """Return all outputs of a run (step key, output, value); of those in files the value is None."""
        query = sa.select(op_outputs.c.step_key, op_outputs.c.output, op_outputs.c.value)
        with self._engine.connect() as connection:
            rows = connection.execute(query.where(op_outputs.c.run_id == run_id)).all()
        return [(row.step_key, row.output, row.value and bytes(row.value)) for row in rows]

    def forget(self, run_id: str) -> None:
        """Drop what is in memory of a run."""
        with self._lock:
            self._values.pop(run_id, None)
