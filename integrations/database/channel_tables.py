"""Tables of what channels need besides messages; see `tables.py` for the rest."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from integrations.database.tables import Instant, metadata, principals

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
    # The name of the form that asks for the same.
    sa.Column("form", sa.Text),
    sa.Column("expires_at", Instant, nullable=False),
)

# The newest code of each principal; `used_by` is the account that it tied.
link_codes = sa.Table(
    "link_codes",
    metadata,
    sa.Column("principal_id", sa.Text, sa.ForeignKey(principals.c.id, ondelete="CASCADE"), primary_key=True),
    sa.Column("tenant", sa.Text, nullable=False),
    sa.Column("digest", sa.LargeBinary, nullable=False, unique=True),
    # Where it was asked for, and its owner is told what became of it.
    sa.Column("channel", sa.Text, nullable=False),
    sa.Column("conversation", sa.Text, nullable=False),
    sa.Column("expires_at", Instant, nullable=False),
    sa.Column("used_by", sa.Text),
)

link_attempts = sa.Table(
    "link_attempts",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("channel", sa.Text, primary_key=True),
    sa.Column("account", sa.Text, primary_key=True),
    sa.Column("count", sa.SmallInteger, nullable=False),
    sa.Column("since", Instant, nullable=False),
)

# Where an app was installed over OAuth. `sealed` holds its tokens and is blank once they are of no use; `version` grows
# with each change of them, and one gateway at a time, until `refreshing_until`, exchanges them.
installations = sa.Table(
    "installations",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("channel", sa.Text, primary_key=True),
    sa.Column("workspace", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("bot", sa.Text, nullable=False),
    sa.Column("sealed", sa.LargeBinary),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("expires_at", Instant),
    sa.Column("refreshing_until", Instant),
    # Why it does not work any more; blank while it does.
    sa.Column("ended", sa.Text, nullable=False),
    sa.Column("changed_at", Instant, nullable=False),
)

# One row per invitation that was opened: its newest state, and when an installation used it up.
invitations = sa.Table(
    "invitations",
    metadata,
    sa.Column("digest", sa.LargeBinary, primary_key=True),
    sa.Column("state", sa.LargeBinary, unique=True),
    sa.Column("state_until", Instant, nullable=False),
    sa.Column("expires_at", Instant, nullable=False),
)
