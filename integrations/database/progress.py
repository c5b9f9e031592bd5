"""Progress of messages while they are worked on: run, ops, tokens. For live views; never the answer itself."""

import json
from collections.abc import Sequence

import sqlalchemy as sa

from integrations.database.engine import Store
from integrations.database.records import OpState, Snapshot
from integrations.database.tables import progress
from integrations.messages import Address

NOTIFY_LIMIT = 7_500
"""Bytes of a NOTIFY payload; PostgreSQL refuses 8,000."""

# Two threads that write of the same message at once number alike: what is left out is published again.
_TOLD = """
    with {also} told as materialized (
      select n.*, row_number() over (partition by id order by place) + coalesce(
        (select max(p.seq) from runbell.progress p where p.message_id = n.id), 0) as seq
      from unnest(cast(:ids as uuid[]), cast(:bodies as jsonb[]), cast(:larges as boolean[]), cast(:tenants as text[]),
        cast(:channels as text[]), cast(:conversations as text[]))
        with ordinality as n(id, body, large, tenant, channel, conversation, place)),
    stored as (
      insert into runbell.progress (message_id, seq, body) select id, seq, body from told
      on conflict do nothing returning message_id, seq)
    select told.place, told.seq, pg_notify('runbell_progress', jsonb_build_object(
      'message_id', told.id, 'tenant', told.tenant, 'channel', told.channel, 'conversation', told.conversation,
      'seq', told.seq, 'body', case when told.large then null else told.body end)::text)
    from told join stored on stored.message_id = told.id and stored.seq = told.seq order by told.place
"""
_PUBLISH = sa.text(_TOLD.format(also=""))
_PUBLISH_FIRST = sa.text(
    _TOLD.format(
        also="""noted as (
      update runbell.inbox set first_token_at = clock_timestamp()
      where id = any(cast(:begun as uuid[])) and first_token_at is null),"""
    )
)

_AGE = sa.extract("epoch", sa.func.clock_timestamp() - progress.c.at) * 1_000

Said = tuple[str, Address, dict[str, object]]
"""A message's id, its address, what happens."""


class Progress(Store):
    """What happens now, message by message."""

    def publish(self, message_id: str, address: Address, body: dict[str, object]) -> int:
        """Append to a message's progress, tell the listeners, and return the seq.

        A body too large for NOTIFY is announced as null: listeners read it with `read`.
        """
        return self.publish_all([(message_id, address, body)])[0]

    def publish_all(self, said: Sequence[Said], *, begun: Sequence[str] = ()) -> list[int]:
        """Append to several messages' progress in one transaction; see `publish`.

        Of messages that have `begun` to be answered with this, the receipts note the instant, the first time only.
        """
        seqs: dict[int, int] = {}
        statement, more = (_PUBLISH_FIRST, {"begun": list(begun)}) if begun else (_PUBLISH, {})
        while left := [place for place in range(len(said)) if place not in seqs]:
            with self._statement() as connection:
                for row in connection.execute(statement, {**_values([said[place] for place in left]), **more}):
                    seqs[left[row.place - 1]] = row.seq
        return [seqs[place] for place in range(len(said))]

    def read(self, message_id: str, seq: int) -> dict[str, object] | None:
        """Return one body."""
        query = sa.select(progress.c.body).where(progress.c.message_id == message_id, progress.c.seq == seq)
        with self._statement() as connection:
            return connection.scalar(query)

    def snapshot(self, message_id: str) -> Snapshot:
        """Return all progress of a message, collapsed."""
        query = (
            sa.select(progress.c.seq, progress.c.body, _AGE.label("age"))
            .where(progress.c.message_id == message_id)
            .order_by(progress.c.seq)
        )
        with self._statement() as connection:
            rows = connection.execute(query).all()
        return collapse([(row.seq, row.body, float(row.age)) for row in rows])


def _values(said: Sequence[Said]) -> dict[str, list[object]]:
    bodies = [json.dumps(body, ensure_ascii=False) for _, _, body in said]
    addresses = [address for _, address, _ in said]
    return {
        "ids": [message_id for message_id, _, _ in said],
        "bodies": list(bodies),
        "larges": [
            len(body.encode()) + len(address.conversation.encode()) > NOTIFY_LIMIT - 400
            for body, address in zip(bodies, addresses, strict=True)
        ],
        "tenants": [address.tenant for address in addresses],
        "channels": [address.channel for address in addresses],
        "conversations": [address.conversation for address in addresses],
    }


def collapse(rows: list[tuple[int, dict[str, object], float]]) -> Snapshot:
    """Fold progress (seq, body, milliseconds since it was told) into a snapshot."""
    run: dict[str, object] = {}
    ops: dict[str, OpState] = {}
    partial: list[str] = []
    for _, body, age in rows:
        match body.get("type"):
            case "run":
                run = body
            case "op":
                op = _op(body, age)
                ops[op.op] = op
            case "delta":
                partial.append(str(body.get("text", "")))
            case "reset":
                partial.clear()
            case _:
                pass
    return Snapshot(
        seq=rows[-1][0] if rows else 0,
        run_id=_text(run.get("run_id")),
        run_url=_text(run.get("url")),
        job=_text(run.get("job")),
        ops=tuple(ops.values()),
        partial="".join(partial),
        run=run or None,
    )


def _op(body: dict[str, object], age: float) -> OpState:
    state, ms = str(body.get("state")), body.get("ms")
    so_far = age if state == "started" else None
    return OpState(str(body.get("op")), state, float(str(ms)) if ms is not None else so_far)


def _text(value: object) -> str | None:
    return None if value is None else str(value)
