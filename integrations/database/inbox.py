"""The inbox: receive, claim, start or settle. An acknowledged message is stored (I1) and handled once (I2)."""

import threading
from collections.abc import Collection, Sequence

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from integrations.approvals.values import Approval, NewApproval
from integrations.database.approval_asking import LookUp, ask, use
from integrations.database.approving import tell_requester
from integrations.database.awaiting import wake_sender
from integrations.database.callbacks import tell
from integrations.database.engine import Store, notify
from integrations.database.follow_ups import follow
from integrations.database.questions import asked_again, close_question, put_question
from integrations.database.receiving import store
from integrations.database.records import ClaimedMessage, MessageView, NewRun, Pending, Received, RunClaim
from integrations.database.requesting import insert_run
from integrations.database.settling import (
    ASKED,
    Asked,
    asked,
    check_fence,
    decide,
    record_utterance,
    write_answer,
)
from integrations.database.tables import inbox
from integrations.database.views import message_view
from integrations.errors import LeaseLost
from integrations.messages import Address, InboundMessage, MessageStatus, OutboundMessage, Priority, run_id_for

SETTLED = [status.value for status in MessageStatus if status.settled]
MAX_ATTEMPTS = 5
"""Times that a message may be claimed before it is given up as dead."""

# One at a time per conversation in order of arrival (I3); control words overtake. Of the first two thousand that
# are free, those whose turn it is; of these, the account with the fewest running messages goes first. The bound
# keeps a claim at a few milliseconds whatever the backlog. Timers have a lane of their own in a conversation: what
# they say never holds up what people say there.
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
      and e.conversation = f.conversation and e.state in ('received', 'running') and e.priority = f.priority
    order by e.seq limit 1)"""
_CLAIM_TURN = sa.text(_CLAIM.format(words="true", turn=_IN_TURN))
_CLAIM_WORDS = sa.text(_CLAIM.format(words="i.word = any(cast(:words as text[]))", turn="true"))


_here = threading.local()


def settled_here(message_id: str) -> bool:
    """Tell, without asking the database, whether it is the last one that this thread settled with `Inbox.answer`."""
    return bool(getattr(_here, "settled", None) == message_id)


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
            return store(connection, messages, priority, pending_limit)

    def claim(
        self, worker: str, *, limit: int = 1, lease_s: float = 15.0, words: Collection[str] | None = None
    ) -> list[ClaimedMessage]:
        """Lease messages for routing, in turn; with `words`, control commands only, whose turn is always."""
        values: dict[str, object] = {"worker": worker, "limit": limit, "lease": lease_s, "most": MAX_ATTEMPTS}
        statement = _CLAIM_TURN
        if words is not None:
            statement, values["words"] = _CLAIM_WORDS, sorted(words)
        with self._statement() as connection:
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
        A message that has waited for an approval uses it up: raises `Forbidden` where it no longer holds.
        Returns the claim, or None where another worker shall take the run. Raises `LeaseLost`, and `Followed` where the
        run that is to be retried or repeated was so before.
        """
        message, run_id = claimed.message, run_id_for(claimed.message_id)
        with self._transaction() as connection:
            decide(connection, proposal)
            follow(connection, run, run_id)
            self._leave_routing(connection, claimed, MessageStatus.RUNNING, principal_id, run_id=run_id)
            if message.approval is None:
                record_utterance(connection, claimed, principal_id, run_id)
            else:
                use(connection, message.approval)
            close_question(connection, message.address, principal_id, run.asked.command if run.asked else "")
            tell(connection, message.callback_url, claimed.message_id, message.address.tenant, "running")
            return insert_run(connection, claimed, run, run_id, principal_id, worker, lease_s, message.address)

    def hold(
        self, claimed: ClaimedMessage, wanted: NewApproval, look_up: LookUp, *, proposal: str | None = None
    ) -> Approval:
        """Let a message wait for an approval before its run is made. Raises `LeaseLost`; see `start`."""
        message, principal_id = claimed.message, wanted.requester_id
        with self._transaction() as connection:
            decide(connection, proposal)
            self._leave_routing(connection, claimed, MessageStatus.WAITING, principal_id, run_id=None)
            made = ask(connection, wanted, look_up, lambda: record_utterance(connection, claimed, principal_id, None))
            close_question(connection, message.address, principal_id, wanted.subject)
            tell_requester(connection, made, message.ref or message.subject)
            tell(connection, message.callback_url, claimed.message_id, message.address.tenant, "waiting")
            notify(connection, "runbell_inbox")
        return made

    def settle(
        self,
        claimed: ClaimedMessage,
        replies: Sequence[OutboundMessage],
        *,
        principal_id: str,
        status: MessageStatus = MessageStatus.ANSWERED,
        proposal: str | None = None,
        pending: Pending | None = None,
    ) -> None:
        """Answer a claimed message on the spot, without a run. Raises `LeaseLost`.

        With `proposal`, the message is the no to it, and closes it: raises `NotFound` where another was quicker.
        With `pending`, the answer is a question, and the next free text its answer. A form that is asked for once more
        holds what was filled in, which is no utterance.
        """
        message = claimed.message
        with self._transaction() as connection:
            decide(connection, proposal)
            self._leave_routing(connection, claimed, status, principal_id, run_id=None)
            wake_sender(connection, Asked.of(claimed))
            if message.approval is None and not asked_again(message, pending):
                # One that has waited for an approval was recorded when it began to.
                record_utterance(connection, claimed, principal_id, None)
            if pending is not None:
                replies = put_question(connection, claimed, principal_id, pending, replies)
            write_answer(connection, Asked.of(claimed), replies, status, None)

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
                .returning(*ASKED)
            ).first()
            if row is None:
                return False
            wake_sender(connection, asked(row))
            write_answer(connection, asked(row), replies, status, run_id)
        _here.settled = message_id
        return True

    def wait(self, message_id: str, *, waiting: bool) -> None:
        """Mark that the message's run is parked (its conversation goes on), or that it runs again."""
        before, after = ("running", "waiting") if waiting else ("waiting", "running")
        with self._transaction() as connection:
            row = connection.execute(
                sa.update(inbox)
                .where(inbox.c.id == message_id, inbox.c.state == before)
                .values(state=after)
                .returning(*ASKED)
            ).first()
            if row is not None:
                tell(connection, row.callback_url, message_id, row.tenant, after)
            notify(connection, "runbell_inbox")

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
                .returning(*ASKED)
            ).all()
            questions = [asked(row) for row in rows]
            for question in questions:
                wake_sender(connection, question)
            for question in questions:
                text = f"⚠️ I tried {MAX_ATTEMPTS} times and could not handle this message. Message id: "
                reply = OutboundMessage(address=question.address, text=text + question.message_id)
                write_answer(connection, question, [reply], MessageStatus.DEAD, None)
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
        if claimed.redacted:
            shown = claimed.message.model_dump(mode="json", include={"text", "args"})
            values["body"] = inbox.c.body.op("||")(sa.cast(shown, JSONB))
        done = connection.execute(
            sa.update(inbox)
            .where(inbox.c.id == claimed.message_id, inbox.c.token == claimed.token, inbox.c.state == "received")
            .values(values)
        )
        if done.rowcount != 1:
            raise LeaseLost(f"message {claimed.message_id} is no longer this worker's")
