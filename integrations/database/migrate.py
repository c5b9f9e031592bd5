"""Bring a database to the newest schema. Dagster migrates its own tables."""

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from integrations.database.engine import driver_url

HERE = Path(__file__).parent / "migrations"


def _config(connection: sa.Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(HERE))
    config.attributes["connection"] = connection
    return config


def migrate(url: str) -> None:
    """Create or upgrade our tables. Idempotent; two at once wait for each other."""
    engine = sa.create_engine(driver_url(url), poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.execute(sa.text("select pg_advisory_xact_lock(727566)"))
        connection.execute(sa.text("create schema if not exists runbell"))
        command.upgrade(_config(connection), "head")
    engine.dispose()


def is_current(engine: sa.Engine) -> bool:
    """Return whether the schema is the newest."""
    with engine.connect() as connection:
        if not sa.inspect(connection).has_table("alembic_version", schema="runbell"):
            return False
        version = connection.scalar(sa.text("select version_num from runbell.alembic_version"))
    return version == ScriptDirectory.from_config(_config()).get_current_head()
