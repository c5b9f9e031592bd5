"""Connections to PostgreSQL, and the base of all stores."""

import logging
import select
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, TypeVar

import sqlalchemy as sa
from psycopg.types.array import ListBinaryDumper
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, InterfaceError, InvalidatePoolError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from integrations.errors import Unavailable

T = TypeVar("T")
log = logging.getLogger(__name__)

PING_AFTER_S = 30.0
"""A connection that was idle for longer is asked before its use: routers forget those who are silent."""


class _Met(threading.local):
    outages = 0


_met = _Met()


def outages_met() -> int:
    """Return how often the calling thread has found the database away, or without room, so far."""
    return _met.outages


def driver_url(url: str, driver: str = "psycopg") -> sa.URL:
    """Return `url` with the driver named: SQLAlchemy's default differs from Dagster's."""
    return sa.make_url(url).set(drivername=f"postgresql+{driver}")


LET_GO = "-c idle_in_transaction_session_timeout=15000"
"""A process that hangs within a transaction holds locks on what others shall take over: the server ends it."""


def connect(url: str, *, pool_size: int = 16, durable: bool = True, name: str = "runbell") -> sa.Engine:
    """Return a pooled engine. `durable=False` commits without waiting for the disk: for live views only."""
    options = f"-c statement_timeout=30000 -c timezone=UTC {LET_GO}"
    if not durable:
        options += " -c synchronous_commit=off"
    engine = sa.create_engine(
        driver_url(url),
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_timeout=20,
        connect_args={"options": options, "application_name": name, "connect_timeout": 5},
    )
    discard_broken(engine)
    by_transaction(engine)
    binary_arrays(engine)
    return engine


def by_transaction(engine: sa.Engine) -> None:
    """Hand out no connection that still commits by statement: a run that is stopped may leave one behind like that."""

    def taken(connection: Any, _record: Any, _proxy: Any) -> None:
        if connection.autocommit:
            connection.autocommit = False

    event.listen(engine, "checkout", taken)


def binary_arrays(engine: sa.Engine) -> None:
    """Send lists as PostgreSQL's binary arrays: the driver writes its text form a character at a time."""

    def connected(connection: Any, _: object) -> None:
        connection.adapters.register_dumper(list, ListBinaryDumper)

    event.listen(engine, "connect", connected)


def discard_broken(engine: sa.Engine) -> None:
    """Hand out no connection that the server has closed, without asking it: `pool_pre_ping` costs a statement each.

    Nothing is to be read from an idle connection, unless the server has ended it. Counts `outages_met`.
    """

    def released(_: object, record: Any) -> None:
        record.info["idle_since"] = time.monotonic()

    def taken(connection: Any, record: Any, _: object) -> None:
        idle_since = record.info.get("idle_since")
        if idle_since is None:
            return
        if _readable(connection) or (time.monotonic() - idle_since > PING_AFTER_S and not _answers(engine, connection)):
            raise InvalidatePoolError

    event.listen(engine, "checkin", released)
    event.listen(engine, "checkout", taken)
    event.listen(engine, "handle_error", _note_outage)


def _note_outage(context: Any) -> None:
    """Remember what is nobody's fault but the server's: no connection, no room, a shutdown."""
    error = context.original_exception
    state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    if context.is_disconnect or (
        isinstance(error, context.dialect.loaded_dbapi.OperationalError) and _is_outage(state)
    ):
        _met.outages += 1


def _is_outage(state: str | None) -> bool:
    return state is None or state.startswith(("08", "53", "57P", "58"))


def _readable(connection: Any) -> bool:
    if connection.closed:
        return True
    # Not `select`: a process with many runs has file descriptors beyond its limit.
    watch = select.poll()
    watch.register(connection.fileno(), select.POLLIN)
    return bool(watch.poll(0))


def _answers(engine: sa.Engine, connection: Any) -> bool:
    try:
        return bool(engine.dialect.do_ping(connection))
    except engine.dialect.loaded_dbapi.Error:
        return False


@contextmanager
def outages_told() -> Generator[None]:
    """Raise `Unavailable` where the server is away or breaks off in this block."""
    try:
        yield
    except (OperationalError, InterfaceError, PoolTimeout) as error:
        raise Unavailable(f"the database is not available: {_first_line(error)}", after=1.0) from error
    except DBAPIError as error:
        if error.connection_invalidated:
            raise Unavailable("the database broke the connection off", after=1.0) from error
        raise


def patiently(work: Callable[[], T], *, seconds: float = 30.0) -> T:
    """Do it again, on a fresh connection, where the database is away; raise `Unavailable` only after so long.

    For what changes nothing the second time: a connection that breaks does not tell whether the first was stored.
    """
    until, pause = time.monotonic() + seconds, 0.05
    while True:
        try:
            with outages_told():
                return work()
        except Unavailable as error:
            if time.monotonic() + pause > until:
                raise
            log.warning("trying again: %s", error)
        time.sleep(pause)
        pause = min(pause * 2, 2.0)


class Store:
    """A group of tables with the transactions that keep them right. Thread-safe; every method blocks."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._at_once = engine.execution_options(isolation_level="AUTOCOMMIT")

    @contextmanager
    def _transaction(self) -> Generator[sa.Connection]:
        """Open a transaction; raise `Unavailable` where the server is away or breaks off."""
        with outages_told(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def _statement(self) -> Generator[sa.Connection]:
        """Open a connection for one statement, which is a transaction by itself; begin and commit would be two more.

        Raises what `_transaction` raises.
        """
        with outages_told(), self._at_once.connect() as connection:
            yield connection


def _first_line(error: Exception) -> str:
    return (str(getattr(error, "orig", None) or error).strip().splitlines() or [""])[0]


ORDINARY = "-"
"""Payload on `runbell_inbox` where nothing has come that may overtake others, such as a control word."""


def notify(connection: sa.Connection, channel: str, payload: str = "") -> None:
    """Wake the listeners of `channel` when this transaction commits."""
    connection.execute(sa.select(sa.func.pg_notify(channel, payload)))


def notify_all(connection: sa.Connection, *told: tuple[str, str]) -> None:
    """Wake the listeners of several channels, as `notify` does, in one round trip."""
    connection.execute(sa.select(*(sa.func.pg_notify(channel, payload) for channel, payload in told)))


def in_turn(connection: sa.Connection, tenant: str, channel: str, conversation: str) -> None:
    """Serialise writers of one conversation until commit, so that its transcript ids become visible in order."""
    key = f"{tenant}\x1f{channel}\x1f{conversation}"
    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(key, 0))))
