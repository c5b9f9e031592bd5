"""What happened within a span of time, in numbers: for the digest."""

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from integrations.database.engine import Store

_MESSAGES = sa.text("""
    select state, count(*) as n, count(distinct principal_id) as people,
      count(distinct (channel, conversation)) as conversations
    from runbell.inbox where tenant = :tenant and accepted_at >= :since and accepted_at < :until
    group by grouping sets ((), (state))
""")
_MEDIAN = sa.text("""
    select percentile_cont(0.5) within group (order by extract(epoch from replied_at - accepted_at))
    from runbell.inbox where tenant = :tenant and accepted_at >= :since and accepted_at < :until
      and state = 'answered'
""")
_TOKENS = sa.text("""
    select count(*), coalesce(sum(tokens_in), 0), coalesce(sum(tokens_out), 0)
    from runbell.usage where tenant = :tenant and at >= :since and at < :until and from_cache is not true
""")


@dataclass(frozen=True, slots=True)
class Traffic:
    """Messages and model calls of a tenant within a span; `median_s` is None where nothing was answered."""

    messages: int
    answered: int
    failed: int
    people: int
    conversations: int
    median_s: float | None
    model_calls: int
    tokens_in: int
    tokens_out: int


class Daily(Store):
    """Sums over a span of time; nothing here changes anything."""

    def traffic(self, tenant: str, since: datetime, until: datetime) -> Traffic:
        """Return what came in from `since` (included) to `until` (not included)."""
        values = {"tenant": tenant, "since": since, "until": until}
        with self._transaction() as connection:
            rows = connection.execute(_MESSAGES, values).all()
            median = connection.scalar(_MEDIAN, values)
            calls = connection.execute(_TOKENS, values).one()
        by_state = {row.state: row.n for row in rows if row.state is not None}
        total = next(row for row in rows if row.state is None)
        return Traffic(
            messages=total.n,
            answered=by_state.get("answered", 0),
            failed=by_state.get("failed", 0) + by_state.get("dead", 0),
            people=total.people,
            conversations=total.conversations,
            median_s=None if median is None else float(median),
            model_calls=int(calls[0]),
            tokens_in=int(calls[1]),
            tokens_out=int(calls[2]),
        )
