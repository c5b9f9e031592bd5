"""The end of a message that an action has sent: it wakes the run that sent it, if that waits for the answer.

Who ends such a message holds first its row, then the run that waits (`hold_event`), then the turns of conversations.
"""

import sqlalchemy as sa

from integrations.database.events import hold_event, put_event
from integrations.database.settling import Asked
from integrations.messages import BY_ACTION

SETTLED = "runbell.settled"
"""The event that wakes a run; its key is the message's id. It only wakes: the message says how it ended."""


def hold_sender(connection: sa.Connection, question: Asked) -> None:
    """Hold the run that waits for this message, if one does, until commit."""
    if question.event_id.startswith(BY_ACTION):
        hold_event(connection, question.address.tenant, SETTLED, question.message_id)


def wake_sender(connection: sa.Connection, question: Asked) -> None:
    """Tell the run that waits for this message that it is settled, in the transaction that settles it."""
    if question.event_id.startswith(BY_ACTION):
        hold_sender(connection, question)
        put_event(connection, question.address.tenant, SETTLED, question.message_id, {})
