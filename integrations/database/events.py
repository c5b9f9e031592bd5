"""Events that runs wait for, and the parking of runs until one comes; `runs` is the queue itself.

An event is taken by one op of one run: the first that waits for its name and key. It may come before anybody waits.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB, insert

from integrations.database.engine import Store, notify
from integrations.database.records import RunClaim
from integrations.database.run_tables import run_queue
from integrations.database.runs import NEVER
from integrations.database.settling import check_fence
from integrations.database.tables import NOW, Instant, inbox, metadata
from integrations.errors import InvalidInput, LeaseLost

BODY_BYTES = 65_536
"""A larger body is refused."""

events = sa.Table(
    "events",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("tenant", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("event_id", sa.Text),
    sa.Column("body", JSONB, nullable=False),
    sa.Column("sent_at", Instant, nullable=False, server_default=NOW),
    sa.Column("taken_by", sa.Text),
    sa.Column("taken_step", sa.Text),
    sa.UniqueConstraint("tenant", "name", "event_id"),
)
sa.Index(
    "events_open_ix",
    events.c.tenant,
    events.c.name,
    events.c.key,
    events.c.id,
    postgresql_where=events.c.taken_by.is_(None),
)
sa.Index("events_taken_ix", events.c.taken_by)
sa.Index("events_sent_ix", events.c.sent_at)
sa.Index(
    "run_queue_parked_ix",
    run_queue.c.parked,
    postgresql_using="gin",
    postgresql_ops={"parked": "jsonb_path_ops"},
    postgresql_where=run_queue.c.state == "parked",
)


@dataclass(frozen=True, slots=True)
class Wait:
    """What one op waits for: an instant, or an event until an instant at the latest."""

    step: str
    reason: str
    until: datetime | None = None
    event: str | None = None
    key: str | None = None


class Events(Store):
    """Sending, taking, and parking until one comes."""

    def send(
        self, name: str, key: str, body: dict[str, Any], *, tenant: str = "default", event_id: str | None = None
    ) -> bool:
        """Store an event and wake the runs that wait for it; False where this event id was sent before."""
        with self._transaction() as connection:
            lock_event(connection, tenant, name, key)
            return put_event(connection, tenant, name, key, body, event_id=event_id)

    def take(self, claim: RunClaim, step: str, name: str, key: str) -> dict[str, Any] | None:
        """Take an event for an op and return its body, or None where there is none yet. Raises `LeaseLost`.

        An op that is executed again gets the event that it had.
        """
        mine = sa.select(events.c.id, events.c.body).where(
            events.c.tenant == claim.tenant, events.c.name == name, events.c.key == key
        )
        with self._transaction() as connection:
            check_fence(connection, claim.run_id, claim.token)
            had = connection.execute(
                mine.where(events.c.taken_by == claim.run_id, events.c.taken_step == step).limit(1)
            ).first()
            if had is not None:
                return had.body
            found = connection.execute(
                mine.where(events.c.taken_by.is_(None)).order_by(events.c.id).limit(1).with_for_update(skip_locked=True)
            ).first()
            if found is None:
                return None
            connection.execute(
                sa.update(events).where(events.c.id == found.id).values(taken_by=claim.run_id, taken_step=step)
            )
        return found.body

    def park(self, claim: RunClaim, waits: Sequence[Wait], *, now: datetime | None = None) -> bool:
        """Leave a run waiting, held by nobody, and its message with it; False where what it waits for is there.

        Then the run is queued anew. Its earlier claims no longer count as attempts. `now` is this machine's clock.
        Raises `LeaseLost`.
        """
        expected = sorted({(wait.event, wait.key or "") for wait in waits if wait.event is not None})
        # What is left of the wait is counted on the database's clock: where it is ahead of this machine's, a run would
        # be woken again and again before its time.
        now = now or datetime.now(UTC)
        seconds = [max((wait.until - now).total_seconds(), 0.0) for wait in waits if wait.until is not None]
        with self._transaction() as connection:
            # `send` takes the same locks: an event is seen here, or its sender sees the run parked.
            for name, key in expected:
                lock_event(connection, claim.tenant, name, key)
            there = any(_is_there(connection, claim.tenant, name, key) for name, key in expected)
            values: dict[str, object] = {
                "state": "queued" if there else "parked",
                "available_at": _after(0.0) if there else _after(min(seconds)) if seconds else NEVER,
                "parked": _shown(waits, expected),
                "attempts": 0,
                "claimed_by": None,
                "lease_until": None,
            }
            done = connection.execute(
                sa.update(run_queue)
                .where(
                    run_queue.c.run_id == claim.run_id,
                    run_queue.c.token == claim.token,
                    run_queue.c.state == "running",
                )
                .values(values)
            )
            if done.rowcount != 1:
                raise LeaseLost(f"run {claim.run_id} is no longer this worker's")
            if there:
                notify(connection, "runbell_runs", claim.location)
            elif claim.message_id is not None:
                _let_conversation_go_on(connection, claim.message_id)
        return not there


def _after(seconds: float) -> sa.ColumnElement[datetime]:
    return sa.func.clock_timestamp() + sa.func.make_interval(0, 0, 0, 0, 0, 0, seconds)


def lock_event(connection: sa.Connection, tenant: str, name: str, key: str) -> None:
    """Serialise sending and parking for one name and key until commit."""
    text = f"event\x1f{tenant}\x1f{name}\x1f{key}"
    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(text, 0))))


def hold_event(connection: sa.Connection, tenant: str, name: str, key: str) -> None:
    """Take `lock_event` and hold the runs that wait, before the turns of conversations that the sender takes."""
    lock_event(connection, tenant, name, key)
    connection.execute(sa.select(run_queue.c.run_id).where(_waits_for(tenant, name, key)).with_for_update())


def take_all(connection: sa.Connection, claim: RunClaim, step: str | None, name: str, key: str) -> None:
    """Take what woke a run within the caller's transaction; what is sent later is still there."""
    connection.execute(
        sa.update(events)
        .where(events.c.tenant == claim.tenant, events.c.name == name, events.c.key == key, events.c.taken_by.is_(None))
        .values(taken_by=claim.run_id, taken_step=step)
    )


def put_event(
    connection: sa.Connection, tenant: str, name: str, key: str, body: dict[str, Any], *, event_id: str | None = None
) -> bool:
    """Send an event within the caller's transaction, which holds `lock_event`; see `Events.send`."""
    if len(json.dumps(body)) > BODY_BYTES:
        raise InvalidInput(f"An event may hold {BODY_BYTES} bytes; send a reference instead.", field="body")
    row = insert(events).values(tenant=tenant, name=name, key=key, body=body, event_id=event_id)
    fresh = row.on_conflict_do_nothing(index_elements=["tenant", "name", "event_id"]).returning(events.c.id)
    sent = connection.execute(fresh).first()
    woken = connection.scalars(
        sa.update(run_queue)
        .where(_waits_for(tenant, name, key))
        .values(available_at=sa.func.now())
        .returning(run_queue.c.location)
    ).all()
    for location in sorted(set(woken)):
        notify(connection, "runbell_runs", location)
    return sent is not None


def _waits_for(tenant: str, name: str, key: str) -> sa.ColumnElement[bool]:
    waiting = {"events": [{"name": name, "key": key}]}
    return sa.and_(run_queue.c.state == "parked", run_queue.c.tenant == tenant, run_queue.c.parked.contains(waiting))


def _is_there(connection: sa.Connection, tenant: str, name: str, key: str) -> bool:
    query = sa.select(events.c.id).where(
        events.c.tenant == tenant, events.c.name == name, events.c.key == key, events.c.taken_by.is_(None)
    )
    return connection.execute(query.limit(1)).first() is not None


def _shown(waits: Sequence[Wait], expected: Sequence[tuple[str, str]]) -> dict[str, object]:
    return {
        "reason": "; ".join(wait.reason for wait in waits),
        "events": [{"name": name, "key": key} for name, key in expected],
        "waits": [
            {
                "step": wait.step,
                "reason": wait.reason,
                "event": wait.event,
                "key": wait.key,
                "until": None if wait.until is None else wait.until.isoformat(),
            }
            for wait in waits
        ],
    }


def _let_conversation_go_on(connection: sa.Connection, message_id: str) -> None:
    connection.execute(
        sa.update(inbox).where(inbox.c.id == message_id, inbox.c.state == "running").values(state="waiting")
    )
    notify(connection, "runbell_inbox")
