"""The database of a test session: one embedded PostgreSQL, and a copy of a prepared database for each house."""

import tempfile
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import dagster as dg
import yaml

from integrations.database.disposable import embedded_server, fresh_database, new_template
from integrations.database.migrate import migrate
from integrations.settings import Settings
from orchestration.warm.dagster_yaml import dagster_yaml
from orchestration.warm.instance import WarmInstance

_TEMPLATE = "runbell_testing"


class Server:
    """Starts when the first database is asked for; `close` ends it and removes its files."""

    def __init__(self) -> None:
        self._opened = ExitStack()
        self._url = ""

    @contextmanager
    def database(self) -> Generator[str]:
        """Give the URL of a fresh database with all tables, ours and Dagster's; it is dropped at the end."""
        with fresh_database(self._started(), _TEMPLATE) as url:
            yield url

    def close(self) -> None:
        """Stop the server, if it runs."""
        self._opened.close()
        self._url = ""

    def _started(self) -> str:
        if not self._url:
            self._url = str(self._opened.enter_context(embedded_server()).get_uri())
            template = new_template(self._url, _TEMPLATE)
            migrate(template)
            with tempfile.TemporaryDirectory(prefix="runbell-testing-") as home:
                open_instance(Settings(home=Path(home)), template).dispose()
        return self._url


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
