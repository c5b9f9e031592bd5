"""Runs that may not all run at once: those of an equal concurrency key take turns in the queue, held by no worker."""

from dataclasses import dataclass

import sqlalchemy as sa

from integrations.database.engine import notify
from integrations.database.run_tables import run_queue


@dataclass(frozen=True, slots=True)
class AtOnce:
    """Of all runs of this key, at most so many run at once; a parked one counts."""

    key: str
    limit: int = 1


# Whether it is the turn of the queued run `q`. Those before it count even where they can't be claimed just now: who
# is before whom never changes, so two workers that ask at the same time can't both find room for different runs.
ITS_TURN = """(q.concurrency_key is null or q.state <> 'queued' or q.cancel_requested_at is not null or (
    select count(*) from runbell.run_queue o
    where o.tenant = q.tenant and o.concurrency_key = q.concurrency_key and (o.state in ('running', 'parked')
      or (o.state = 'queued' and (o.priority, o.seq) < (q.priority, q.seq)))) < q.concurrency)"""

_LOCK = sa.text("select pg_advisory_xact_lock(hashtextextended('concurrency' || :tenant || chr(31) || :key, 2))")


def is_free(connection: sa.Connection, tenant: str, at_once: AtOnce) -> bool:
    """Whether one more run of the key may begin at once; nobody else is told so before this transaction ends."""
    connection.execute(_LOCK, {"tenant": tenant, "key": at_once.key})
    unfinished = connection.scalar(sa.select(sa.func.count()).where(*_unfinished(tenant, at_once.key)))
    return (unfinished or 0) < at_once.limit


def wake_next(connection: sa.Connection, tenant: str, key: str) -> None:
    """Tell the workers of the run that is next."""
    waiting = sa.select(run_queue.c.location).where(*_unfinished(tenant, key), run_queue.c.state == "queued")
    location = connection.scalar(waiting.order_by(run_queue.c.priority, run_queue.c.seq).limit(1))
    if location is not None:
        notify(connection, "runbell_runs", location)


def _unfinished(tenant: str, key: str) -> tuple[sa.ColumnElement[bool], ...]:
    return run_queue.c.tenant == tenant, run_queue.c.concurrency_key == key, run_queue.c.state != "finished"
