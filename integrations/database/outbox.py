"""The outbox: enqueue, lease, record. What is enqueued reaches its channel in order per conversation."""

import json
from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from integrations.database.conversation import append_entry
from integrations.database.engine import Store, in_turn, notify
from integrations.database.records import OutboxItem
from integrations.database.tables import inbox, outbox
from integrations.messages import Delivery, OutboundMessage, utc_now

MAX_ATTEMPTS = 8
"""Deliveries tried before a message becomes a dead letter."""
LONGEST_HOLD = timedelta(days=1)
"""How long a network's limits may hold a message back."""
UNDELIVERED = ("failed", "dead", "unknown")
"""States of messages that are sent again, or given up, by hand only."""
_COLUMNS = (
    outbox.c.id,
    outbox.c.key,
    outbox.c.body,
    outbox.c.attempts,
    outbox.c.state,
    outbox.c.created_at,
    outbox.c.error,
    outbox.c.traceparent,
)

_LEASE = sa.text("""
    with ready as (
      select o.id from runbell.outbox o
      where o.channel = any(cast(:channels as text[])) and o.state = 'queued'
        and o.available_at <= clock_timestamp()
        and not exists (
          select 1 from runbell.outbox e where e.tenant = o.tenant and e.channel = o.channel
            and e.conversation = o.conversation and e.id < o.id and e.state in ('queued', 'sending'))
        and not exists (
          select 1 from runbell.growing g where g.message_id = o.message_id
            and g.gateway <> :worker and g.lease_until > clock_timestamp())
      order by o.id limit :limit for update of o skip locked)
    update runbell.outbox as o set state = 'sending', attempts = o.attempts + 1, claimed_by = :worker,
      lease_until = clock_timestamp() + make_interval(secs => :lease)
    from ready where o.id = ready.id
    returning o.id, o.key, o.body, o.attempts, o.state, o.created_at, o.error, o.traceparent,
      exists (select 1 from runbell.conversations c where c.tenant = o.tenant and c.channel = o.channel
        and c.conversation = o.conversation and not c.direct) as in_group
""")
# The end of an answer that was seen growing is put into its place: that bears repetition everywhere.
_LAPSED = sa.text("""
    update runbell.outbox o set lease_until = null, error = 'the sender stopped while sending',
      state = case when channel = any(cast(:safe as text[])) or exists (
        select 1 from runbell.growing g where g.message_id = o.message_id and g.handle is not null
      ) then 'queued' else 'unknown' end
    where channel = any(cast(:channels as text[])) and state = 'sending' and lease_until < clock_timestamp()
""")

_RECORD = sa.text("""
    with noted as (
      update runbell.inbox set delivered_at = clock_timestamp()
      where :state = 'sent' and id = cast(:message_id as uuid) and delivered_at is null
    ), grown as (
      delete from runbell.growing where :state = 'sent' and message_id = cast(:message_id as uuid)
    ), recorded as (
      update runbell.outbox set state = :state, lease_until = null, platform_id = :platform_id, error = :error,
        available_at = coalesce(cast(:available_at as timestamptz), available_at), attempts = attempts - :uncounted,
        delivered_at = case when :state = 'sent' then clock_timestamp() else delivered_at end
      where id = :id and state = 'sending' returning id, tenant, channel, conversation
    )
    select pg_notify('runbell_outbox', r.channel) from recorded r where exists (
      select 1 from runbell.outbox e where e.tenant = r.tenant and e.channel = r.channel
        and e.conversation = r.conversation and e.id > r.id and e.state = 'queued')
""")


def queue(connection: sa.Connection, message: OutboundMessage, key: str) -> bool:
    """Queue a message that stands in no transcript; False where the key was known."""
    address = message.address
    queued = connection.execute(
        insert(outbox)
        .values(
            key=key,
            tenant=address.tenant,
            channel=address.channel,
            conversation=address.conversation,
            message_id=message.message_id,
            run_id=message.run_id,
            body=message.model_dump(mode="json"),
            traceparent=sa.select(inbox.c.traceparent).where(inbox.c.id == message.message_id).scalar_subquery(),
        )
        .on_conflict_do_nothing(index_elements=["key"])
        .returning(outbox.c.id)
    ).scalar_one_or_none()
    if queued is not None:
        notify(connection, "runbell_outbox", address.channel)
    return queued is not None


def enqueue(connection: sa.Connection, message: OutboundMessage, key: str) -> int | None:
    """Queue a message and add it to the transcript; returns the entry's id, or None where the key was known.

    The caller's transaction holds the conversation's turn.
    """
    if not queue(connection, message, key):
        return None
    body: dict[str, object] = {
        "text": message.text,
        "attachments": [a.model_dump() for a in message.attachments],
        "choices": [c.model_dump() for c in message.choices],
    }
    if message.card is not None and message.kind == "notice":
        # Where nothing can be edited, whoever shows the transcript puts a later state in the place of the earlier.
        body["card"] = {"state": message.card.state, "key": message.replaces or key}
    if message.form is not None and message.form.key:
        body["form"] = message.form.model_dump(mode="json")
    address, message_id = message.address, message.message_id
    return append_entry(connection, address, "assistant", body, message_id, run_id=message.run_id)


def post_within(connection: sa.Connection, message: OutboundMessage, key: str) -> bool:
    """Queue a message that answers nobody, within the caller's transaction; False where the key was known."""
    address = message.address
    in_turn(connection, address.tenant, address.channel, address.conversation)
    entry_id = enqueue(connection, message, key)
    if entry_id is not None:
        # No message ends here, but those who watch the conversation want to know.
        told = {**address.model_dump(), "message_id": None, "status": None, "transcript_id": entry_id}
        notify(connection, "runbell_settled", json.dumps(told))
    return entry_id is not None


class Outbox(Store):
    """Messages from their enqueueing to their delivery."""

    def post(self, message: OutboundMessage, *, key: str) -> bool:
        """Queue a message that answers nobody (a digest, a notice); False where the key was known. Idempotent."""
        with self._transaction() as connection:
            return post_within(connection, message, key)

    def lease(
        self,
        channels: Collection[str],
        worker: str,
        *,
        limit: int = 50,
        lease_s: float = 60.0,
    ) -> list[OutboxItem]:
        """Take messages to send, at most one per conversation at a time; each becomes `sending`.

        The end of an answer that another live gateway shows growing is left to that one.
        """
        values = {"channels": list(channels), "worker": worker, "limit": limit, "lease": lease_s}
        with self._statement() as connection:
            rows = connection.execute(_LEASE, values).all()
        return sorted((_item(row) for row in rows), key=lambda item: item.id)

    def record(
        self, item: OutboxItem, delivery: Delivery, *, retry_after_s: float | None = None, counted: bool = True
    ) -> None:
        """Record how an attempt ended; with `retry_after_s`, a failed one is tried again, within bounds.

        One that is not `counted` was held back by the network's limits: it is bounded by its age alone.
        Other gateways are told where something waits behind it; its own looks again anyway.
        """
        state, available_at, uncounted = str(delivery.state), None, 0
        if state == "failed" and retry_after_s is not None:
            again = item.attempts < MAX_ATTEMPTS if counted else utc_now() - item.created_at < LONGEST_HOLD
            available_at = utc_now() + timedelta(seconds=retry_after_s) if again else None
            uncounted = int(not counted)
            state = "queued" if again else "dead"
        values: dict[str, object] = {
            "id": item.id,
            "message_id": item.message.message_id,
            "state": state,
            "platform_id": delivery.platform_id,
            "error": delivery.error,
            "available_at": available_at,
            "uncounted": uncounted,
        }
        with self._statement() as connection:
            connection.execute(_RECORD, values)

    def recover(self, channels: Collection[str], *, repeatable: Collection[str]) -> int:
        """Deal with messages whose sender died: `repeatable` channels send again, others become `unknown`."""
        values = {"channels": list(channels), "safe": list(repeatable)}
        with self._statement() as connection:
            return connection.execute(_LAPSED, values).rowcount

    def find(self, states: Sequence[str] = UNDELIVERED, *, limit: int = 100) -> list[OutboxItem]:
        """Return the latest messages in these states."""
        query = sa.select(*_COLUMNS).where(outbox.c.state.in_(states)).order_by(outbox.c.id.desc()).limit(limit)
        with self._statement() as connection:
            return [_item(row) for row in connection.execute(query)]

    def get(self, item_id: int) -> OutboxItem | None:
        """Return one message, whatever its state."""
        with self._statement() as connection:
            row = connection.execute(sa.select(*_COLUMNS).where(outbox.c.id == item_id)).first()
        return _item(row) if row else None

    def platform_id(self, key: str) -> str | None:
        """Return the platform's id of a message that was sent under this key."""
        query = sa.select(outbox.c.platform_id).where(outbox.c.key == key, outbox.c.state == "sent")
        with self._statement() as connection:
            return connection.execute(query).scalar_one_or_none()

    def replay(self, item_id: int) -> bool:
        """Queue a failed, unknown or dead message again; False where it is none of these."""
        with self._transaction() as connection:
            channel = connection.execute(
                sa.update(outbox)
                .where(outbox.c.id == item_id, outbox.c.state.in_(UNDELIVERED))
                .values(state="queued", attempts=0, available_at=sa.func.now(), error=None)
                .returning(outbox.c.channel)
            ).scalar_one_or_none()
            if channel is not None:
                notify(connection, "runbell_outbox", channel)
        return channel is not None

    def drop(self, item_id: int) -> bool:
        """Give up a failed, unknown or dead message for good; False where it is none of these. Its key stays taken."""
        with self._statement() as connection:
            done = connection.execute(
                sa.update(outbox).where(outbox.c.id == item_id, outbox.c.state.in_(UNDELIVERED)).values(state="dropped")
            )
        return done.rowcount == 1


def _item(row: Any) -> OutboxItem:
    return OutboxItem(
        id=row.id,
        key=row.key,
        message=OutboundMessage.model_validate(row.body),
        attempts=row.attempts,
        state=row.state,
        created_at=row.created_at,
        error=row.error,
        traceparent=row.traceparent,
        group=getattr(row, "in_group", False),
    )
