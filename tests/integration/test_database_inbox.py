"""The inbox, the run queue and the outbox on a real PostgreSQL."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import sqlalchemy as sa

from integrations.database import ClaimedMessage, Database, NewRun, RunClaim, StoredCommand
from integrations.database.catalogue import close_proposal
from integrations.database.engine import in_turn
from integrations.errors import Forbidden, LeaseLost
from integrations.messages import (
    Address,
    Choice,
    Delivery,
    InboundMessage,
    MessageStatus,
    OutboundMessage,
    run_id_for,
)
from tests.warming import eventually

ADA = "ada"


def message(text: str = "hello", *, event: str = "e1", conversation: str = "c1", account: str = ADA) -> InboundMessage:
    address = Address(channel="rest", conversation=conversation)
    return InboundMessage(address=address, event_id=event, account=account, text=text)


def claim_one(database: Database, worker: str = "w1") -> ClaimedMessage:
    (claimed,) = database.inbox.claim(worker)
    return claimed


def reply(claimed: ClaimedMessage, text: str = "hi") -> OutboundMessage:
    return OutboundMessage(address=claimed.message.address, text=text)


ASSISTANT = NewRun("core", "assistant", {"ops": {}}, {"runbell/channel": "rest"})


def start(
    database: Database, claimed: ClaimedMessage, *, worker: str | None = "w1", lease_s: float = 15
) -> RunClaim | None:
    return database.inbox.start(claimed, ASSISTANT, principal_id="p1", worker=worker, lease_s=lease_s)


def test_fifty_deliveries_at_once_are_one_message(database: Database) -> None:
    with ThreadPoolExecutor(10) as pool:
        results = list(pool.map(lambda _: database.inbox.receive([message()])[0], range(50)))

    assert len({r.message_id for r in results}) == 1
    assert sum(r.fresh for r in results) == 1
    assert len(database.inbox.claim("w1", limit=10)) == 1


def test_redelivery_within_one_batch_is_one_message(database: Database) -> None:
    first, second = database.inbox.receive([message(), message()])

    assert first.message_id == second.message_id
    assert (first.fresh, second.fresh) == (True, False)


def test_messages_of_a_conversation_are_claimed_in_turn(database: Database) -> None:
    database.inbox.receive([message(event=f"e{n}", text=str(n)) for n in range(3)])
    database.inbox.receive([message(event="other", conversation="c2", text="other", account="bob")])

    taken = database.inbox.claim("w1", limit=10)
    assert {c.message.text for c in taken} == {"0", "other"}
    assert database.inbox.claim("w2", limit=10) == []

    first = next(c for c in taken if c.message.text == "0")
    database.inbox.settle(first, [reply(first)], principal_id="p1")
    assert claim_one(database).message.text == "1"


def test_control_words_overtake(database: Database) -> None:
    database.inbox.receive([message("work"), message("/Cancel now", event="e2"), message("／取消", event="e3")])
    claim_one(database)

    words = database.inbox.claim("w2", limit=5, words={"cancel", "取消"})

    assert [c.message.text for c in words] == ["/Cancel now", "／取消"]


def test_the_account_with_least_running_goes_first(database: Database) -> None:
    database.inbox.receive([message(event=f"a{n}", conversation=f"a{n}") for n in range(5)])
    database.inbox.receive([message(event="b", conversation="b", account="bob")])
    start(database, claim_one(database))

    assert claim_one(database).message.account == "bob"


def test_a_started_message_has_one_run_held_by_its_worker(database: Database) -> None:
    (received,) = database.inbox.receive([message()])
    claimed = claim_one(database)

    run = start(database, claimed)

    assert run is not None
    assert run.run_id == run_id_for(str(received.message_id))
    assert database.runs.claim("core", "w2") == []
    view = database.inbox.get(claimed.message_id)
    assert view is not None
    assert (view.status, view.run_id) == (MessageStatus.RUNNING, run.run_id)


def test_a_run_for_another_worker_is_queued(database: Database) -> None:
    database.inbox.receive([message()])
    assert start(database, claim_one(database), worker=None) is None

    (run,) = database.runs.claim("core", "w2")

    assert run.request == {"run_config": {"ops": {}}, "tags": {"runbell/channel": "rest"}}
    assert run.address == Address(channel="rest", conversation="c1")
    assert run.attempts == 1


def test_an_answer_is_written_once(database: Database) -> None:
    database.inbox.receive([message()])
    claimed = claim_one(database)
    run = start(database, claimed)
    assert run is not None

    answers = [
        database.inbox.answer(claimed.message_id, [reply(claimed, text)], run_id=run.run_id)
        for text in ("first", "second")
    ]

    assert answers == [True, False]
    view = database.inbox.get(claimed.message_id)
    assert view is not None
    assert [entry.text for entry in view.replies] == ["first"]
    assert view.status is MessageStatus.ANSWERED
    assert view.receipt.replied_at is not None
    assert [i.message.text for i in database.outbox.lease(["rest"], "g1")] == ["first"]


def test_a_worker_that_lost_its_lease_writes_nothing(database: Database) -> None:
    database.inbox.receive([message()])
    claimed = claim_one(database)
    run = start(database, claimed, lease_s=-1)
    assert run is not None
    (taken,) = database.runs.claim("core", "w2")
    assert taken.attempts == 2

    assert database.runs.heartbeat({run.run_id: run.token}) == {run.run_id}
    with pytest.raises(LeaseLost):
        database.runs.finish(run)
    with pytest.raises(LeaseLost):
        database.inbox.answer(claimed.message_id, [reply(claimed)], run_id=run.run_id, fence=run.token)
    assert database.inbox.answer(claimed.message_id, [reply(claimed)], run_id=run.run_id, fence=taken.token)
    database.runs.finish(taken)


def test_a_message_whose_router_died_is_claimed_anew_and_at_last_buried(database: Database) -> None:
    database.inbox.receive([message()])
    first = database.inbox.claim("w1", lease_s=-1)[0]
    for _ in range(4):
        assert len(database.inbox.claim("w2", lease_s=-1)) == 1

    with pytest.raises(LeaseLost):
        database.inbox.settle(first, [reply(first)], principal_id="p1")
    assert database.inbox.claim("w3") == []
    assert database.inbox.bury() == 1
    view = database.inbox.get(first.message_id)
    assert view is not None
    assert view.status is MessageStatus.DEAD
    assert first.message_id in view.replies[0].text


def test_a_full_conversation_refuses_more(database: Database) -> None:
    database.inbox.receive([message(event=f"e{n}") for n in range(3)])

    refused, fine = database.inbox.receive(
        [message(event="e9"), message(event="f", conversation="c2")], pending_limit=3
    )

    assert refused.message_id is None
    assert fine.fresh


def test_a_waiting_message_lets_its_conversation_go_on(database: Database) -> None:
    database.inbox.receive([message(), message(event="e2", text="next")])
    claimed = claim_one(database)
    start(database, claimed)

    database.inbox.wait(claimed.message_id, waiting=True)

    assert claim_one(database).message.text == "next"


def test_parked_runs_are_held_by_nobody_until_woken(database: Database) -> None:
    database.runs.submit("r1", location="core", job="j")
    (run,) = database.runs.claim("core", "w1")
    database.runs.park(run, {"why": "approval"}, until=None)
    assert database.runs.claim("core", "w1") == []

    assert database.runs.wake("r1")

    (again,) = database.runs.claim("core", "w2")
    assert again.parked == {"why": "approval"}
    assert not database.runs.wake("r1")


def test_a_cancel_request_reaches_holder_and_claimer(database: Database) -> None:
    database.runs.submit("r1", location="core", job="j")
    database.runs.submit("r2", location="core", job="j")
    (held,) = database.runs.claim("core", "w1")

    assert database.runs.request_cancel(held.run_id)
    assert database.runs.request_cancel("r2" if held.run_id == "r1" else "r1")
    assert not database.runs.request_cancel("unknown")

    assert database.runs.cancels([held.run_id]) == {held.run_id}
    (other,) = database.runs.claim("core", "w1")
    assert other.cancel_requested


def test_the_outbox_keeps_order_and_retries(database: Database) -> None:
    address = Address(channel="slack", conversation="c1")
    for n in range(2):
        assert database.outbox.post(OutboundMessage(address=address, text=str(n)), key=f"k{n}")
    assert not database.outbox.post(OutboundMessage(address=address, text="again"), key="k1")

    (first,) = database.outbox.lease(["slack"], "g1")
    assert database.outbox.lease(["slack"], "g2") == []
    database.outbox.record(first, Delivery(state="failed", error="429"), retry_after_s=0)
    (again,) = database.outbox.lease(["slack"], "g1")
    assert (again.id, again.attempts) == (first.id, 2)
    database.outbox.record(again, Delivery(state="sent", platform_id="ts1"))
    assert [i.message.text for i in database.outbox.lease(["slack"], "g1")] == ["1"]


def test_a_sender_that_died_is_not_repeated_blindly(database: Database) -> None:
    for channel in ("web", "slack"):
        address = Address(channel=channel, conversation="c")
        database.outbox.post(OutboundMessage(address=address, text="x"), key=channel)
    database.outbox.lease(["web", "slack"], "g1", lease_s=-1)

    assert database.outbox.recover(["web", "slack"], repeatable=["web"]) == 2

    assert [i.message.address.channel for i in database.outbox.lease(["web", "slack"], "g2")] == ["web"]
    (unknown,) = database.outbox.find()
    assert unknown.state == "unknown"
    assert database.outbox.replay(unknown.id)
    assert not database.outbox.replay(unknown.id)


def test_progress_is_numbered_and_collapses(database: Database) -> None:
    (received,) = database.inbox.receive([message()])
    message_id, address = str(received.message_id), message().address
    bodies: list[dict[str, object]] = [
        {"type": "run", "run_id": "r", "url": "u", "job": "assistant"},
        {"type": "op", "op": "think", "state": "started", "ms": None},
        {"type": "delta", "text": "lost"},
        {"type": "reset"},
        {"type": "delta", "text": "Par"},
        {"type": "delta", "text": "is"},
        {"type": "op", "op": "think", "state": "succeeded", "ms": 12.5},
    ]
    assert [database.progress.publish(message_id, address, body) for body in bodies] == list(range(1, 8))

    snapshot = database.progress.snapshot(message_id)

    assert (snapshot.seq, snapshot.partial, snapshot.run_id) == (7, "Paris", "r")
    assert [(o.op, o.state, o.ms) for o in snapshot.ops] == [("think", "succeeded", 12.5)]


def test_an_op_at_work_tells_a_late_client_how_long_it_has_been(database: Database) -> None:
    (received,) = database.inbox.receive([message()])
    message_id = str(received.message_id)
    database.progress.publish(
        message_id, message().address, {"type": "op", "op": "ask", "state": "started", "ms": None}
    )
    with database.engine.begin() as connection:
        connection.execute(sa.text("update runbell.progress set at = at - interval '3 minutes'"))

    (op,) = database.progress.snapshot(message_id).ops

    assert op.state == "started"
    assert op.ms is not None
    assert 180_000 <= op.ms < 240_000


def test_large_progress_is_announced_without_its_body(database: Database) -> None:
    from integrations.database import Listener

    (received,) = database.inbox.receive([message()])
    heard: list[str] = []
    arrived = threading.Event()

    def hear(channel: str, payload: str) -> None:
        if channel:
            heard.append(payload)
            arrived.set()

    listener = Listener(database.url, ["runbell_progress"], hear).start()
    assert listener.connected.wait(10)
    seq = database.progress.publish(str(received.message_id), message().address, {"type": "delta", "text": "鐘" * 9000})

    assert arrived.wait(10)
    listener.close()
    assert '"body": null' in heard[0]
    body = database.progress.read(str(received.message_id), seq)
    assert body is not None
    assert body["text"] == "鐘" * 9000


def test_only_one_yes_counts(database: Database) -> None:
    address = message().address
    proposal = database.proposals.put(address, "p1", "health", {"urls": ["http://x"]})
    assert database.proposals.open(address, "p2") is None
    assert database.proposals.open(address, "p1") == proposal

    with ThreadPoolExecutor(8) as pool:
        decided = list(pool.map(lambda _: database.proposals.decide(proposal.id), range(8)))

    assert sum(decided) == 1
    assert database.proposals.open(address, "p1") is None


def test_an_expired_proposal_is_gone(database: Database) -> None:
    proposal = database.proposals.put(message().address, "p1", "health", {}, ttl_s=-1)

    assert database.proposals.open(message().address, "p1") is None
    assert not database.proposals.decide(proposal.id)


def test_first_contact_makes_one_principal(database: Database) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: database.principals.resolve("default", "web", "u1", name="Ada"), range(8)))

    assert len({p.id for p in made}) == 1
    database.principals.disable(made[0].id)
    with pytest.raises(Forbidden):
        database.principals.resolve("default", "web", "u1")


def test_forgetting_removes_the_words_but_still_refuses_redelivery(database: Database) -> None:
    database.inbox.receive([message("my secret")])
    claimed = claim_one(database)
    choice = (Choice(label="a", text="b"),)
    answer = OutboundMessage(address=claimed.message.address, text="your secret", choices=choice)
    database.inbox.settle(claimed, [answer], principal_id="p1")
    (item,) = database.outbox.lease(["rest"], "g1")
    database.outbox.record(item, Delivery(state="sent"))

    assert database.transcript.forget(claimed.message.address) == 2

    with database.engine.connect() as connection:
        for table in ("inbox", "outbox", "transcript", "progress"):
            rows = connection.execute(sa.text(f"select t::text from runbell.{table} t")).scalars().all()
            assert not any("secret" in row for row in rows)
    assert not database.inbox.receive([message("my secret")])[0].fresh


def test_a_yes_and_forgetting_do_not_wait_for_each_other(database: Database) -> None:
    address = message().address
    proposal = database.proposals.put(address, "p1", "health", {})

    with ThreadPoolExecutor(1) as pool:
        with database.engine.begin() as yes:
            assert close_proposal(yes, proposal.id)
            forgetting = pool.submit(database.transcript.forget, address)
            eventually(lambda: waits_for_a_lock(database), "forgetting waits for the yes")
            in_turn(yes, address.tenant, address.channel, address.conversation)
        assert forgetting.result(10) == 0

    assert database.proposals.get(proposal.id) is None


def waits_for_a_lock(database: Database) -> bool:
    query = "select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    with database.engine.connect() as connection:
        return connection.execute(sa.text(query)).first() is not None


def test_transcript_is_read_forwards_and_backwards(database: Database) -> None:
    address = message().address
    for n in range(5):
        database.outbox.post(OutboundMessage(address=address, text=str(n)), key=str(n))

    last = database.transcript.recent(address, limit=2)
    assert [e.text for e in last] == ["3", "4"]
    assert [e.text for e in database.transcript.recent(address, limit=2, before=last[0].id)] == ["1", "2"]
    assert [e.text for e in database.transcript.after(address, last[0].id)] == ["4"]
    assert last[0].at.utcoffset() == timedelta(0)


def test_commands_of_a_location_that_is_gone_are_removed(database: Database) -> None:
    for location in ("core", "gone"):
        database.commands.replace(location, [StoredCommand(f"{location}-command", location, "job")])

    assert database.commands.keep(["core", "examples"]) == 1

    assert [command.name for command in database.commands.all()] == ["core-command"]
