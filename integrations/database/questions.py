"""Questions for missing arguments: what was asked of whom, where, and what is known already.

The next free text of that person in that conversation is the answer. A question ends with the next run of theirs
there, with `/stop`, or by itself.
"""

from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from integrations.database.channel_tables import questions
from integrations.database.engine import Store
from integrations.database.records import Pending
from integrations.messages import Address

TTL_S = 600.0


class Questions(Store):
    """One question per person and conversation."""

    def open(self, address: Address, principal_id: str) -> Pending | None:
        """Return what waits for this person's answer here, or None."""
        query = sa.select(questions).where(_of(address, principal_id), questions.c.expires_at > sa.func.now())
        with self._transaction() as connection:
            row = connection.execute(query).first()
        return Pending(row.command, row.args, row.argument, row.language) if row else None

    def drop(self, address: Address, principal_id: str) -> bool:
        """Ask no further; False where nothing was asked."""
        with self._transaction() as connection:
            return close_question(connection, address, principal_id)


def put_question(connection: sa.Connection, address: Address, principal_id: str, pending: Pending) -> None:
    """Ask this, and nothing that was asked before, within the caller's transaction."""
    values = {
        "command": pending.command,
        "args": pending.args,
        "argument": pending.argument,
        "language": pending.language,
        "expires_at": sa.func.now() + timedelta(seconds=TTL_S),
    }
    row = insert(questions).values(**address.model_dump(), principal_id=principal_id, **values)
    place = ["tenant", "channel", "conversation", "principal_id"]
    connection.execute(row.on_conflict_do_update(index_elements=place, set_=values))


def close_question(connection: sa.Connection, address: Address, principal_id: str) -> bool:
    """Ask no further, within the caller's transaction; False where nothing was asked any longer."""
    done = connection.execute(
        sa.delete(questions).where(_of(address, principal_id)).returning(questions.c.expires_at > sa.func.now())
    )
    return bool(done.scalar())


def _of(address: Address, principal_id: str) -> sa.ColumnElement[bool]:
    return sa.and_(
        questions.c.tenant == address.tenant,
        questions.c.channel == address.channel,
        questions.c.conversation == address.conversation,
        questions.c.principal_id == principal_id,
    )
