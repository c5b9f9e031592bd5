"""The database of a running installation, for the few commands that need more than the gateway tells."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from integrations.database import Database
from integrations.errors import Unavailable
from integrations.gateway.client import NotUp
from integrations.security.secrets import resolve
from integrations.settings import Settings
from orchestration.supervise.home import read_json


@contextmanager
def opened(settings: Settings, endpoints: Path) -> Generator[Database]:
    """Open it; raises NotUp where nothing runs."""
    url = read_json(endpoints).get("database_url")
    if not isinstance(url, str):
        if settings.database.url is None:
            raise NotUp
        url = resolve(settings.database.url, name="database.url").get_secret_value()
    database = Database(url, files=settings.state / "files", pool_size=1, access=settings.access)
    try:
        yield database
    except Unavailable as error:
        raise NotUp from error
    finally:
        database.close()
