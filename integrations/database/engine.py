"""Connections to PostgreSQL, and the base of all stores."""

from collections.abc import Generator
from contextlib import contextmanager

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from integrations.errors import Unavailable


def driver_url(url: str, driver: str = "psycopg") -> sa.URL:
    """Return `url` with the driver named: SQLAlchemy's default differs from Dagster's."""
    return sa.make_url(url).set(drivername=f"postgresql+{driver}")


def connect(url: str, *, pool_size: int = 16, durable: bool = True, name: str = "runbell") -> sa.Engine:
    """Return a pooled engine. `durable=False` commits without waiting for the disk: for live views only."""
    options = "-c statement_timeout=30000 -c timezone=UTC"
    if not durable:
        options += " -c synchronous_commit=off"
    return sa.create_engine(
        driver_url(url),
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_timeout=20,
        pool_pre_ping=True,
        connect_args={"options": options, "application_name": name, "connect_timeout": 5},
    )


class Store:
    """A group of tables with the transactions that keep them right. Thread-safe; every method blocks."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    @contextmanager
    def _transaction(self) -> Generator[sa.Connection]:
        """Open a transaction; raise `Unavailable` where the server is away or breaks off."""
        try:
            with self._engine.begin() as connection:
                yield connection
        except (OperationalError, InterfaceError, PoolTimeout) as error:
            raise Unavailable(f"the database is not available: {_first_line(error)}", after=1.0) from error
        except DBAPIError as error:
            if error.connection_invalidated:
                raise Unavailable("the database broke the connection off", after=1.0) from error
            raise


def _first_line(error: Exception) -> str:
    return (str(getattr(error, "orig", None) or error).strip().splitlines() or [""])[0]


def notify(connection: sa.Connection, channel: str, payload: str = "") -> None:
    """Wake the listeners of `channel` when this transaction commits."""
    connection.execute(sa.select(sa.func.pg_notify(channel, payload)))


def in_turn(connection: sa.Connection, tenant: str, channel: str, conversation: str) -> None:
    """Serialise writers of one conversation until commit, so that its transcript ids become visible in order."""
    key = f"{tenant}\x1f{channel}\x1f{conversation}"
    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(key, 0))))
