"""How long every table keeps its rows (I9); `sweep` is run by the housekeeping job.

Words go after 30 days of detail (inbox and outbox bodies, progress, logs, op outputs); the bare facts of a
message stay for a year. The transcript is the conversation itself and stays for a year. What is unfinished stays.
"""

from dataclasses import dataclass

import sqlalchemy as sa

from integrations.database.engine import Store

BATCH = 5_000
"""Rows per statement, so that a sweep never holds many locks for long."""


@dataclass(frozen=True, slots=True)
class Keep:
    """Days for which rows are kept."""

    detail: int = 30
    summary: int = 365
    progress: int = 1
    failed: int = 90


@dataclass(frozen=True, slots=True)
class _Rule:
    table: str
    key: str
    where: str
    days: str


# Those of runs that went well go earlier, see `orchestration.warm.retention`; a parked run still needs them.
_ENDED = (
    "at < :before and not exists (select from runbell.run_queue q where q.run_id = {}.run_id and q.state <> 'finished')"
)
_DECIDED = (
    "exists (select from runbell.approvals a where a.id = {}.approval_id and a.decided_at < :before"
    " and a.state <> 'pending')"
)
# The end of a run that waits for days still takes the place of its card.
_OPEN = (
    "lease_until < :before and not exists (select from runbell.inbox i where i.id = growing.message_id"
    " and i.state in ('received', 'running', 'waiting'))"
)
# The days of this month are what budgets are reckoned by.
_PAST = "day < cast(:before as date) and day < cast(date_trunc('month', now() at time zone 'utc') as date)"
_RULES = (
    _Rule("progress", "message_id, seq", "at < :before", "progress"),
    _Rule("growing", "message_id", _OPEN, "progress"),
    _Rule("op_logs", "run_id, key, stream, seq", _ENDED.format("op_logs"), "failed"),
    _Rule("op_outputs", "run_id, step_key, output", _ENDED.format("op_outputs"), "failed"),
    _Rule("events", "id", "sent_at < :before", "detail"),
    _Rule("proposals", "id", "expires_at < :before", "detail"),
    _Rule("approval_decisions", "approval_id, principal_id", _DECIDED.format("approval_decisions"), "summary"),
    _Rule("approval_cards", "approval_id, channel, conversation", _DECIDED.format("approval_cards"), "summary"),
    _Rule("approvals", "id", "decided_at < :before and state <> 'pending'", "summary"),
    _Rule("sealed", "id", "created_at < :before", "detail"),
    _Rule("answers", "tenant, digest", "expires_at < :before", "progress"),
    _Rule("questions", "tenant, channel, conversation, principal_id", "expires_at < :before", "progress"),
    _Rule("link_codes", "principal_id", "expires_at < :before", "progress"),
    _Rule("link_attempts", "tenant, channel, account", "since < :before", "progress"),
    _Rule("invitations", "digest", "expires_at < :before", "progress"),
    _Rule("installations", "tenant, channel, workspace", "changed_at < :before and ended <> ''", "failed"),
    _Rule("outbox", "id", "created_at < :before and state not in ('queued', 'sending')", "detail"),
    _Rule("run_queue", "run_id", "finished_at < :before and state = 'finished'", "detail"),
    _Rule("schedules", "id", "paused_at < :before", "summary"),
    _Rule("workers", "id", "heartbeat_at < :before", "progress"),
    _Rule("transcript", "id", "at < :before", "summary"),
    _Rule("usage", "id", "at < :before", "summary"),
    _Rule("spending", "tenant, day", _PAST, "summary"),
    _Rule("holds", "id", "until < :before", "progress"),
    _Rule("inbox", "id", "accepted_at < :before and state in ('answered', 'failed', 'dead')", "summary"),
    _Rule("conversations", "tenant, channel, conversation", "active_at < :before", "summary"),
)
_BLANK = sa.text("""
    update runbell.inbox set body = body - 'args' || '{"text": "", "attachments": []}' where id in (
      select id from runbell.inbox where accepted_at < :before and state in ('answered', 'failed', 'dead')
        and body ->> 'text' <> '' limit :batch)
""")


_FILES = sa.text("""
    select distinct a ->> 'id' from (
      select body from runbell.inbox where body -> 'attachments' <> '[]'
      union all select body from runbell.outbox where body -> 'attachments' <> '[]'
      union all select body from runbell.transcript where body -> 'attachments' <> '[]') as rows,
      jsonb_array_elements(rows.body -> 'attachments') as a
""")


class Retention(Store):
    """Removal of what has been kept long enough."""

    def sweep(self, keep: Keep) -> dict[str, int]:
        """Remove old rows, in small transactions, and return how many went per table."""
        gone: dict[str, int] = {}
        for rule in _RULES:
            statement = sa.text(
                f"delete from runbell.{rule.table} where ({rule.key}) in (select {rule.key}"  # noqa: S608 - constants
                f" from runbell.{rule.table} where {rule.where} limit :batch)"
            )
            gone[rule.table] = self._repeat(statement, getattr(keep, rule.days))
        gone["inbox words"] = self._repeat(_BLANK, keep.detail)
        return gone

    def files(self) -> set[str]:
        """Return the ids of all files that a message, an answer or a transcript still refers to."""
        with self._statement() as connection:
            return {str(file_id) for file_id in connection.scalars(_FILES)}

    def _repeat(self, statement: sa.TextClause, days: int) -> int:
        total = 0
        while True:
            with self._transaction() as connection:
                before = connection.scalar(sa.text("select now() - make_interval(days => :days)"), {"days": days})
                count = connection.execute(statement, {"before": before, "batch": BATCH}).rowcount
            total += count
            if count < BATCH:
                return total
