"""The tables of runs and of the workers that carry them out; see `tables.py` for the rest."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from integrations.database.tables import NOW, Instant, inbox, metadata

run_queue = sa.Table(
    "run_queue",
    metadata,
    sa.Column("run_id", sa.Text, primary_key=True),
    sa.Column("seq", sa.BigInteger, sa.Identity(always=True), nullable=False),
    sa.Column("location", sa.Text, nullable=False),
    sa.Column("job", sa.Text, nullable=False),
    # Null where Dagster has the run already (launchpad, schedule, sensor); else the worker creates it.
    sa.Column("request", JSONB),
    sa.Column("message_id", sa.Uuid(as_uuid=False), sa.ForeignKey(inbox.c.id, ondelete="SET NULL")),
    sa.Column("tenant", sa.Text, nullable=False, server_default="default"),
    sa.Column("principal_id", sa.Text),
    sa.Column("priority", sa.SmallInteger, nullable=False, server_default="0"),
    sa.Column("state", sa.Text, nullable=False, server_default="queued"),
    sa.Column("attempts", sa.SmallInteger, nullable=False, server_default="0"),
    sa.Column("claimed_by", sa.Text),
    sa.Column("token", sa.BigInteger),
    sa.Column("lease_until", Instant),
    sa.Column("available_at", Instant, nullable=False, server_default=NOW),
    sa.Column("cancel_requested_at", Instant),
    sa.Column("parked", JSONB),
    sa.Column("version", sa.Text),
    # The run that goes on where this one failed, and the one that does it all again (`follow_ups.py`).
    sa.Column("retried_by", sa.Text),
    sa.Column("repeated_by", sa.Text),
    # Of the runs of this key, at most so many run at once (`turns.py`).
    sa.Column("concurrency_key", sa.Text),
    sa.Column("concurrency", sa.Integer),
    sa.Column("created_at", Instant, nullable=False, server_default=NOW),
    sa.Column("finished_at", Instant),
    sa.CheckConstraint("state in ('queued','running','parked','finished')", name="state"),
)
sa.Index(
    "run_queue_ready_ix",
    run_queue.c.location,
    run_queue.c.priority,
    run_queue.c.seq,
    postgresql_where=run_queue.c.state != "finished",
)
sa.Index("run_queue_message_ix", run_queue.c.message_id)
sa.Index(
    "run_queue_turns_ix",
    run_queue.c.tenant,
    run_queue.c.concurrency_key,
    postgresql_where=sa.and_(run_queue.c.concurrency_key.is_not(None), run_queue.c.state != "finished"),
)

lease_tokens = sa.Sequence("lease_tokens", metadata=metadata, data_type=sa.BigInteger)

workers = sa.Table(
    "workers",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("location", sa.Text, nullable=False),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column("threads", sa.SmallInteger, nullable=False),
    sa.Column("busy", sa.SmallInteger, nullable=False, server_default="0"),
    sa.Column("version", sa.Text, nullable=False, server_default=""),
    sa.Column("state", sa.Text, nullable=False, server_default="ready"),
    sa.Column("started_at", Instant, nullable=False, server_default=NOW),
    sa.Column("heartbeat_at", Instant, nullable=False, server_default=NOW),
    sa.Column("texts", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("texts_known", sa.BigInteger, nullable=False, server_default="0"),
)

# Outputs of ops up to 64 KB; larger ones are files, and `url` points at them.
op_outputs = sa.Table(
    "op_outputs",
    metadata,
    sa.Column("run_id", sa.Text, primary_key=True),
    sa.Column("step_key", sa.Text, primary_key=True),
    sa.Column("output", sa.Text, primary_key=True),
    sa.Column("value", sa.LargeBinary),
    sa.Column("url", sa.Text),
    sa.Column("at", Instant, nullable=False, server_default=NOW),
)
sa.Index("op_outputs_at_ix", op_outputs.c.at)

# Captured stdout, stderr and logging of runs.
op_logs = sa.Table(
    "op_logs",
    metadata,
    sa.Column("run_id", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("stream", sa.Text, primary_key=True),
    sa.Column("seq", sa.Integer, primary_key=True),
    sa.Column("data", sa.LargeBinary, nullable=False),
    sa.Column("at", Instant, nullable=False, server_default=NOW),
)
sa.Index("op_logs_at_ix", op_logs.c.at)
