"""The inbox: receive, claim, start or settle. An acknowledged message is stored (I1) and handled once (I2)."""

import json
from collections.abc import Collection, Sequence

import sqlalchemy as sa
import uuid_utils

from integrations.database.catalogue import close_proposal
from integrations.database.conversation import append_entry, touch_conversation
from integrations.database.engine import Store, in_turn, notify
from integrations.database.outbox import enqueue
from integrations.database.records import ClaimedMessage, MessageView, NewRun, Received, RunClaim
from integrations.database.runs import insert_run
from integrations.database.tables import inbox, lease_tokens
from integrations.database.views import message_view
from integrations.errors import LeaseLost, NotFound
from integrations.messages import (
    Address,
    InboundMessage,
    MessageStatus,
    OutboundMessage,
    Priority,
    run_id_for,
)

SETTLED = [status.value for status in MessageStatus if status.settled]
MAX_ATTEMPTS = 5
"""Times that a message may be claimed before it is given up as dead."""

_RECEIVE = sa.text("""
    insert into runbell.inbox
      (id, tenant, channel, event_id, conversation, account, body, word, priority, traceparent)
    select * from unnest(
      cast(:ids as uuid[]), cast(:tenants as text[]), cast(:channels as text[]), cast(:events as text[]),
      cast(:conversations as text[]), cast(:accounts as text[]), cast(:bodies as jsonb[]), cast(:words as text[]),
      cast(:priorities as smallint[]), cast(:traces as text[]))
    on conflict (tenant, channel, event_id) do nothing
    returning cast(id as text), tenant, channel, event_id
""")
_KNOWN = sa.text("""
    select cast(i.id as text), i.tenant, i.channel, i.event_id from runbell.inbox i
    join unnest(cast(:tenants as text[]), cast(:channels as text[]), cast(:events as text[])) as e(t, c, e)
      on i.tenant = e.t and i.channel = e.c and i.event_id = e.e
""")
_PENDING = sa.text("""
    select i.tenant, i.channel, i.conversation, count(*) from runbell.inbox i
    join (select distinct * from unnest(
      cast(:tenants as text[]), cast(:channels as text[]), cast(:conversations as text[])) as d(t, c, v)) d
      on i.tenant = d.t and i.channel = d.c and i.conversation = d.v
    where i.state in ('received', 'running') group by 1, 2, 3
""")
# One at a time per conversation in order of arrival (I3); control words overtake. Of the first two thousand that
# are free, those whose turn it is; of these, the account with the fewest running messages goes first. The bound
# keeps a claim at a few milliseconds whatever the backlog.
_CLAIM = """
    with busy as materialized (
      select tenant, account, count(*) as n from runbell.inbox where state = 'running' group by 1, 2
    ), free as materialized (
      select i.* from runbell.inbox i
      where i.state = 'received' and (i.lease_until is null or i.lease_until < clock_timestamp())
        and i.attempts < :most and {words} order by i.priority, i.seq limit 2000
    ), ready as (
      select i.id from runbell.inbox i join free f on f.id = i.id
      left join busy b on b.tenant = f.tenant and b.account = f.account
      where i.state = 'received' and (i.lease_until is null or i.lease_until < clock_timestamp()) and {turn}
      order by f.priority, coalesce(b.n, 0), f.seq
      limit :limit for update of i skip locked
    )
    update runbell.inbox as i set claimed_by = :worker, token = nextval('runbell.lease_tokens'),
      lease_until = clock_timestamp() + make_interval(secs => :lease), attempts = i.attempts + 1,
      claimed_at = coalesce(i.claimed_at, clock_timestamp())
    from ready where i.id = ready.id
    returning cast(i.id as text), i.token, i.body, i.priority, i.attempts, i.seq
"""
_IN_TURN = """f.seq = (
    select e.seq from runbell.inbox e where e.tenant = f.tenant and e.channel = f.channel
      and e.conversation = f.conversation and e.state in ('received', 'running') order by e.seq limit 1)"""
_CLAIM_TURN = sa.text(_CLAIM.format(words="true", turn=_IN_TURN))
_CLAIM_WORDS = sa.text(_CLAIM.format(words="i.word = any(cast(:words as text[]))", turn="true"))


def command_word(message: InboundMessage) -> str | None:
    """Return the first word after the slash, lower case, or None where the text is no command."""
    if message.command:
        return message.command.lower()
    text = message.text.lstrip()
    if not text.startswith(("/", "／")):
        return None
    return (text[1:65].split(maxsplit=1) or [""])[0].lower()


class Inbox(Store):
    """Messages from their acceptance to their answer."""

    def receive(
        self,
        messages: Sequence[InboundMessage],
        *,
        priority: int = Priority.CHAT,
        pending_limit: int | None = None,
    ) -> list[Received]:
        """Store messages in one commit and return what became of each, in their order.

        Idempotent by channel, tenant and event id. Blocks until the disk has it.
        """
        with self._transaction() as connection:
            refused = _over_limit(connection, messages, pending_limit)
            wanted = {_key(m): m for m in messages if _place(m) not in refused}
            stored = _insert(connection, list(wanted.values()), priority)
            missing = [m for m in messages if _key(m) not in stored]
            known = _find(connection, missing) if missing else {}
            for word in {command_word(wanted[key]) or "" for key in stored}:
                notify(connection, "runbell_inbox", word)
        seen: set[tuple[str, str, str]] = set()
        results: list[Received] = []
        for message in messages:
            key = _key(message)
            fresh = key in stored and key not in seen
            seen.add(key)
            results.append(Received(stored.get(key) or known.get(key), fresh))
        return results

    def claim(
        self, worker: str, *, limit: int = 1, lease_s: float = 15.0, words: Collection[str] | None = None
    ) -> list[ClaimedMessage]:
        """Lease messages for routing, in turn; with `words`, control commands only, whose turn is always."""
        values: dict[str, object] = {
            "worker": worker,
            "limit": limit,
            "lease": lease_s,
            "most": MAX_ATTEMPTS,
        }
        statement = _CLAIM_TURN
        if words is not None:
            statement, values["words"] = _CLAIM_WORDS, sorted(words)
        with self._transaction() as connection:
            rows = connection.execute(statement, values).all()
        return [
            ClaimedMessage(row[0], row[1], InboundMessage.model_validate(row[2]), row[3], row[4])
            for row in sorted(rows, key=lambda row: (row[3], row[5]))
        ]

    def start(
        self,
        claimed: ClaimedMessage,
        run: NewRun,
        *,
        principal_id: str,
        worker: str | None,
        lease_s: float = 15.0,
        proposal: str | None = None,
    ) -> RunClaim | None:
        """Make the message's run in one transaction; with `worker`, already claimed by it.

        With `proposal`, the message is the yes to it, and closes it: raises `NotFound` where another was quicker.
        Returns the claim, or None where another worker shall take the run. Raises `LeaseLost`.
        """
        message, run_id = claimed.message, run_id_for(claimed.message_id)
        with self._transaction() as connection:
            _close(connection, proposal)
            self._leave_routing(connection, claimed, MessageStatus.RUNNING, principal_id, run_id=run_id)
            _record_utterance(connection, claimed, principal_id, run_id)
            return insert_run(connection, claimed, run, run_id, principal_id, worker, lease_s, message.address)

    def settle(
        self,
        claimed: ClaimedMessage,
        replies: Sequence[OutboundMessage],
        *,
        principal_id: str,
        status: MessageStatus = MessageStatus.ANSWERED,
        proposal: str | None = None,
    ) -> None:
        """Answer a claimed message on the spot, without a run. Raises `LeaseLost`.

        With `proposal`, the message is the no to it, and closes it: raises `NotFound` where another was quicker.
        """
        with self._transaction() as connection:
            _close(connection, proposal)
            self._leave_routing(connection, claimed, status, principal_id, run_id=None)
            _record_utterance(connection, claimed, principal_id, None)
            _answer(connection, claimed.message_id, claimed.message.address, replies, status, None)

    def answer(
        self,
        message_id: str,
        replies: Sequence[OutboundMessage],
        *,
        status: MessageStatus = MessageStatus.ANSWERED,
        run_id: str | None = None,
        error: str | None = None,
        fence: int | None = None,
    ) -> bool:
        """Write the answer and settle the message in one transaction; False where it was settled before.

        With `fence`, the token of the run's claim: raises `LeaseLost` where the run was claimed anew since.
        """
        with self._transaction() as connection:
            if fence is not None and run_id is not None:
                check_fence(connection, run_id, fence)
            row = connection.execute(
                sa.update(inbox)
                .where(inbox.c.id == message_id, inbox.c.state.not_in(SETTLED))
                .values(state=status.value, replied_at=sa.func.clock_timestamp(), error=error, lease_until=None)
                .returning(inbox.c.tenant, inbox.c.channel, inbox.c.conversation)
            ).first()
            if row is None:
                return False
            address = Address(tenant=row.tenant, channel=row.channel, conversation=row.conversation)
            _answer(connection, message_id, address, replies, status, run_id)
        return True

    def wait(self, message_id: str, *, waiting: bool) -> None:
        """Mark that the message's run is parked (its conversation goes on), or that it runs again."""
        before, after = ("running", "waiting") if waiting else ("waiting", "running")
        with self._transaction() as connection:
            connection.execute(
                sa.update(inbox).where(inbox.c.id == message_id, inbox.c.state == before).values(state=after)
            )
            notify(connection, "runbell_inbox")

    def stamp(self, message_id: str, stage: str) -> None:
        """Record the instant of a stage of the receipt (`started_at`, `first_token_at`), the first time only."""
        column = inbox.c[stage]
        with self._transaction() as connection:
            connection.execute(
                sa.update(inbox)
                .where(inbox.c.id == message_id, column.is_(None))
                .values({stage: sa.func.clock_timestamp()})
            )

    def get(self, message_id: str) -> MessageView | None:
        """Return all that is known of a message, or None."""
        with self._transaction() as connection:
            return message_view(connection, message_id)

    def unfinished(self, address: Address, limit: int = 50) -> list[MessageView]:
        """Return the messages of a conversation that are not settled, oldest first."""
        with self._transaction() as connection:
            ids = connection.scalars(
                sa.select(inbox.c.id)
                .where(
                    inbox.c.tenant == address.tenant,
                    inbox.c.channel == address.channel,
                    inbox.c.conversation == address.conversation,
                    inbox.c.state.not_in(SETTLED),
                )
                .order_by(inbox.c.seq)
                .limit(limit)
            ).all()
            return [view for id_ in ids if (view := message_view(connection, id_))]

    def bury(self) -> int:
        """Give up messages that were claimed too often, and tell their senders; returns how many."""
        with self._transaction() as connection:
            rows = connection.execute(
                sa.update(inbox)
                .where(
                    inbox.c.state == "received",
                    inbox.c.attempts >= MAX_ATTEMPTS,
                    inbox.c.lease_until < sa.func.clock_timestamp(),
                )
                .values(state="dead", error="claimed too often", replied_at=sa.func.clock_timestamp())
                .returning(inbox.c.id, inbox.c.tenant, inbox.c.channel, inbox.c.conversation)
            ).all()
            for row in rows:
                address = Address(tenant=row.tenant, channel=row.channel, conversation=row.conversation)
                text = f"⚠️ I tried {MAX_ATTEMPTS} times and could not handle this message. Message id: {row.id}"
                reply = OutboundMessage(address=address, text=text)
                _answer(connection, row.id, address, [reply], MessageStatus.DEAD, None)
        return len(rows)

    def _leave_routing(
        self,
        connection: sa.Connection,
        claimed: ClaimedMessage,
        status: MessageStatus,
        principal_id: str,
        *,
        run_id: str | None,
    ) -> None:
        values: dict[str, object] = {
            "state": status.value,
            "principal_id": principal_id,
            "run_id": run_id,
            "claimed_by": None,
            "lease_until": None,
        }
        if status.settled:
            values["replied_at"] = sa.func.clock_timestamp()
        done = connection.execute(
            sa.update(inbox)
            .where(inbox.c.id == claimed.message_id, inbox.c.token == claimed.token, inbox.c.state == "received")
            .values(values)
        )
        if done.rowcount != 1:
            raise LeaseLost(f"message {claimed.message_id} is no longer this worker's")


def check_fence(connection: sa.Connection, run_id: str, token: int) -> None:
    """Raise `LeaseLost` unless the run is still held under `token`; holds its row until commit."""
    from integrations.database.tables import run_queue

    held = connection.scalar(
        sa.select(run_queue.c.token).where(run_queue.c.run_id == run_id).with_for_update(read=True)
    )
    if held != token:
        raise LeaseLost(f"run {run_id} is no longer this worker's")


def _close(connection: sa.Connection, proposal: str | None) -> None:
    if proposal is not None and not close_proposal(connection, proposal):
        raise NotFound("this proposal was decided before, or has expired")


def _key(message: InboundMessage) -> tuple[str, str, str]:
    return message.address.tenant, message.address.channel, message.event_id


def _place(message: InboundMessage) -> tuple[str, str, str]:
    return message.address.tenant, message.address.channel, message.address.conversation


def _over_limit(
    connection: sa.Connection, messages: Sequence[InboundMessage], limit: int | None
) -> set[tuple[str, str, str]]:
    if limit is None:
        return set()
    places = list({_place(m) for m in messages})
    values = {
        "tenants": [p[0] for p in places],
        "channels": [p[1] for p in places],
        "conversations": [p[2] for p in places],
    }
    return {(r[0], r[1], r[2]) for r in connection.execute(_PENDING, values) if r[3] >= limit}


def _insert(
    connection: sa.Connection, messages: Sequence[InboundMessage], priority: int
) -> dict[tuple[str, str, str], str]:
    if not messages:
        return {}
    rows = connection.execute(
        _RECEIVE,
        {
            "ids": [str(uuid_utils.uuid7()) for _ in messages],
            "tenants": [m.address.tenant for m in messages],
            "channels": [m.address.channel for m in messages],
            "events": [m.event_id for m in messages],
            "conversations": [m.address.conversation for m in messages],
            "accounts": [m.account for m in messages],
            "bodies": [m.model_dump_json() for m in messages],
            "words": [command_word(m) for m in messages],
            "priorities": [priority for _ in messages],
            "traces": [m.traceparent for m in messages],
        },
    )
    return {(row[1], row[2], row[3]): row[0] for row in rows}


def _find(connection: sa.Connection, messages: Sequence[InboundMessage]) -> dict[tuple[str, str, str], str]:
    values = {
        "tenants": [m.address.tenant for m in messages],
        "channels": [m.address.channel for m in messages],
        "events": [m.event_id for m in messages],
    }
    return {(row[1], row[2], row[3]): row[0] for row in connection.execute(_KNOWN, values)}


def _record_utterance(
    connection: sa.Connection, claimed: ClaimedMessage, principal_id: str, run_id: str | None
) -> None:
    message = claimed.message
    in_turn(connection, message.address.tenant, message.address.channel, message.address.conversation)
    touch_conversation(connection, message.address, direct=message.direct, principal_id=principal_id)
    text = message.text or "/" + " ".join([message.command or "", *_shown(message.args)]).strip()
    body: dict[str, object] = {
        "text": text,
        "attachments": [a.model_dump() for a in message.attachments],
    }
    append_entry(
        connection,
        message.address,
        "user",
        body,
        claimed.message_id,
        run_id=run_id,
        principal_id=principal_id,
    )


def _shown(args: dict[str, object]) -> list[str]:
    return [f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in args.items()]


def _answer(
    connection: sa.Connection,
    message_id: str,
    address: Address,
    replies: Sequence[OutboundMessage],
    status: MessageStatus,
    run_id: str | None,
) -> None:
    in_turn(connection, address.tenant, address.channel, address.conversation)
    last = 0
    for part, reply in enumerate(replies):
        whole = reply.model_copy(update={"message_id": message_id, "run_id": run_id or reply.run_id})
        last = enqueue(connection, whole, f"{message_id}:{part}") or last
    settled = {
        "message_id": message_id,
        "tenant": address.tenant,
        "channel": address.channel,
        "conversation": address.conversation,
        "status": status.value,
        "transcript_id": last,
    }
    notify(connection, "runbell_settled", json.dumps(settled))
    notify(connection, "runbell_inbox")


__all__ = ["MAX_ATTEMPTS", "Inbox", "check_fence", "command_word", "lease_tokens"]
