"""Events of webhook sources, as the sensors of `orchestration/events/hooks.py` read them: out of the inbox itself."""

from dataclasses import dataclass

import sqlalchemy as sa

from integrations.database.engine import Store
from integrations.database.tables import inbox


@dataclass(frozen=True, slots=True)
class HookedEvent:
    """One event of a source; `seq` grows, but may become visible a little after a larger one; `age_s` is in seconds."""

    seq: int
    event_id: str
    document: dict[str, object]
    age_s: float


class Hooked(Store):
    """Reads events; changes nothing."""

    def since(self, tenant: str, source: str, seq: int, *, without: list[int], limit: int) -> list[HookedEvent]:
        """Return the events of a source beyond `seq`, in their order."""
        age = sa.func.date_part("epoch", sa.func.now() - inbox.c.accepted_at)
        query = (
            sa.select(inbox.c.seq, inbox.c.event_id, inbox.c.body["args"], age)
            .where(
                inbox.c.tenant == tenant,
                inbox.c.channel == "webhook",
                inbox.c.conversation == source,
                inbox.c.body["trigger"].astext == "event",
                inbox.c.seq > seq,
                inbox.c.seq.not_in(without),
            )
            .order_by(inbox.c.seq)
            .limit(limit)
        )
        with self._statement() as connection:
            return [HookedEvent(row[0], row[1], row[2] or {}, row[3]) for row in connection.execute(query)]

    def end(self) -> int:
        """Return the place behind all that is there."""
        with self._statement() as connection:
            return connection.scalar(sa.select(sa.func.coalesce(sa.func.max(inbox.c.seq), 0))) or 0
