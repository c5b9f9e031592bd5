"""The tables of schedules that were made in chat, and of events; see `tables.py` for the rest."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from integrations.database.tables import NOW, Instant, metadata, principals

# At most so many per principal as the setting allows. Whether it runs is Dagster's own state, which the UI shows.
schedules = sa.Table(
    "schedules",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    # What made it: a yes, or a program's message. The same again makes no second one.
    sa.Column("made_by", sa.Text, nullable=False, unique=True),
    sa.Column("tenant", sa.Text, nullable=False),
    sa.Column("channel", sa.Text, nullable=False),
    sa.Column("conversation", sa.Text, nullable=False),
    sa.Column("direct", sa.Boolean, nullable=False),
    sa.Column("principal_id", sa.Text, sa.ForeignKey(principals.c.id, ondelete="CASCADE"), nullable=False),
    sa.Column("account", sa.Text, nullable=False),
    sa.Column("language", sa.Text, nullable=False),
    sa.Column("said", sa.Text, nullable=False),
    sa.Column("cron", sa.Text, nullable=False),
    sa.Column("timezone", sa.Text, nullable=False),
    sa.Column("command", sa.Text, nullable=False),
    sa.Column("args", JSONB, nullable=False),
    sa.Column("missed", sa.Text, nullable=False),
    sa.Column("created_at", Instant, nullable=False, server_default=sa.func.clock_timestamp()),
    # Instants up to this one have been dealt with, whatever came of them.
    sa.Column("fired_until", Instant, nullable=False, server_default=NOW),
    sa.Column("last_message", sa.Uuid(as_uuid=False)),
    sa.Column("paused_at", Instant),
    sa.Column("paused_why", sa.Text),
    sa.CheckConstraint("missed in ('skip','once','all')", name="missed"),
)
sa.Index("schedules_principal_ix", schedules.c.principal_id)
