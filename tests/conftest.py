"""A real PostgreSQL for all tests: one server per test process, a fresh database from a template per test."""

import os
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from orchestration.supervise.ray_head import IN_ONE_LOOP

if TYPE_CHECKING:
    from integrations.database import Database
    from tests.chroma import ChromaServer

# Whatever takes long to import is imported where it is used: the process that only hands tests out loads this, too.

# Ray reads these when it is imported: it stays on loopback, requires one token from all that a test starts, and does
# not connect by itself when a thread of Serve's asks something after the test that had connected.
_ray_token = tempfile.NamedTemporaryFile("w", prefix="runbell-test-")  # noqa: SIM115 - until the process ends
_ray_token.write(secrets.token_hex(32))
_ray_token.flush()
os.environ.update(RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0", RAY_AUTH_MODE="token", RAY_AUTH_TOKEN_PATH=_ray_token.name)
os.environ["RAY_ENABLE_AUTO_CONNECT"] = "0"
os.environ.update(IN_ONE_LOOP)  # as in an installation


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of an empty embedded server; its commits don't wait for the disk."""
    from integrations.database.disposable import embedded_server

    with embedded_server() as server:
        yield server.get_uri()


@pytest.fixture
def own_server() -> Iterator[Any]:
    """A PostgreSQL server that may be stopped."""
    from integrations.database.disposable import embedded_server
    from integrations.database.migrate import migrate

    with embedded_server(durable=True) as server:
        migrate(server.get_uri())
        yield server


@pytest.fixture(scope="session")
def database_template(postgres: str) -> str:
    from integrations.database.disposable import new_template
    from integrations.database.migrate import migrate

    migrate(new_template(postgres, "runbell_template"))
    return "runbell_template"


@pytest.fixture
def database_url(postgres: str, database_template: str) -> Iterator[str]:
    """The URL of a fresh, migrated database."""
    from integrations.database.disposable import fresh_database

    with fresh_database(postgres, database_template) as url:
        yield url


@pytest.fixture
def database(database_url: str, tmp_path: Path) -> "Iterator[Database]":
    from integrations.database import Database

    database = Database(database_url, files=tmp_path / "files", pool_size=8)
    yield database
    database.close()


@pytest.fixture(scope="session")
def chroma(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[ChromaServer]":
    """One Chroma server per test process; tests keep apart by scope. Whoever kills it starts it again."""
    from tests.chroma import ChromaServer

    server = ChromaServer(tmp_path_factory.mktemp("chroma"))
    server.start()
    yield server
    server.stop()


def _named(url: str, name: str) -> str:
    import sqlalchemy as sa

    return sa.make_url(url).set(database=name).render_as_string(hide_password=False)
