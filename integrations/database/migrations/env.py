"""Alembic's entry point; the connection comes from `migrate.py`."""

from alembic import context

from integrations.database.channel_tables import metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    version_table_schema="runbell",
    include_schemas=True,
    include_name=lambda name, kind, _parents: kind != "schema" or name == "runbell",
)
with context.begin_transaction():
    context.run_migrations()
