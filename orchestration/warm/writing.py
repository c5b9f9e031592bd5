"""What a group commit writes: runs, events, statuses, outputs, log chunks; fenced by the runs' lease tokens.

A batch is one statement, and so one transaction and one round trip. It writes to Dagster's stock tables and to ours.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import cast

import dagster as dg
import sqlalchemy as sa

from integrations.database.engine import binary_arrays, discard_broken, driver_url, outages_told
from orchestration.warm.commits import Row
from orchestration.warm.internals import EventLogEntry, EventLogTable

_STATUSES = {
    dg.DagsterEventType.RUN_START.value: dg.DagsterRunStatus.STARTED,
    dg.DagsterEventType.RUN_SUCCESS.value: dg.DagsterRunStatus.SUCCESS,
}

# Locked until the commit: whoever claims a run after us sees these rows.
_FENCE = """
    held as materialized (
      select q.run_id from runbell.run_queue q
      join unnest(cast(:held as text[]), cast(:tokens as bigint[])) as h(run_id, token)
        on q.run_id = h.run_id and q.token = h.token
      order by q.run_id for share of q),
    refused as materialized (
      select h.run_id from unnest(cast(:held as text[])) as h(run_id)
      where h.run_id not in (select run_id from held))"""


@dataclass(frozen=True)
class _Part:
    """How the rows of one table are written; `{rows}` stands for those that are not refused, `{columns}` for all."""

    columns: Mapping[str, str]
    statement: str


PARTS = {
    # Its row brings the tags along: in another batch than their run they would be refused by the next part.
    "created": _Part(
        {
            **dict.fromkeys(("run_id", "snapshot_id", "pipeline_name", "status", "run_body"), "text"),
            **dict.fromkeys(("partition", "partition_set", "backfill_id"), "text"),
            "create_timestamp": "timestamptz",
            "update_timestamp": "timestamptz",
            "start_time": "float8",
            "end_time": "float8",
        },
        """created as (insert into public.runs ({columns}) select {columns} from {rows} on conflict (run_id) do nothing
          returning run_id)""",
    ),
    "tag": _Part(
        {"run_id": "text", "key": "text", "value": "text"},
        """tag as (insert into public.run_tags ({columns}) select {columns} from {rows}
          where run_id in (select run_id from created) order by place)""",
    ),
    "event": _Part(
        {
            **dict.fromkeys(("run_id", "event", "dagster_event_type", "step_key", "asset_key", "partition"), "text"),
            "timestamp": "timestamp",
        },
        "event as (insert into public.event_logs ({columns}) select {columns} from {rows} order by place)",
    ),
    "run": _Part(
        {
            "run_id": "text",
            "status": "text",
            "update_timestamp": "timestamptz",
            "start_time": "float8",
            "end_time": "float8",
        },
        """run as (update public.runs as r set status = n.status, update_timestamp = n.update_timestamp,
          start_time = coalesce(n.start_time, r.start_time), end_time = coalesce(n.end_time, r.end_time)
          from {rows} as n where r.run_id = n.run_id
            and (n.status <> 'CANCELING' or r.status not in ('SUCCESS', 'FAILURE', 'CANCELED')))""",
    ),
    "output": _Part(
        {"run_id": "text", "step_key": "text", "output": "text", "value": "bytea", "url": "text"},
        """output as (insert into runbell.op_outputs ({columns}) select {columns} from {rows}
          on conflict (run_id, step_key, output)
          do update set value = excluded.value, url = excluded.url, at = now())""",
    ),
    "log": _Part(
        {"run_id": "text", "key": "text", "stream": "text", "seq": "int", "data": "bytea"},
        "log as (insert into runbell.op_logs ({columns}) select {columns} from {rows} on conflict do nothing)",
    ),
    "message": _Part(
        {"run_id": "text", "id": "uuid", "started_at": "timestamptz"},
        """message as (update runbell.inbox as i set started_at = coalesce(i.started_at, n.started_at)
          from {rows} as n where i.id = n.id)""",
    ),
    "finished": _Part(
        {"run_id": "text", "token": "bigint", "finished_at": "timestamptz"},
        """finished as (update runbell.run_queue as q set state = 'finished', finished_at = n.finished_at,
          claimed_by = null, lease_until = null from {rows} as n
          where q.run_id = n.run_id and q.token = n.token and q.state = 'running')""",
    ),
}
CANCELING = dg.DagsterRunStatus.CANCELING.value
_KEYS = {"run": ("run_id",), "output": ("run_id", "step_key", "output"), "created": ("run_id",)}
"""Tables of which a statement can write a row once only: the last one counts."""


def commit_engine(url: str) -> sa.Engine:
    """Return the connections for group commits; one is in use at a time, but for leaders that change."""
    # Looked up by key, always: a plan made while a table was small must not scan it when it has grown.
    options = "-c enable_seqscan=off -c enable_hashjoin=off -c enable_mergejoin=off -c jit=off"
    engine = sa.create_engine(
        driver_url(url),
        isolation_level="AUTOCOMMIT",
        pool_size=2,
        max_overflow=4,
        pool_timeout=20,
        connect_args={
            "options": f"{options} -c plan_cache_mode=force_generic_plan",
            "application_name": "runbell-commits",
            "connect_timeout": 5,
            "prepare_threshold": 1,
        },
    )
    discard_broken(engine)
    binary_arrays(engine)
    return engine


class Writer:
    """Stores rows in one transaction; rows of runs whose token in the queue is another one are refused."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def write(self, batch: list[Row], *, again: bool = False) -> set[str]:
        """Store the rows in order; returns the runs that were refused. Raises `Unavailable`.

        With `again`, looks first whether the lost answer of an earlier attempt was a yes.
        """
        held = {row.run_id: row.token for row in batch if row.token is not None}
        tables = _by_table(batch)
        values = {name: column for table, rows in tables.items() for name, column in _arrays(table, rows)}
        with outages_told(), self._engine.connect() as connection:
            if again and any(_is_stored(connection, row) for row in reversed(batch)):
                return set()
            fence = {"held": list(held), "tokens": list(held.values())}
            return set(connection.scalars(_statement(tuple(tables)), {**fence, **values}))


@lru_cache
def _statement(tables: tuple[str, ...]) -> sa.TextClause:
    """Return the statement that writes these tables and returns the runs that it refused."""
    parts = ",".join([_FENCE, *(_part(table) for table in tables)])
    return sa.text(f"with {parts} select run_id from refused")  # noqa: S608 - constants


def _part(table: str) -> str:
    part = PARTS[table]
    arrays = ", ".join(f"cast(:{table}_{name} as {kind}[])" for name, kind in part.columns.items())
    names = ", ".join(part.columns)
    rows = f"""(select * from unnest({arrays}) with ordinality as u({names}, place)
        where u.run_id not in (select run_id from refused))"""  # noqa: S608 - constants
    return part.statement.format(rows=rows if " as n" in part.statement else f"{rows} as n", columns=names)


def _by_table(batch: Iterable[Row]) -> dict[str, Sequence[Mapping[str, object]]]:
    """Sort the rows; the tables come in a fixed order, so that there are few different statements."""
    sorted_: dict[str, list[Mapping[str, object]]] = {}
    for row in batch:
        sorted_.setdefault(row.table, []).append({"run_id": row.run_id, **row.values})
    made = {str(values["run_id"]): values for values in sorted_.get("created", ())}
    # A statement does not see what it inserts itself: a run that is new gets its status at once.
    for status in sorted_.pop("run", []):
        run_id = str(status["run_id"])
        if run_id in made:
            made[run_id] = {**made[run_id], **status}
        else:
            sorted_.setdefault("run", []).append(status)
    if made:
        sorted_["created"] = list(made.values())
        sorted_["tag"] = [tag for values in made.values() for tag in _tags(values)]
    return {table: _last_of_each(table, sorted_[table]) for table in PARTS if sorted_.get(table)}


def _tags(created: Mapping[str, object]) -> Iterable[Mapping[str, object]]:
    tags = cast("Mapping[str, str]", created.get("tags") or {})
    return [{"run_id": created["run_id"], "key": key, "value": value} for key, value in tags.items()]


def _last_of_each(table: str, rows: Sequence[Mapping[str, object]]) -> Sequence[Mapping[str, object]]:
    if (key := _KEYS.get(table)) is None or len(rows) == 1:
        return rows
    if table == "run":
        # Whoever asks for a run's end may be overtaken by it.
        rows = sorted(rows, key=lambda row: row["status"] != CANCELING)
    return list({tuple(row[name] for name in key): row for row in rows}.values())


def _arrays(table: str, rows: Sequence[Mapping[str, object]]) -> Iterable[tuple[str, list[object]]]:
    for name in PARTS[table].columns:
        yield f"{table}_{name}", [row.get(name) for row in rows]


def status_of(event: EventLogEntry) -> Mapping[str, object] | None:
    """Return what the event changes in its run's row, where that is all that it means; else None.

    Dagster reads the status from its column, so the run's body need neither be read nor written for it.
    """
    kind = None if event.dagster_event is None else event.dagster_event.event_type_value
    status = _STATUSES.get(cast("str", kind))
    if status is None:
        return None
    at = datetime.fromtimestamp(event.timestamp, UTC)
    moment = "start_time" if status is dg.DagsterRunStatus.STARTED else "end_time"
    return {"status": status.value, "update_timestamp": at, moment: event.timestamp}


def _is_stored(connection: sa.Connection, row: Row) -> bool:
    if row.table != "event":
        return False
    table = EventLogTable
    query = sa.select(table.c.id).where(table.c.run_id == row.run_id, table.c.event == row.values["event"]).limit(1)
    return connection.execute(query).first() is not None
