"""Conversations and their transcript."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from integrations.database.channel_tables import questions
from integrations.database.engine import Store, in_turn
from integrations.database.records import Conversation, Entry, Shown, ShownForm
from integrations.database.tables import conversations, proposals, transcript
from integrations.messages import Address, Attachment, Choice, Form


def touch_conversation(connection: sa.Connection, address: Address, *, direct: bool, principal_id: str | None) -> None:
    """Record that a conversation exists and was active now."""
    row = insert(conversations).values(
        tenant=address.tenant,
        channel=address.channel,
        conversation=address.conversation,
        direct=direct,
        principal_id=principal_id if direct else None,
    )
    connection.execute(
        row.on_conflict_do_update(
            index_elements=["tenant", "channel", "conversation"],
            set_={"active_at": sa.func.now(), "direct": row.excluded.direct},
        )
    )


def append_entry(
    connection: sa.Connection,
    address: Address,
    role: str,
    body: dict[str, object],
    message_id: str | None,
    *,
    run_id: str | None = None,
    principal_id: str | None = None,
) -> int:
    """Append to the transcript and return the entry's id; the caller holds the conversation's turn."""
    return connection.execute(
        sa.insert(transcript)
        .values(
            tenant=address.tenant,
            channel=address.channel,
            conversation=address.conversation,
            message_id=message_id,
            run_id=run_id,
            principal_id=principal_id,
            role=role,
            body=body,
        )
        .returning(transcript.c.id)
    ).scalar_one()


def entry(row: Any) -> Entry:
    """Return a transcript row as an `Entry`."""
    body = row.body
    return Entry(
        id=row.id,
        address=Address(tenant=row.tenant, channel=row.channel, conversation=row.conversation),
        message_id=row.message_id,
        run_id=row.run_id,
        principal_id=row.principal_id,
        role=row.role,
        text=body.get("text", ""),
        at=row.at,
        attachments=tuple(Attachment(**a) for a in body.get("attachments", [])),
        choices=tuple(Choice(**c) for c in body.get("choices", [])),
        card=Shown(**body["card"]) if body.get("card") else None,
        form=_form(body["form"]) if body.get("form") else None,
    )


def _form(body: dict[str, Any]) -> ShownForm:
    if "state" in body:
        return ShownForm(**body)
    form = Form.model_validate(body)
    return ShownForm(form.key, "open", form)


_SHOWN = sa.text("""
    select distinct on (a.place) a.place, said.body
    from unnest(cast(:tenants as text[]), cast(:channels as text[]), cast(:conversations as text[]))
      with ordinality as a (tenant, channel, conversation, place)
    cross join lateral (
      select t.id, t.role, t.body from runbell.transcript t
      where t.tenant = a.tenant and t.channel = a.channel and t.conversation = a.conversation
      order by t.id desc limit 5) said
    where said.role = 'assistant' order by a.place, said.id desc
""")


def _of(address: Address, table: sa.Table = transcript) -> sa.ColumnElement[bool]:
    return sa.and_(
        table.c.tenant == address.tenant,
        table.c.channel == address.channel,
        table.c.conversation == address.conversation,
    )


def _within(table: sa.Table, address: Address, principal_id: str | None) -> sa.ColumnElement[bool]:
    """Return which rows belong to a conversation; with `principal_id`, to a direct one of that principal too."""
    here = _of(address, table)
    if principal_id is None:
        return here
    mine = sa.select(conversations.c.channel, conversations.c.conversation).where(
        conversations.c.tenant == address.tenant, conversations.c.principal_id == principal_id
    )
    there = sa.tuple_(table.c.channel, table.c.conversation).in_(mine)
    return sa.or_(here, sa.and_(table.c.tenant == address.tenant, there))


class Transcript(Store):
    """What was said, per conversation."""

    def recent(self, address: Address, *, limit: int = 20, before: int | None = None) -> list[Entry]:
        """Return the last entries of a conversation, oldest first; with `before`, those older than that id."""
        query = sa.select(transcript).where(_of(address)).order_by(transcript.c.id.desc()).limit(limit)
        if before is not None:
            query = query.where(transcript.c.id < before)
        with self._statement() as connection:
            return [entry(row) for row in reversed(connection.execute(query).all())]

    def after(self, address: Address, after: int, *, limit: int = 200) -> list[Entry]:
        """Return the entries of a conversation that came after the id, oldest first."""
        query = (
            sa.select(transcript).where(_of(address), transcript.c.id > after).order_by(transcript.c.id).limit(limit)
        )
        with self._statement() as connection:
            return [entry(row) for row in connection.execute(query)]

    def choices(self, addresses: Sequence[Address]) -> dict[Address, tuple[Choice, ...]]:
        """Return the choices of our last message in each of these conversations, where there are any.

        It must be among the last five things that were said there.
        """
        values = {
            "tenants": [address.tenant for address in addresses],
            "channels": [address.channel for address in addresses],
            "conversations": [address.conversation for address in addresses],
        }
        with self._statement() as connection:
            rows = connection.execute(_SHOWN, values).all()
        return {addresses[row.place - 1]: tuple(Choice(**c) for c in row.body.get("choices", [])) for row in rows}

    def owner(self, address: Address) -> tuple[bool, str | None] | None:
        """Return whether a conversation is direct and whose it is; None where it is not known yet."""
        known = self.known(address)
        return (known.direct, known.principal_id) if known else None

    def known(self, address: Address) -> Conversation | None:
        """Return what is kept of a conversation beside what was said; None where it is not known yet."""
        query = sa.select(conversations.c.direct, conversations.c.principal_id, conversations.c.model)
        with self._statement() as connection:
            row = connection.execute(query.where(_of(address, conversations))).first()
        return Conversation(row.direct, row.principal_id, row.model) if row else None

    def choose_model(self, address: Address, model: str | None) -> bool:
        """Let a model answer in a conversation, or whichever the routes name; False where it is not known yet."""
        with self._statement() as connection:
            done = connection.execute(sa.update(conversations).where(_of(address, conversations)).values(model=model))
        return done.rowcount == 1

    def named(self, tenant: str, conversation: str) -> list[Address]:
        """Return the conversations of this name, one per channel at most."""
        query = sa.select(conversations.c.channel).where(
            conversations.c.tenant == tenant, conversations.c.conversation == conversation
        )
        with self._statement() as connection:
            channels = connection.scalars(query).all()
        return [Address(tenant=tenant, channel=channel, conversation=conversation) for channel in channels]

    def conversations_of(self, tenant: str, principal_id: str, *, limit: int = 100) -> list[Address]:
        """Return the direct conversations of a principal, latest first."""
        query = (
            sa.select(conversations.c.channel, conversations.c.conversation)
            .where(conversations.c.tenant == tenant, conversations.c.principal_id == principal_id)
            .order_by(conversations.c.active_at.desc())
            .limit(limit)
        )
        with self._statement() as connection:
            return [
                Address(tenant=tenant, channel=row.channel, conversation=row.conversation)
                for row in connection.execute(query)
            ]

    def forget(self, address: Address, *, principal_id: str | None = None) -> int:
        """Remove what a conversation holds and asks; with `principal_id`, all direct ones of that principal too.

        Returns how many entries went. What was sent stays in the outbox only until its retention ends, blanked.
        """
        with self._transaction() as connection:
            # What was proposed holds what was said and, in a plan, what was read. It goes before the turn is taken, as
            # a yes takes both: `/forget` overtakes, and neither may wait for the other.
            connection.execute(sa.delete(proposals).where(_within(proposals, address, principal_id)))
            in_turn(connection, address.tenant, address.channel, address.conversation)
            gone = connection.execute(
                sa.delete(transcript)
                .where(_within(transcript, address, principal_id))
                .returning(transcript.c.message_id)
            ).scalars()
            ids = gone.all()
            whose = _of(address, questions) if principal_id is None else questions.c.principal_id == principal_id
            connection.execute(sa.delete(questions).where(whose))
            _blank(connection, [i for i in ids if i is not None])
        return len(ids)


def _blank(connection: sa.Connection, message_ids: list[str]) -> None:
    """Take the text of settled messages out of every table; their ids still refuse redelivery."""
    for statement in (
        'update runbell.inbox set body = body - \'args\' || \'{"text": "", "attachments": []}\''
        " where id = any(cast(:ids as uuid[])) and state in ('answered', 'failed', 'dead')",
        "update runbell.outbox set body = body - 'card' - 'form'"
        ' || \'{"text": "", "attachments": [], "choices": []}\''
        " where message_id = any(cast(:ids as uuid[])) and state not in ('queued', 'sending')",
        "delete from runbell.progress where message_id = any(cast(:ids as uuid[]))",
        # What ops handed to each other holds the text, too; a run that goes on still needs it.
        "delete from runbell.op_outputs o using runbell.run_queue q"
        " where q.message_id = any(cast(:ids as uuid[])) and q.state = 'finished' and o.run_id = q.run_id",
    ):
        connection.execute(sa.text(statement), {"ids": message_ids})
