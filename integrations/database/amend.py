"""Messages that their senders change or take back while nobody has begun to work on them."""

import sqlalchemy as sa

from integrations.database.engine import Store
from integrations.database.receiving import command_word
from integrations.messages import InboundMessage

_CHANGE = sa.text("""
    update runbell.inbox set body = body || jsonb_build_object('text', cast(:text as text)), word = :word
    where tenant = :tenant and channel = :channel and conversation = :conversation and account = :account
      and state = 'received' and (lease_until is null or lease_until < clock_timestamp()) and body ->> 'ref' = :subject
    returning cast(id as text)
""")
_TAKE_BACK = sa.text("""
    update runbell.inbox set state = 'dead', error = 'taken back by its sender'
    where tenant = :tenant and channel = :channel and conversation = :conversation and account = :account
      and state = 'received' and (lease_until is null or lease_until < clock_timestamp()) and body ->> 'ref' = :subject
    returning cast(id as text)
""")


class Amendments(Store):
    """What has been begun stays as it was."""

    def apply(self, message: InboundMessage) -> str | None:
        """Change or take back the message that this one is about; return its id, None where that is too late.

        Only its own sender may. Idempotent.
        """
        values = {**message.address.model_dump(), "account": message.account, "subject": message.subject}
        statement = _TAKE_BACK
        if message.kind == "edit":
            statement, values = _CHANGE, {**values, "text": message.text, "word": command_word(message)}
        with self._transaction() as connection:
            return connection.execute(statement, values).scalars().first()
