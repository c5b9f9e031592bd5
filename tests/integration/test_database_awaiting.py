"""Whatever ends a message that an action has sent wakes the run that waits for it, and can't stand in a circle."""

import threading
from collections.abc import Callable

import pytest
import sqlalchemy as sa

from integrations.approvals.values import NewApproval
from integrations.database import Database
from integrations.database.engine import in_turn
from integrations.messages import Address, InboundMessage, OutboundMessage, sent_as
from tests.approvals import MANAGERS, person
from tests.warming import eventually

HERE = Address(channel="web", conversation="c1")
REPLY = [OutboundMessage(address=HERE, text="shipped")]
End = Callable[[Database, str], object]


def settled(database: Database, message_id: str) -> None:
    (claimed,) = database.inbox.claim("w1")
    database.inbox.settle(claimed, REPLY, principal_id=person(database, "ada").id)


def answered(database: Database, message_id: str) -> None:
    assert database.inbox.answer(message_id, REPLY)


def buried(database: Database, message_id: str) -> None:
    with database.engine.begin() as connection:
        connection.execute(sa.text("update runbell.inbox set attempts = 9, lease_until = now() - interval '1 s'"))
    assert database.inbox.bury() == 1


def denied(database: Database, message_id: str) -> None:
    (claimed,) = database.inbox.claim("w1")
    ada = person(database, "ada")
    wanted = NewApproval(
        subject="ship", args={}, shown="/ship", policy=MANAGERS, requester_id=ada.id, requester_name="Ada",
        tenant="default", origin=HERE, message_id=message_id,
    )  # fmt: skip
    approval = database.inbox.hold(claimed, wanted, database.principals.now)
    assert database.approvals.void(approval.id, "not today")


ENDS = pytest.mark.parametrize("end", [settled, answered, buried, denied])


@pytest.fixture
def sent(database: Database) -> str:
    """A message that the op of a parked run has sent, and waits for; its id."""
    message = InboundMessage(address=HERE, event_id=sent_as("run1:op"), account="ada", command="ship")
    (received,) = database.inbox.receive([message])
    with database.engine.begin() as connection:
        connection.execute(
            sa.text(
                "insert into runbell.run_queue (run_id, location, job, state, available_at, parked) values"
                " ('run1', 'core', 'assistant', 'parked', 'infinity', jsonb_build_object('events',"
                " jsonb_build_array(jsonb_build_object('name', 'runbell.settled', 'key', cast(:id as text)))))"
            ),
            {"id": received.message_id},
        )
    return str(received.message_id)


@ENDS
def test_every_end_of_a_message_wakes_the_run_that_waits_for_it(database: Database, sent: str, end: End):
    before = database.runs.claim("core", "w1")

    end(database, sent)

    (claim,) = database.runs.claim("core", "w1")
    view = database.sent.awaited(claim, "op", sent)
    assert before == []
    assert view is not None
    assert view.status.settled


@ENDS
def test_the_end_of_a_message_holds_no_conversation_while_it_waits_for_the_run(database: Database, sent: str, end: End):
    """As the decision of an approval of that run does it, which wants the conversation's turn next."""
    ending = threading.Thread(target=end, args=(database, sent))
    with database.engine.begin() as connection:
        connection.execute(sa.text("select 1 from runbell.run_queue where run_id = 'run1' for update"))
        ending.start()
        eventually(lambda: _waits_for_a_lock(database), "it waits for the run")
        connection.execute(sa.text("set local lock_timeout = '3s'"))
        in_turn(connection, HERE.tenant, HERE.channel, HERE.conversation)
    ending.join(20)

    (claim,) = database.runs.claim("core", "w1")
    assert claim.run_id == "run1"


def test_what_people_have_said_tells_no_run(database: Database):
    database.inbox.receive([InboundMessage(address=HERE, event_id="e1", account="ada", text="hi")])

    settled(database, "")

    with database.engine.begin() as connection:
        assert connection.scalar(sa.text("select count(*) from runbell.events")) == 0


def _waits_for_a_lock(database: Database) -> bool:
    query = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
    with database.engine.begin() as connection:
        return bool(connection.scalar(sa.text(query)))
