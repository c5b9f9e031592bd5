"""Messages that their senders change or take back while nobody has begun to work on them.

One that waits for an approval, or has it but not yet its run, loses it: what was approved is not what is said now.
"""

import sqlalchemy as sa

from integrations.approvals import words
from integrations.database.approval_asking import live_approvals, supersede
from integrations.database.engine import Store, notify
from integrations.database.receiving import command_word
from integrations.messages import InboundMessage

_MINE = """
    where tenant = :tenant and channel = :channel and conversation = :conversation and account = :account
      and body ->> 'ref' = :subject and (lease_until is null or lease_until < clock_timestamp())
      and (state = 'received' or (state = 'waiting' and exists (select from runbell.approvals a
        where a.anchor = 'message:' || cast(inbox.id as text) and a.state = 'pending')))
    returning cast(id as text)
"""
_CHANGE = sa.text(
    "update runbell.inbox set body = (body - 'approval') || jsonb_build_object('text', cast(:text as text)),"  # noqa: S608 - constants
    " word = :word, state = 'received', attempts = 0" + _MINE
)
_TAKE_BACK = sa.text(
    "update runbell.inbox set state = 'dead', error = 'taken back by its sender'" + _MINE  # noqa: S608 - constants
)


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
            message_id = connection.execute(statement, values).scalars().first()
            if message_id is not None:
                self._void(connection, message_id, message)
                notify(connection, "runbell_inbox")
        return message_id

    def _void(self, connection: sa.Connection, message_id: str, message: InboundMessage) -> None:
        changed = message.kind == "edit"
        english = "its message was changed" if changed else "its message was taken back"
        for found in live_approvals(connection, message_id):
            supersede(connection, found, words.say(found, english, "消息已修改" if changed else "消息已撤回"))
