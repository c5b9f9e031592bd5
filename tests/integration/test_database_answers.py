"""Answers on their way out: bound to who asked, shown by one gateway, given up by hand."""

import itertools
from datetime import datetime

import pytest

from integrations.database import ClaimedMessage, Database, NewRun
from integrations.messages import Address, Delivery, InboundMessage, OutboundMessage

HERE = Address(channel="im", conversation="c1")
EVENTS = itertools.count()


def claimed(database: Database, **more: object) -> ClaimedMessage:
    said = {"address": HERE, "event_id": f"e{next(EVENTS)}", "account": "ada", "text": "hello", **more}
    database.inbox.receive([InboundMessage.model_validate(said)])
    (message,) = database.inbox.claim("w1")
    return message


def running(database: Database, **more: object) -> str:
    message = claimed(database, **more)
    database.inbox.start(message, NewRun("core", "assistant", {}, {}), principal_id="p1", worker=None)
    return message.message_id


def answered(database: Database, message_id: str, **more: object) -> None:
    reply = OutboundMessage.model_validate({"address": HERE, "text": "done", **more})
    assert database.inbox.answer(message_id, [reply])


@pytest.mark.parametrize(
    ("said", "ref"), [({"ref": "m1"}, "m1"), ({"kind": "action", "subject": "m0"}, "m0"), ({}, None)]
)
def test_an_answer_replies_to_what_asked_and_is_for_who_asked(
    database: Database, said: dict[str, object], ref: str | None
) -> None:
    answered(database, running(database, **said))
    (of_run,) = database.outbox.lease(["im"], "g1")
    database.outbox.record(of_run, Delivery(state="sent"))
    message = claimed(database, **said)
    database.inbox.settle(message, [OutboundMessage(address=HERE, text="on the spot")], principal_id="p1")
    (at_once,) = database.outbox.lease(["im"], "g1")

    assert [item.message.in_reply_to for item in (of_run, at_once)] == [ref, ref]
    assert [item.message.asked for item in (of_run, at_once)] == ["ada", "ada"]


def test_the_end_of_an_answer_is_left_to_the_gateway_that_shows_it_until_that_is_gone(database: Database) -> None:
    message_id = running(database)
    assert database.growing.begin(message_id, "g1")
    database.growing.shown(message_id, "p7")
    answered(database, message_id)

    assert database.outbox.lease(["im"], "g2") == []
    database.growing.keep([message_id], "g1", lease_s=0)
    (item,) = database.outbox.lease(["im"], "g2")

    assert database.growing.handle(message_id) == "p7"
    database.outbox.record(item, Delivery(state="sent"))
    assert database.growing.handle(message_id) is None


def test_one_gateway_shows_an_answer_and_none_one_that_is_given(database: Database) -> None:
    message_id, given = running(database), running(database, address=HERE.model_copy(update={"conversation": "c2"}))
    answered(database, given)

    assert database.growing.begin(message_id, "g1")
    assert not database.growing.begin(message_id, "g2")
    assert not database.growing.begin(given, "g1")


def test_the_end_of_a_shown_answer_is_sent_again_where_its_sender_died(database: Database) -> None:
    message_id = running(database)
    database.growing.begin(message_id, "g1")
    database.growing.shown(message_id, "p7")
    answered(database, message_id)
    database.outbox.post(OutboundMessage(address=Address(channel="im", conversation="c2"), text="a post"), key="k")
    database.outbox.lease(["im"], "g1", lease_s=-1)

    database.outbox.recover(["im"], repeatable=[])

    assert {item.message.text: item.state for item in database.outbox.find(["queued", "unknown"])} == {
        "done": "queued",
        "a post": "unknown",
    }


def test_what_is_dropped_is_neither_sent_nor_listed_nor_queued_again(database: Database) -> None:
    post = OutboundMessage(address=HERE, text="too much")
    database.outbox.post(post, key="k1")
    (item,) = database.outbox.lease(["im"], "g1")
    assert not database.outbox.drop(item.id)
    database.outbox.record(item, Delivery(state="failed", error="refused"))

    assert database.outbox.drop(item.id)

    assert not database.outbox.replay(item.id)
    assert database.outbox.find() == []
    assert database.outbox.get(item.id).state == "dropped"
    assert not database.outbox.post(post, key="k1")


def test_a_group_is_told_from_a_chat_of_two(database: Database) -> None:
    two = HERE.model_copy(update={"conversation": "c2"})
    answered(database, running(database, direct=False))
    answered(database, running(database, address=two), address=two)

    groups = {item.message.address.conversation: item.group for item in database.outbox.lease(["im"], "g1")}

    assert groups == {"c1": True, "c2": False}


def test_the_first_words_of_an_answer_are_noted_once(database: Database) -> None:
    message_id = running(database)

    def noted() -> datetime | None:
        view = database.inbox.get(message_id)
        assert view is not None
        return view.receipt.first_token_at

    database.progress.publish_all([(message_id, HERE, {"type": "op", "op": "think", "state": "started"})])
    before = noted()
    database.progress.publish_all([(message_id, HERE, {"type": "delta", "text": "one"})], begun=[message_id])
    first = noted()
    database.progress.publish_all([(message_id, HERE, {"type": "delta", "text": "two"})], begun=[message_id])

    assert before is None
    assert first is not None
    assert noted() == first
