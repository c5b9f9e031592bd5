"""Answers that grow on networks: which gateway shows them, and what another one needs to put an end to them.

While its lease holds, only the gateway that shows an answer delivers the final state (`Outbox.lease` leaves it
alone); so nothing half follows the whole. When that gateway is gone, another one finds the `handle` here and puts the
final state into the place of the half one.
"""

from collections.abc import Collection

import sqlalchemy as sa

from integrations.database.channel_tables import growing
from integrations.database.engine import Store

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
    where message_id = any(cast(:ids as uuid[])) and gateway = :gateway
""")


class GrowingAnswers(Store):
    """One row per answer that is seen growing somewhere; gone once its final state was delivered."""

    def begin(self, message_id: str, gateway: str, *, lease_s: float = LEASE_S) -> bool:
        """Note that this gateway is about to show an answer; False where it is settled or another one shows it."""
        with self._transaction() as connection:
            values = {"id": message_id, "gateway": gateway, "lease": lease_s}
            return connection.execute(_BEGIN, values).first() is not None

    def shown(self, message_id: str, handle: str) -> None:
        """Note what finds the half answer again."""
        with self._transaction() as connection:
            connection.execute(sa.update(growing).where(growing.c.message_id == message_id).values(handle=handle))

    def keep(self, message_ids: Collection[str], gateway: str, *, lease_s: float = LEASE_S) -> None:
        """Go on holding these; 0 seconds let them go."""
        with self._transaction() as connection:
            connection.execute(_KEEP, {"ids": list(message_ids), "gateway": gateway, "lease": lease_s})

    def handle(self, message_id: str) -> str | None:
        """Return what finds the half answer of a message, None where nothing was shown."""
        with self._transaction() as connection:
            return connection.scalar(sa.select(growing.c.handle).where(growing.c.message_id == message_id))
