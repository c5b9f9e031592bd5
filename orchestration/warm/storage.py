"""Dagster's PostgreSQL storages with pooled connections, cached schema checks and, in workers, group commit.

The schema is the stock one. Outside workers every event is stored at once, as in stock Dagster. What goes into one
commit is `commits`' and `writing`'s matter.
"""

import threading
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import dagster as dg
import sqlalchemy as sa
from dagster_postgres.event_log.event_log import PostgresEventLogStorage
from dagster_postgres.run_storage.run_storage import PostgresRunStorage
from dagster_postgres.schedule_storage.schedule_storage import PostgresScheduleStorage
from dagster_postgres.utils import pg_url_from_config
from sqlalchemy.exc import IntegrityError

from integrations.database.engine import LET_GO, discard_broken, driver_url
from orchestration.warm.commits import GroupCommit, Row
from orchestration.warm.internals import (
    ASSET_CHECK_EVENTS,
    ASSET_EVENTS,
    FINISHED_STATUSES,
    ConfigurableClassData,
    DagsterEvent,
    DagsterRunAlreadyExists,
    EventLogEntry,
    InstigatorState,
    RunsTable,
    RunTagsTable,
    ScheduleInstigatorData,
)
from orchestration.warm.interrupt import shielded
from orchestration.warm.outputs import Outputs
from orchestration.warm.writing import Writer, commit_engine, status_of

POOL_SIZE = 8
_engines: dict[str, sa.Engine] = {}
_engines_lock = threading.Lock()


def shared_engine(url: str) -> sa.Engine:
    """Return this process's pool for Dagster's tables; it commits by statement, as Dagster expects."""
    address = driver_url(url, "psycopg2")
    key = address.render_as_string(hide_password=False)
    with _engines_lock:
        if key not in _engines:
            _engines[key] = engine = sa.create_engine(
                address,
                isolation_level="AUTOCOMMIT",
                pool_size=POOL_SIZE,
                max_overflow=8,  # a server takes 100 connections as it comes, and there are several workers
                pool_timeout=20,
                connect_args={"application_name": "runbell-dagster", "connect_timeout": 5, "options": LET_GO},
            )
            discard_broken(engine)
        return _engines[key]


def _psycopg2(config: Mapping[str, Any]) -> str:
    return driver_url(pg_url_from_config(config), "psycopg2").render_as_string(hide_password=False)


class WarmRunStorage(PostgresRunStorage):
    """Runs, pooled; what can't change any more is asked for once."""

    def __init__(self, postgres_url: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._known: dict[tuple[str, str], bool] = {}  # before Dagster's constructor, which may ask
        self.events: WarmEventLogStorage | None = None
        """Commits a run that this process holds together with the run's first events."""
        super().__init__(postgres_url, inst_data=inst_data)
        self._engine = shared_engine(postgres_url)

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> "WarmRunStorage":
        """Build from dagster.yaml."""
        return cls(_psycopg2(config_value), inst_data=inst_data)

    def optimize_for_webserver(self, *_: object, **__: object) -> None:
        """Keep the shared pool: Dagster's own for the webserver breaks when the database is restarted."""

    def handle_run_event(self, run_id: str, event: DagsterEvent, update_timestamp: datetime | None = None) -> None:
        """Bring a run's status along; who asks for its end may be overtaken by it, and then changes nothing."""
        if event.event_type is dg.DagsterEventType.PIPELINE_CANCELING:
            records = self.get_run_records(dg.RunsFilter(run_ids=[run_id]), limit=1)
            if any(record.dagster_run.status in FINISHED_STATUSES for record in records):
                return
        super().handle_run_event(run_id, event, update_timestamp)

    def has_run_stats_index_cols(self) -> bool:
        """Tell whether the schema has these columns."""
        return self._once("schema", "run_stats", super().has_run_stats_index_cols)

    def has_backfill_id_column(self) -> bool:
        """Tell whether the schema has this column."""
        return self._once("schema", "backfill_id", super().has_backfill_id_column)

    def has_job_snapshot(self, job_snapshot_id: str) -> bool:
        """Tell whether the snapshot is stored; snapshots are never removed."""
        return self._once("job", job_snapshot_id, lambda: super(WarmRunStorage, self).has_job_snapshot(job_snapshot_id))

    def has_execution_plan_snapshot(self, execution_plan_snapshot_id: str) -> bool:
        """Tell whether the snapshot is stored; snapshots are never removed."""
        ask = super().has_execution_plan_snapshot
        return self._once("plan", execution_plan_snapshot_id, lambda: ask(execution_plan_snapshot_id))

    def _core_add_run(self, col_values: dict[str, Any], tags: Mapping[str, str]) -> None:
        run_id = col_values["run_id"]
        if self.events is not None and self.events.holds(run_id):
            values = {"update_timestamp": col_values["create_timestamp"], "tags": dict(tags), **col_values}
            self.events.append(Row("created", run_id, values))
            return
        # Dagster commits the run first and its tags then: a crash between leaves a run without tags.
        try:
            with self._engine.execution_options(isolation_level="READ COMMITTED").begin() as connection:
                connection.execute(RunsTable.insert().values(**col_values))
                if tags:
                    rows = [{"run_id": run_id, "key": key, "value": value} for key, value in tags.items()]
                    connection.execute(RunTagsTable.insert(), rows)
        except IntegrityError as error:
            raise DagsterRunAlreadyExists from error

    def _once(self, kind: str, name: str, ask: Callable[[], object]) -> bool:
        if not self._known.get((kind, name)):
            # A "no" is asked again: a migration or another process may have made it a "yes".
            if len(self._known) > 10_000:
                self._known.clear()
            self._known[kind, name] = bool(ask())
        return self._known[kind, name]


class _Carried(threading.local):
    status = False


class WarmEventLogStorage(PostgresEventLogStorage):
    """Events, pooled; in workers, step events are committed in groups and always before their run's status."""

    def __init__(self, postgres_url: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._tables: set[str] = set()
        self._carried = _Carried()
        super().__init__(postgres_url, inst_data=inst_data)
        self._engine = shared_engine(postgres_url)
        self._commits: GroupCommit | None = None
        self._commit_engine = commit_engine(postgres_url)
        self.writer = Writer(self._commit_engine)
        self.outputs = Outputs(self._engine, self.append, self.flush)

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> "WarmEventLogStorage":
        """Build from dagster.yaml."""
        return cls(_psycopg2(config_value), inst_data=inst_data)

    def optimize_for_webserver(self, *_: object, **__: object) -> None:
        """Keep the shared pool: Dagster's own for the webserver breaks when the database is restarted."""

    @property
    def engine(self) -> sa.Engine:
        """This process's connections to the database."""
        return self._engine

    def gather(self) -> None:
        """Commit step events in groups from now on: for workers, whose runs are resumed when events are lost."""
        if self._commits is None:
            self._commits = GroupCommit(self.writer.write)

    def store_event(self, event: EventLogEntry) -> None:
        """Store an event, or gather it where its run goes on without it being durable."""
        self._carried.status = False
        with shielded():
            if self._commits is None:
                super().store_event(event)
            elif _is_asset_event(event):
                self._commits.flush(event.run_id)
                super().store_event(event)
            else:
                self._gather(self._commits, event)

    @property
    def handles_run_events_in_store_event(self) -> bool:
        """Tell whether the event that this thread has just stored brought its run's status along."""
        return self._carried.status

    def _gather(self, commits: GroupCommit, event: EventLogEntry) -> None:
        commits.add(Row("event", event.run_id, self._event_to_row(event)))
        if event.dagster_event is None or not event.dagster_event.is_job_event:
            return
        if (status := status_of(event)) is not None:
            commits.add(Row("run", event.run_id, status))
        commits.flush(event.run_id)
        self._carried.status = status is not None

    def append(self, row: Row) -> None:
        """Store a row of another table together with the events around it."""
        if self._commits is None:
            self.writer.write([row])
        else:
            self._commits.add(row)

    def flush(self, run_id: str | None = None) -> None:
        """Block until all that was gathered is stored. Raises `LeaseLost` where the run was claimed by another."""
        if self._commits is not None:
            with shielded():
                self._commits.flush(run_id)

    def hold(self, run_id: str, token: int) -> None:
        """Write this run's rows under the token of its lease only."""
        if self._commits is not None:
            self._commits.admit(run_id, token)

    def holds(self, run_id: str) -> bool:
        """Tell whether this process executes the run, and commits in groups what it writes."""
        return self._commits is not None and self._commits.holds(run_id)

    def leave(self, run_id: str, *, lost: bool) -> None:
        """Stop writing for a run; where its lease was lost, drop what has not been stored."""
        if self._commits is not None:
            if lost:
                self._commits.refuse(run_id)
            else:
                self._commits.flush(run_id)
                self._commits.release(run_id)
        self.outputs.forget(run_id)

    def has_table(self, table_name: str) -> bool:
        """Tell whether the schema has a table."""
        if table_name not in self._tables and super().has_table(table_name):
            self._tables.add(table_name)
        return table_name in self._tables

    def dispose(self) -> None:
        """Store what is left."""
        if self._commits is not None:
            self._commits.close()
            self._commits = None
        self._commit_engine.dispose()
        super().dispose()


class WarmScheduleStorage(PostgresScheduleStorage):
    """Ticks and instigators, pooled."""

    def __init__(self, postgres_url: str, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(postgres_url, inst_data=inst_data)
        self._engine = shared_engine(postgres_url)

    def optimize_for_webserver(self, *_: object, **__: object) -> None:
        """Keep the shared pool: Dagster's own for the webserver breaks when the database is restarted."""

    def update_instigator_state(self, state: InstigatorState) -> InstigatorState:
        """Store a state; what the daemon notes of an evaluation does not switch on what was switched off during it.

        Only those notes have the instant of an iteration: whoever starts a schedule begins without.
        """
        data = state.instigator_data
        if isinstance(data, ScheduleInstigatorData) and data.last_iteration_timestamp and state.is_running:
            stored = self.get_instigator_state(state.instigator_origin_id, state.selector_id)
            if stored is not None and not stored.is_running:
                state = state.with_status(stored.status)
        return super().update_instigator_state(state)

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> "WarmScheduleStorage":
        """Build from dagster.yaml."""
        return cls(_psycopg2(config_value), inst_data=inst_data)


def _is_asset_event(event: EventLogEntry) -> bool:
    if not event.is_dagster_event:
        return False
    kind = event.dagster_event_type
    return kind in ASSET_EVENTS or kind in ASSET_CHECK_EVENTS
