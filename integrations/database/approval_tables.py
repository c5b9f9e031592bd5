"""The tables of approvals: what is wanted, what was said, and where it is shown."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from integrations.database.tables import NOW, Instant, metadata

approvals = sa.Table(
    "approvals",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("seq", sa.BigInteger, sa.Identity(always=True), nullable=False),
    sa.Column("tenant", sa.Text, nullable=False),
    # What waits: `message:ID`, or `run:ID:STEP`.
    sa.Column("anchor", sa.Text, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("subject", sa.Text, nullable=False),
    # Exact, until they were used or never will be.
    sa.Column("args", JSONB),
    sa.Column("shown", sa.Text, nullable=False),
    sa.Column("effect", sa.Text, nullable=False, server_default=""),
    sa.Column("policy", JSONB, nullable=False),
    sa.Column("requester_id", sa.Text, nullable=False),
    sa.Column("requester_name", sa.Text, nullable=False, server_default=""),
    sa.Column("origin", JSONB),
    sa.Column("language", sa.Text, nullable=False, server_default="en"),
    sa.Column("message_id", sa.Uuid(as_uuid=False)),
    sa.Column("run_id", sa.Text),
    sa.Column("step", sa.Text),
    sa.Column("state", sa.Text, nullable=False, server_default="pending"),
    sa.Column("why", sa.Text, nullable=False, server_default=""),
    sa.Column("revision", sa.Integer, nullable=False, server_default="0"),
    sa.Column("delegates", JSONB, nullable=False, server_default="[]"),
    sa.Column("reminded", sa.Integer, nullable=False, server_default="0"),
    sa.Column("escalated_at", Instant),
    sa.Column("used_at", Instant),
    # When something is due: a reminder, the escalation, the end.
    sa.Column("next_at", Instant, nullable=False),
    sa.Column("created_at", Instant, nullable=False, server_default=NOW),
    sa.Column("expires_at", Instant, nullable=False),
    sa.Column("decided_at", Instant),
    sa.CheckConstraint("state in ('pending','approved','denied','expired','voided')", name="state"),
)
sa.Index("approvals_anchor_ix", approvals.c.anchor, approvals.c.seq)
sa.Index("approvals_pending_ix", approvals.c.next_at, postgresql_where=approvals.c.state == "pending")
sa.Index("approvals_created_ix", approvals.c.created_at)

decisions = sa.Table(
    "approval_decisions",
    metadata,
    sa.Column("approval_id", sa.Text, sa.ForeignKey(approvals.c.id, ondelete="CASCADE"), primary_key=True),
    # One word per person, whichever account they say it from.
    sa.Column("principal_id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("verdict", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False, server_default=""),
    sa.Column("via", sa.Text, nullable=False, server_default=""),
    sa.Column("at", Instant, nullable=False, server_default=sa.func.clock_timestamp()),
    sa.CheckConstraint("verdict in ('approve','deny')", name="verdict"),
)

cards = sa.Table(
    "approval_cards",
    metadata,
    sa.Column("approval_id", sa.Text, sa.ForeignKey(approvals.c.id, ondelete="CASCADE"), primary_key=True),
    sa.Column("channel", sa.Text, primary_key=True),
    sa.Column("conversation", sa.Text, primary_key=True),
    # The outbox key of the card that is edited.
    sa.Column("key", sa.Text, nullable=False),
)
