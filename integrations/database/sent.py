"""Messages that actions of runs have sent, as the runs look at them; `awaiting` wakes a run when one has ended."""

import sqlalchemy as sa

from integrations.database.awaiting import SETTLED
from integrations.database.engine import Store
from integrations.database.events import take_all
from integrations.database.records import MessageView, RunClaim
from integrations.database.settling import check_fence
from integrations.database.tables import inbox
from integrations.database.views import message_view
from integrations.messages import Address, sent_as


class SentMessages(Store):
    """Finding and awaiting them."""

    def find(self, key: str, address: Address) -> str | None:
        """Return the id of the message that was sent here under an idempotency key; None where none was."""
        query = sa.select(inbox.c.id).where(
            inbox.c.tenant == address.tenant,
            inbox.c.channel == address.channel,
            inbox.c.event_id == sent_as(key),
        )
        with self._statement() as connection:
            return connection.scalar(query)

    def awaited(self, claim: RunClaim, step: str, message_id: str) -> MessageView | None:
        """Return a message that an op waits for, as it stands; None where it is gone. Raises `LeaseLost`.

        What woke the run is taken; it may have been forged, and says nothing of the message.
        """
        with self._transaction() as connection:
            check_fence(connection, claim.run_id, claim.token)
            take_all(connection, claim, step, SETTLED, message_id)
            # Read behind the taking: whoever ends the message later sends an event that is still there.
            return message_view(connection, message_id)
