"""Tables of what channels need besides messages; see `tables.py` for the rest."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from integrations.database.tables import Instant, metadata

growing = sa.Table(
    "growing",
    metadata,
    sa.Column("message_id", sa.Uuid(as_uuid=False), primary_key=True),
    # What the channel needs to find the half answer: a platform id, mostly.
    sa.Column("handle", sa.Text),
    sa.Column("gateway", sa.Text, nullable=False),
    sa.Column("lease_until", Instant, nullable=False),
)

# At most one per person and conversation: what was asked of them last.
questions = sa.Table(
    "questions",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("channel", sa.Text, primary_key=True),
    sa.Column("conversation", sa.Text, primary_key=True),
    sa.Column("principal_id", sa.Text, primary_key=True),
    sa.Column("command", sa.Text, nullable=False),
    sa.Column("args", JSONB, nullable=False),
    sa.Column("argument", sa.Text, nullable=False),
    sa.Column("language", sa.Text, nullable=False),
    sa.Column("expires_at", Instant, nullable=False),
)
