"""Figures about the whole database: readiness, metrics, and look-ups that only the gateway needs."""

import json
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from integrations.database.engine import Store
from integrations.database.migrate import is_current
from integrations.messages import Address, Attachment, run_id_for

RUNLESS_LOOKED_AT = 2000


@dataclass(frozen=True, slots=True)
class Depth:
    """How many rows stand in one state, and how old the oldest is in seconds."""

    place: str
    state: str
    count: int
    oldest_s: float


@dataclass(frozen=True, slots=True)
class ModelCall:
    """One row of the usage ledger."""

    id: int
    model: str
    tokens_in: int
    tokens_out: int
    total_ms: float
    first_token_ms: float | None
    tokens_cached: int
    from_cache: bool | None


# Each reads a partial index: what is finished is not looked at, however much is kept.
_DEPTHS = {
    "inbox": """
        select channel, state, count(*), extract(epoch from clock_timestamp() - min(accepted_at))::float
        from runbell.inbox where state in ('received', 'running') group by 1, 2""",
    "runs": """
        select location, state, count(*), extract(epoch from clock_timestamp() - min(created_at))::float
        from runbell.run_queue where state <> 'finished' group by 1, 2""",
    "outbox": """
        select channel, state, count(*), extract(epoch from clock_timestamp() - min(created_at))::float
        from runbell.outbox where state in ('queued', 'sending') group by 1, 2""",
    "undelivered": """
        select channel, state, count(*), extract(epoch from clock_timestamp() - min(created_at))::float
        from runbell.outbox where state in ('unknown', 'failed', 'dead') group by 1, 2""",
}
_RUNS_MADE = """
    select coalesce(last_value, 0) from pg_sequences
    where schemaname = 'runbell' and sequencename = 'run_queue_seq_seq'"""
_CALLS = """
    select id, model, tokens_in, tokens_out, total_ms, first_token_ms, tokens_cached, from_cache from runbell.usage
    where id > :after order by id limit 10000"""
_LAST_CALL = "select coalesce(max(id), 0) from runbell.usage where at < :before"
_RUNLESS_COMMANDS = """
    select cast(id as text) from runbell.inbox
    where run_id is null and tenant = :tenant and body->>'command' is not null
      and (state = 'received' or accepted_at > clock_timestamp() - interval '1 day')
    order by seq desc limit :limit"""
_HOLDERS = """
    select tenant, channel, conversation, body->'attachments' from runbell.transcript
    where tenant = :tenant and body @> cast(:body as jsonb) order by id desc limit 20"""


class Figures(Store):
    """Aggregates; nothing here changes anything."""

    def is_migrated(self) -> bool:
        """Return whether the schema is the newest; raises Unavailable without the server."""
        with self._transaction():
            return is_current(self._engine)

    def depths(self) -> dict[str, list[Depth]]:
        """Return what waits or is worked on, for `inbox`, `runs` and `outbox`, and what was not delivered."""
        with self._transaction() as connection:
            return {
                name: [Depth(row[0], row[1], row[2], row[3] or 0.0) for row in connection.execute(sa.text(query))]
                for name, query in _DEPTHS.items()
            }

    def runs_made(self) -> int:
        """Return how many runs were ever queued."""
        with self._statement() as connection:
            return int(connection.scalar(sa.text(_RUNS_MADE)) or 0)

    def last_call(self, before: datetime) -> int:
        """Return the id of the latest model call before that instant, or 0."""
        with self._statement() as connection:
            return int(connection.scalar(sa.text(_LAST_CALL), {"before": before}) or 0)

    def calls_after(self, after: int) -> list[ModelCall]:
        """Return up to 10,000 model calls that came after the id, in order."""
        with self._statement() as connection:
            return [ModelCall(*row) for row in connection.execute(sa.text(_CALLS), {"after": after})]

    def without_run(self, tenant: str, run_id: str) -> str | None:
        """Return the message that will become this run or was refused as one, among the latest commands without one."""
        values = {"tenant": tenant, "limit": RUNLESS_LOOKED_AT}
        with self._statement() as connection:
            ids = connection.scalars(sa.text(_RUNLESS_COMMANDS), values).all()
        return next((message_id for message_id in ids if run_id_for(message_id) == run_id), None)

    def holders(self, tenant: str, file_id: str) -> list[tuple[Address, Attachment]]:
        """Return where this file is shown, and as what, the latest first."""
        body = json.dumps({"attachments": [{"id": file_id}]})
        with self._statement() as connection:
            rows = connection.execute(sa.text(_HOLDERS), {"tenant": tenant, "body": body}).all()
        return [
            (Address(tenant=row[0], channel=row[1], conversation=row[2]), Attachment(**shown))
            for row in rows
            for shown in row[3]
            if shown["id"] == file_id
        ]
