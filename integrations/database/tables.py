"""The tables, all in the PostgreSQL schema `runbell`; Dagster's own stand beside them in `public`.

Every table has a retention (`retention.py`) or a bound. Instants are `timestamptz`.
"""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

metadata = sa.MetaData(
    schema="runbell",
    naming_convention={
        "ix": "%(table_name)s_%(column_0_N_name)s_ix",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "pk": "%(table_name)s_pkey",
        "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
        "ck": "%(table_name)s_%(constraint_name)s_check",
    },
)

Instant = sa.DateTime(timezone=True)
NOW = sa.func.now()

principals = sa.Table(
    "principals",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("tenant", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("roles", ARRAY(sa.Text), nullable=False, server_default="{user}"),
    sa.Column("created_at", Instant, nullable=False, server_default=NOW),
    sa.Column("disabled_at", Instant),
    # Whose hours schedules mean; null: the setting's.
    sa.Column("timezone", sa.Text),
)

accounts = sa.Table(
    "accounts",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("channel", sa.Text, primary_key=True),
    sa.Column("account", sa.Text, primary_key=True),
    sa.Column("principal_id", sa.Text, sa.ForeignKey(principals.c.id, ondelete="CASCADE"), nullable=False),
    # Whose it was before it was tied to another principal, and will be again.
    sa.Column("home_id", sa.Text),
    sa.Column("created_at", Instant, nullable=False, server_default=NOW),
)

inbox = sa.Table(
    "inbox",
    metadata,
    sa.Column("id", sa.Uuid(as_uuid=False), primary_key=True),
    sa.Column("seq", sa.BigInteger, sa.Identity(always=True), nullable=False, unique=True),
    sa.Column("tenant", sa.Text, nullable=False),
    sa.Column("channel", sa.Text, nullable=False),
    sa.Column("event_id", sa.Text, nullable=False),
    sa.Column("conversation", sa.Text, nullable=False),
    sa.Column("account", sa.Text, nullable=False),
    sa.Column("principal_id", sa.Text),
    sa.Column("body", JSONB, nullable=False),
    # The first word of "/word …", so that control commands are found without parsing: they overtake.
    sa.Column("word", sa.Text),
    sa.Column("priority", sa.SmallInteger, nullable=False, server_default="0"),
    sa.Column("state", sa.Text, nullable=False, server_default="received"),
    sa.Column("attempts", sa.SmallInteger, nullable=False, server_default="0"),
    sa.Column("claimed_by", sa.Text),
    sa.Column("token", sa.BigInteger),
    sa.Column("lease_until", Instant),
    sa.Column("run_id", sa.Text),
    sa.Column("error", sa.Text),
    sa.Column("traceparent", sa.Text),
    sa.Column("accepted_at", Instant, nullable=False, server_default=sa.func.clock_timestamp()),
    sa.Column("claimed_at", Instant),
    sa.Column("started_at", Instant),
    sa.Column("first_token_at", Instant),
    sa.Column("replied_at", Instant),
    sa.Column("delivered_at", Instant),
    sa.UniqueConstraint("tenant", "channel", "event_id"),
    sa.CheckConstraint("state in ('received','running','waiting','answered','failed','dead')", name="state"),
)
sa.Index("inbox_ready_ix", inbox.c.priority, inbox.c.seq, postgresql_where=inbox.c.state == "received")
sa.Index(
    "inbox_turn_ix",
    inbox.c.tenant,
    inbox.c.channel,
    inbox.c.conversation,
    inbox.c.seq,
    postgresql_where=inbox.c.state.in_(["received", "running"]),
)
sa.Index("inbox_run_ix", inbox.c.run_id)
sa.Index("inbox_accepted_ix", inbox.c.accepted_at)

outbox = sa.Table(
    "outbox",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    # One answer per message and part; one post per run, op and part: whoever comes second changes nothing.
    sa.Column("key", sa.Text, nullable=False, unique=True),
    sa.Column("tenant", sa.Text, nullable=False),
    sa.Column("channel", sa.Text, nullable=False),
    sa.Column("conversation", sa.Text, nullable=False),
    sa.Column("message_id", sa.Uuid(as_uuid=False)),
    sa.Column("run_id", sa.Text),
    sa.Column("body", JSONB, nullable=False),
    sa.Column("state", sa.Text, nullable=False, server_default="queued"),
    sa.Column("attempts", sa.SmallInteger, nullable=False, server_default="0"),
    sa.Column("available_at", Instant, nullable=False, server_default=NOW),
    sa.Column("claimed_by", sa.Text),
    sa.Column("lease_until", Instant),
    sa.Column("platform_id", sa.Text),
    sa.Column("error", sa.Text),
    sa.Column("traceparent", sa.Text),
    sa.Column("created_at", Instant, nullable=False, server_default=sa.func.clock_timestamp()),
    sa.Column("delivered_at", Instant),
    sa.CheckConstraint("state in ('queued','sending','sent','unknown','failed','dead','dropped')", name="state"),
)
sa.Index(
    "outbox_ready_ix",
    outbox.c.channel,
    outbox.c.available_at,
    outbox.c.id,
    postgresql_where=outbox.c.state.in_(["queued", "sending"]),
)
sa.Index(
    "outbox_turn_ix",
    outbox.c.tenant,
    outbox.c.channel,
    outbox.c.conversation,
    outbox.c.id,
    postgresql_where=outbox.c.state.in_(["queued", "sending"]),
)
sa.Index("outbox_message_ix", outbox.c.message_id)
sa.Index("outbox_undelivered_ix", outbox.c.id, postgresql_where=outbox.c.state.in_(["unknown", "failed", "dead"]))

transcript = sa.Table(
    "transcript",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("tenant", sa.Text, nullable=False),
    sa.Column("channel", sa.Text, nullable=False),
    sa.Column("conversation", sa.Text, nullable=False),
    sa.Column("message_id", sa.Uuid(as_uuid=False)),
    sa.Column("run_id", sa.Text),
    sa.Column("principal_id", sa.Text),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("body", JSONB, nullable=False),
    sa.Column("at", Instant, nullable=False, server_default=sa.func.clock_timestamp()),
)
sa.Index(
    "transcript_conversation_ix",
    transcript.c.tenant,
    transcript.c.channel,
    transcript.c.conversation,
    transcript.c.id,
)
sa.Index("transcript_principal_ix", transcript.c.principal_id)

conversations = sa.Table(
    "conversations",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("channel", sa.Text, primary_key=True),
    sa.Column("conversation", sa.Text, primary_key=True),
    sa.Column("direct", sa.Boolean, nullable=False, server_default=sa.true()),
    sa.Column("principal_id", sa.Text),
    sa.Column("title", sa.Text),
    sa.Column("model", sa.Text),
    sa.Column("created_at", Instant, nullable=False, server_default=NOW),
    sa.Column("active_at", Instant, nullable=False, server_default=NOW),
)

# What happens while a message is worked on (run, ops, tokens): for live views, gone soon after the answer.
progress = sa.Table(
    "progress",
    metadata,
    sa.Column("message_id", sa.Uuid(as_uuid=False), primary_key=True),
    sa.Column("seq", sa.Integer, primary_key=True),
    sa.Column("body", JSONB, nullable=False),
    sa.Column("at", Instant, nullable=False, server_default=sa.func.clock_timestamp()),
)
sa.Index("progress_at_ix", progress.c.at)

proposals = sa.Table(
    "proposals",
    metadata,
    sa.Column("id", sa.Uuid(as_uuid=False), primary_key=True),
    sa.Column("tenant", sa.Text, nullable=False),
    sa.Column("channel", sa.Text, nullable=False),
    sa.Column("conversation", sa.Text, nullable=False),
    sa.Column("principal_id", sa.Text, nullable=False),
    sa.Column("command", sa.Text, nullable=False),
    sa.Column("args", JSONB, nullable=False),
    sa.Column("created_at", Instant, nullable=False, server_default=NOW),
    sa.Column("expires_at", Instant, nullable=False),
    sa.Column("decided_at", Instant),
)
sa.Index(
    "proposals_open_ix",
    proposals.c.tenant,
    proposals.c.channel,
    proposals.c.conversation,
    proposals.c.principal_id,
    postgresql_where=proposals.c.decided_at.is_(None),
)

commands = sa.Table(
    "commands",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("location", sa.Text, nullable=False),
    sa.Column("job", sa.Text, nullable=False),
    sa.Column("spec", JSONB, nullable=False),
    sa.Column("updated_at", Instant, nullable=False, server_default=NOW),
)

# One row per call of a model: the ledger.
usage = sa.Table(
    "usage",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("tenant", sa.Text, nullable=False),
    sa.Column("principal_id", sa.Text),
    sa.Column("message_id", sa.Uuid(as_uuid=False)),
    sa.Column("run_id", sa.Text),
    sa.Column("op", sa.Text),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("tokens_in", sa.Integer, nullable=False),
    sa.Column("tokens_out", sa.Integer, nullable=False),
    sa.Column("first_token_ms", sa.Float),
    sa.Column("total_ms", sa.Float, nullable=False),
    sa.Column("at", Instant, nullable=False, server_default=NOW),
    sa.Column("route", sa.Text),
    sa.Column("job", sa.Text),
    sa.Column("tokens_cached", sa.Integer, nullable=False, server_default="0"),
    sa.Column("gpu_s", sa.Float, nullable=False, server_default="0"),
    sa.Column("price", sa.Float, nullable=False, server_default="0"),
    sa.Column("currency", sa.Text, nullable=False, server_default="USD"),
    sa.Column("from_cache", sa.Boolean),  # none where the route has no cache of answers
)
sa.Index("usage_at_ix", usage.c.at)
sa.Index("usage_tenant_ix", usage.c.tenant, usage.c.at)

# The ledger's prices by day, of which a budget is a sum; a trigger keeps it with each line.
spending = sa.Table(
    "spending",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("day", sa.Date, primary_key=True),
    sa.Column("price", sa.Float, nullable=False),
)

# What requests under way may cost at their longest. Written by `runbell.hold`; gone with the request's line.
holds = sa.Table(
    "holds",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("tenant", sa.Text, nullable=False),
    sa.Column("price", sa.Float, nullable=False),
    sa.Column("until", Instant, nullable=False),
)
sa.Index("holds_tenant_ix", holds.c.tenant)
