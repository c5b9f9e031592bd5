"""Workers that are killed for real in the middle of a statement, for tests.

A trigger holds the statement up until the worker is dead; its server side then goes on, as after any lost connection.
"""

import os
from collections.abc import Generator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.process import BaseProcess

import psycopg
import sqlalchemy as sa

from tests.warming import WarmHome

LOCK = 4242


def work(environment: dict[str, str], location: str) -> None:
    """Be a worker until killed."""
    os.environ.update(environment)
    from orchestration.warm.assembly import build_worker

    build_worker(location).start().done.wait()


@contextmanager
def worker(warm: WarmHome, location: str = "jobs") -> Generator[BaseProcess]:
    """Run a worker as a process; forked from one that has imported everything, it is there at once."""
    context = get_context("forkserver")
    context.set_forkserver_preload(
        [
            "dagster",
            "orchestration.warm.assembly",
            "orchestration.jobs.assistant",
            "orchestration.resources",
            "orchestration.commands.dispatch",
        ]
    )
    process = context.Process(target=work, args=(warm.environment, location), daemon=True)
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join(10)
        process.close()


@contextmanager
def held_up(warm: WarmHome, point: str) -> Generator[psycopg.Connection]:
    """Hold up whoever comes to a point, until the block ends."""
    what, _, when = point.partition(" ")
    with warm.database.engine.begin() as connection:
        connection.execute(
            sa.text(
                "create function hold_up() returns trigger language plpgsql as"
                f" $$ begin perform pg_advisory_xact_lock({LOCK}); return new; end $$"
            )
        )
        table, _, condition = when.removeprefix("on ").partition(" ")
        connection.execute(
            sa.text(
                f"create trigger hold_up before {what} on {table} for each row {condition} execute function hold_up()"
            )
        )
    with psycopg.connect(warm.database.url, autocommit=True) as holder:
        holder.execute("select pg_advisory_lock(%s)", [LOCK])
        yield holder


def is_there(holder: psycopg.Connection) -> bool:
    query = "select 1 from pg_locks where locktype = 'advisory' and objid = %s and not granted"
    return holder.execute(query, [LOCK]).fetchone() is not None
