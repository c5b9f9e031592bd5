"""How long Dagster's own tables, and the files of op outputs, are kept; `integrations.database` minds our own tables.

Runs that have not ended keep everything, however long they wait. What failed keeps its events and outputs longer than
what went well: somebody may still look into it, or re-execute it. Events of assets are Dagster's catalogue and stay.
"""

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

BATCH = 5_000
"""Rows per statement."""
MOST_BATCHES = 400
"""Statements per rule and sweep; the rest waits for the next one."""
_DAY_S = 86_400

_WELL = "('SUCCESS', 'CANCELED')"
_ENDED = "('SUCCESS', 'CANCELED', 'FAILURE')"
_EVENTS = """delete from public.event_logs where id in (
    select e.id from public.event_logs e join public.runs r on r.run_id = e.run_id
    where r.status in {statuses} and r.end_time < :before and e.asset_key is null limit :batch)"""
_VALUES = """delete from runbell.{table} where ctid = any(array(
    select v.ctid from runbell.{table} v join public.runs r on r.run_id = v.run_id
    where r.status in ('SUCCESS', 'CANCELED') and r.end_time < :before limit :batch))"""
_RUNS = f"""delete from public.runs where id in (
    select id from public.runs where status in {_ENDED} and end_time < :before limit :batch)"""  # noqa: S608 - constants
_NEEDED = "select distinct run_id from runbell.op_outputs where url is not null"
_BYTES = """select sum(pg_total_relation_size(cast(name as regclass)))
    from unnest(array['public.runs', 'public.run_tags',
    'public.event_logs', 'runbell.run_queue', 'runbell.op_outputs', 'runbell.op_logs']) as name"""


@dataclass(frozen=True, slots=True)
class KeepRuns:
    """Days for which ended runs are kept: their detail, that of failed ones, their summary."""

    detail: int
    failed: int
    summary: int


def sweep(engine: sa.Engine, keep: KeepRuns, now: float) -> dict[str, int]:
    """Delete what is old, in small transactions; return how many rows went."""

    def before(days: int) -> float:
        return now - days * _DAY_S

    return {
        "events": _repeat(engine, _EVENTS.format(statuses=_WELL), before(keep.detail)),
        "events of failed runs": _repeat(engine, _EVENTS.format(statuses="('FAILURE')"), before(keep.failed)),
        "outputs": _repeat(engine, _VALUES.format(table="op_outputs"), before(keep.detail)),
        "logs": _repeat(engine, _VALUES.format(table="op_logs"), before(keep.detail)),
        "runs": _repeat(engine, _RUNS, before(keep.summary)),
    }


def sweep_files(engine: sa.Engine, folder: Path, older_than_days: int) -> int:
    """Delete the output files of runs that no row points at any more; return of how many runs."""
    with engine.connect() as connection:
        needed = set(connection.scalars(sa.text(_NEEDED)))
    limit, gone = time.time() - older_than_days * _DAY_S, 0
    for run in folder.glob("[0-9a-f][0-9a-f]/*"):
        if run.name not in needed and run.stat().st_mtime < limit:
            shutil.rmtree(run)
            gone += 1
    return gone


def bytes_per_run(engine: sa.Engine) -> int:
    """Return what the tables of runs take up, indexes included, per run that is kept."""
    with engine.connect() as connection:
        runs = connection.scalar(sa.text("select count(*) from public.runs"))
        size = connection.scalar(sa.text(_BYTES))
    return int(size or 0) // max(int(runs or 0), 1)


def _repeat(engine: sa.Engine, statement: str, before: float) -> int:
    total = 0
    for _ in range(MOST_BATCHES):
        with engine.connect() as connection:
            count = connection.execute(sa.text(statement), {"before": before, "batch": BATCH}).rowcount
        total += count
        if count < BATCH:
            break
    return total
