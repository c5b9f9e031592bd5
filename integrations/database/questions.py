"""Questions for missing arguments: what was asked of whom, where, and what is known already.

The next free text of that person in that conversation is the answer, or the form that is shown beside the question. A
question ends with the next run of theirs there, with `/stop`, or by itself; its form's end stands in the transcript.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from integrations.database.channel_tables import questions
from integrations.database.conversation import append_entry
from integrations.database.engine import Store, in_turn
from integrations.database.records import ClaimedMessage, Pending
from integrations.messages import Address, InboundMessage, OutboundMessage

TTL_S = 600.0


class Questions(Store):
    """One question per person and conversation."""

    def open(self, address: Address, principal_id: str) -> Pending | None:
        """Return what waits for this person's answer here, or None."""
        query = sa.select(questions).where(_of(address, principal_id), questions.c.expires_at > sa.func.now())
        with self._statement() as connection:
            row = connection.execute(query).first()
        return Pending(row.command, row.args, row.argument, row.language, row.form) if row else None

    def drop(self, address: Address, principal_id: str, *, form: str | None = None) -> bool:
        """Ask no further; False where nothing was asked. With `form`, only the question that this form asks."""
        with self._transaction() as connection:
            return _close(connection, address, principal_id, "cancelled", only=form)


def put_question(
    connection: sa.Connection,
    claimed: ClaimedMessage,
    principal_id: str,
    pending: Pending,
    replies: Sequence[OutboundMessage],
) -> list[OutboundMessage]:
    """Ask this, and nothing that was asked before, within the caller's transaction; name the forms among the replies.

    A form that was asked for before, as `pending` says, keeps its name.
    """
    address, key = claimed.message.address, pending.form or claimed.message_id
    if not asked_again(claimed.message, pending):
        _close(connection, address, principal_id, "replaced")
    values = {
        "command": pending.command,
        "args": pending.args,
        "argument": pending.argument,
        "language": pending.language,
        "form": key if any(reply.form for reply in replies) else None,
        "expires_at": sa.func.now() + timedelta(seconds=TTL_S),
    }
    row = insert(questions).values(**address.model_dump(), principal_id=principal_id, **values)
    place = ["tenant", "channel", "conversation", "principal_id"]
    written = row.on_conflict_do_update(index_elements=place, set_=values).returning(questions.c.expires_at)
    until = connection.execute(written).scalar_one()
    return [_named(reply, key, until) for reply in replies]


def asked_again(message: InboundMessage, pending: Pending | None) -> bool:
    """Whether the form that was sent is asked for once more."""
    return pending is not None and pending.form is not None and pending.form == message.subject


def close_question(connection: sa.Connection, address: Address, principal_id: str, command: str) -> None:
    """Ask no further, since this command (or, where blank, something else) begins, within the caller's transaction."""
    _close(connection, address, principal_id, "answered", asked_for=command)


def _close(
    connection: sa.Connection,
    address: Address,
    principal_id: str,
    state: str,
    *,
    asked_for: str | None = None,
    only: str | None = None,
) -> bool:
    """Take a question away and show the end of its form; False where nothing was asked any longer."""
    where = _of(address, principal_id)
    if only is not None:
        where = sa.and_(where, questions.c.form == only)
    if connection.scalar(sa.select(questions.c.command).where(where)) is None:
        return False
    in_turn(connection, address.tenant, address.channel, address.conversation)
    taken = questions.c.expires_at > sa.func.now(), questions.c.form, questions.c.command
    row = connection.execute(sa.delete(questions).where(where).returning(*taken)).first()
    if row is None:
        return False
    if row.form is not None:
        ended = "expired" if not row[0] else "replaced" if asked_for not in (None, row.command) else state
        body: dict[str, object] = {"form": {"key": row.form, "state": ended}}
        append_entry(connection, address, "form", body, None, principal_id=principal_id)
    return bool(row[0])


def _named(reply: OutboundMessage, key: str, until: datetime) -> OutboundMessage:
    if reply.form is None:
        return reply
    return reply.model_copy(update={"form": reply.form.model_copy(update={"key": key, "until": until})})


def _of(address: Address, principal_id: str) -> sa.ColumnElement[bool]:
    return sa.and_(
        questions.c.tenant == address.tenant,
        questions.c.channel == address.channel,
        questions.c.conversation == address.conversation,
        questions.c.principal_id == principal_id,
    )
