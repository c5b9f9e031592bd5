"""Tables of what channels need besides messages; see `tables.py` for the rest."""

import sqlalchemy as sa

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
