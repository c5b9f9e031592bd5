"""Answers that grow on networks: which gateway shows them, and what another one needs to put an end to them.

While its lease holds, only the gateway that shows an answer delivers the final state (`Outbox.lease` leaves it
alone); so nothing half follows the whole. When that gateway is gone, another one finds the `handle` here: it goes on
showing the answer (`adopt`), or puts the final state into the place of the half one.
"""

from collections.abc import Collection

import sqlalchemy as sa

from integrations.database.channel_tables import growing
from integrations.database.engine import Store
from integrations.messages import InboundMessage

LEASE_S = 6.0
"""Seconds for which the final state waits for a gateway that shows nothing more."""

# The lock on the inbox row keeps its answer from being written between the look and the lease.
_BEGIN = sa.text("""
    insert into runbell.growing (message_id, gateway, lease_until)
    select i.id, :gateway, clock_timestamp() + make_interval(secs => :lease) from (
      select id from runbell.inbox where id = :id and state in ('received', 'running', 'waiting') for share) i
    on conflict (message_id) do nothing returning message_id
""")
_KEEP = sa.text("""
    update runbell.growing set lease_until = clock_timestamp() + make_interval(secs => :lease)
    where message_id = any(cast(:ids as uuid[])) and gateway = :gateway returning message_id
""")
_ADOPT = sa.text("""
    with alone as (
      select g.message_id, i.body from runbell.growing g join runbell.inbox i on i.id = g.message_id
      where g.lease_until < clock_timestamp() and g.handle like :handles and i.channel = any(cast(:channels as text[]))
        and i.state in ('received', 'running', 'waiting')
        and i.accepted_at > clock_timestamp() - make_interval(secs => :young)
        and g.message_id <> all(cast(:but as uuid[]))
      order by i.seq limit :limit for update of g skip locked)
    update runbell.growing as g set gateway = :gateway, lease_until = clock_timestamp() + make_interval(secs => :lease)
    from alone where g.message_id = alone.message_id returning cast(g.message_id as text), g.handle, alone.body
""")


class GrowingAnswers(Store):
    """One row per answer that is seen growing somewhere; gone once its final state was delivered."""

    def begin(self, message_id: str, gateway: str, *, lease_s: float = LEASE_S) -> bool:
        """Note that this gateway is about to show an answer; False where it is settled or another one shows it."""
        with self._statement() as connection:
            values = {"id": message_id, "gateway": gateway, "lease": lease_s}
            return connection.execute(_BEGIN, values).first() is not None

    def shown(self, message_id: str, handle: str) -> None:
        """Note what finds the half answer again."""
        with self._statement() as connection:
            connection.execute(sa.update(growing).where(growing.c.message_id == message_id).values(handle=handle))

    def keep(self, message_ids: Collection[str], gateway: str, *, lease_s: float = LEASE_S) -> set[str]:
        """Go on holding these, and return those that are still this gateway's; 0 seconds let them go."""
        with self._statement() as connection:
            kept = connection.scalars(_KEEP, {"ids": list(message_ids), "gateway": gateway, "lease": lease_s})
            return {str(message_id) for message_id in kept}

    def adopt(
        self,
        gateway: str,
        channels: Collection[str],
        *,
        but: Collection[str],
        handles: str,
        younger_s: float,
        limit: int,
    ) -> list[tuple[str, str, InboundMessage]]:
        """Take over what nobody shows any longer though it is not settled: ids, handles (`like` this) and questions."""
        values = {"gateway": gateway, "channels": list(channels), "handles": handles, "young": younger_s}
        values["but"] = list(but)
        with self._statement() as connection:
            rows = connection.execute(_ADOPT, {**values, "limit": limit, "lease": LEASE_S}).all()
        return [(row[0], row[1], InboundMessage.model_validate(row[2])) for row in rows]

    def handle(self, message_id: str) -> str | None:
        """Return what finds the half answer of a message, None where nothing was shown."""
        with self._statement() as connection:
            return connection.scalar(sa.select(growing.c.handle).where(growing.c.message_id == message_id))
