"""Progress of messages while they are worked on: run, ops, tokens. For live views; never the answer itself."""

import json

import sqlalchemy as sa

from integrations.database.engine import Store
from integrations.database.records import OpState, Snapshot
from integrations.database.tables import progress
from integrations.messages import Address

NOTIFY_LIMIT = 7_500
"""Bytes of a NOTIFY payload; PostgreSQL refuses 8,000."""

_PUBLISH = sa.text("""
    with one as (
      insert into runbell.progress (message_id, seq, body)
      select cast(:id as uuid), coalesce(max(seq), 0) + 1, cast(:body as jsonb)
      from runbell.progress where message_id = cast(:id as uuid)
      returning seq)
    select one.seq, pg_notify('runbell_progress', jsonb_build_object(
      'message_id', cast(:id as text), 'tenant', cast(:tenant as text), 'channel', cast(:channel as text),
      'conversation', cast(:conversation as text), 'seq', one.seq,
      'body', case when cast(:large as boolean) then null else cast(:body as jsonb) end)::text) from one
""")


class Progress(Store):
    """What happens now, message by message; one writer per message at a time."""

    def publish(self, message_id: str, address: Address, body: dict[str, object]) -> int:
        """Append to a message's progress, tell the listeners, and return the seq.

        A body too large for NOTIFY is announced as null: listeners read it with `read`.
        """
        text = json.dumps(body, ensure_ascii=False)
        values = {
            "id": message_id,
            "body": text,
            "tenant": address.tenant,
            "channel": address.channel,
            "conversation": address.conversation,
            "large": len(text.encode()) + len(address.conversation.encode()) > NOTIFY_LIMIT - 400,
        }
        with self._transaction() as connection:
            return connection.execute(_PUBLISH, values).scalar_one()

    def read(self, message_id: str, seq: int) -> dict[str, object] | None:
        """Return one body."""
        query = sa.select(progress.c.body).where(progress.c.message_id == message_id, progress.c.seq == seq)
        with self._transaction() as connection:
            return connection.scalar(query)

    def snapshot(self, message_id: str) -> Snapshot:
        """Return all progress of a message, collapsed."""
        query = (
            sa.select(progress.c.seq, progress.c.body)
            .where(progress.c.message_id == message_id)
            .order_by(progress.c.seq)
        )
        with self._transaction() as connection:
            rows = connection.execute(query).all()
        return collapse([(row.seq, row.body) for row in rows])


def collapse(rows: list[tuple[int, dict[str, object]]]) -> Snapshot:
    """Fold progress bodies into a snapshot."""
    run: dict[str, object] = {}
    ops: dict[str, OpState] = {}
    partial: list[str] = []
    for _, body in rows:
        match body.get("type"):
            case "run":
                run = body
            case "op":
                ms = body.get("ms")
                name = str(body.get("op"))
                ops[name] = OpState(name, str(body.get("state")), float(str(ms)) if ms is not None else None)
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
    )


def _text(value: object) -> str | None:
    return None if value is None else str(value)
