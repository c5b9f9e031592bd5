"""`python -m orchestration.supervise.prepare`: bring all tables to the newest form, ours and Dagster's.

A process of its own, because the supervisor does not load Dagster or SQLAlchemy. The tables of Dagster are looked
at only when its version changed: asking takes seconds.
"""

import os
import sys
from importlib.metadata import version
from pathlib import Path

import psycopg

from integrations.database.migrate import migrate
from integrations.settings import Settings
from integrations.telemetry.setup import setup

MARK = "tables"


def main() -> None:
    """Migrate; the exit status tells whether that went well."""
    setup("prepare")
    settings = Settings()
    url = settings.database.url
    if url is None:
        sys.exit("no database URL: this is started by `runbell up`")
    migrate(url)
    mark = settings.state / "dagster" / MARK
    if not _has_dagster_tables(url) or _read(mark) != _versions():
        _migrate_dagster()
        mark.write_text(_versions(), encoding="utf-8")


def _versions() -> str:
    return " ".join(f"{name}={version(name)}" for name in ("dagster", "dagster-postgres"))


def _read(mark: Path) -> str:
    return mark.read_text(encoding="utf-8") if mark.exists() else ""


def _has_dagster_tables(url: str) -> bool:
    with psycopg.connect(url, connect_timeout=5) as connection:
        row = connection.execute("select to_regclass('public.event_logs'), to_regclass('public.job_ticks')").fetchone()
    return row is not None and None not in row


def _migrate_dagster() -> None:
    from dagster import DagsterInstance

    with DagsterInstance.from_config(os.environ["DAGSTER_HOME"]) as instance:
        instance.upgrade()


if __name__ == "__main__":
    main()
