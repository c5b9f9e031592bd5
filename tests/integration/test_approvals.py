"""Approvals on a real PostgreSQL: one decision counts, from who may give it at that moment, and all hear of it."""

import random
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from integrations.approvals.policy import Policy
from integrations.approvals.values import FINAL
from integrations.database import Keep
from integrations.database.amend import Amendments
from integrations.messages import InboundMessage, MessageStatus
from tests.approvals import HERE, MANAGERS, OFFICE, held, let_pass, now, person, say, set_roles, shown

DAY = timedelta(days=1)


def status(database, approval):
    return database.inbox.get(approval.message_id).status


def test_what_waits_is_asked_where_the_policy_says_and_the_requester_is_told_whom_it_waits_for(database):
    approval = held(database)

    (card,) = [i.message for i in database.outbox.find(["queued"]) if i.message.address == OFFICE]
    assert [choice.text for choice in card.choices] == [f"/approve {approval.id}", f"/deny {approval.id}"]
    assert "/refund order=7" in card.text
    assert card.asked is None
    assert f"waits for approval `{approval.id}` by manager" in shown(database, HERE)[0]
    assert status(database, approval) is MessageStatus.WAITING
    assert database.inbox.claim("w1") == []


def test_an_approval_lets_the_message_be_routed_once_and_the_card_shows_who_decided(database):
    bob, approval = person(database, "bob", "manager"), held(database)

    assert say(database, approval, bob, reason="order is late").outcome == "approved"

    (claimed,) = database.inbox.claim("w2")
    assert (claimed.message_id, claimed.message.approval) == (approval.message_id, approval.id)
    card = next(i.message for i in database.outbox.find(["queued"]) if i.message.address == OFFICE)
    assert "Approved: Bob" in card.text
    assert "order is late" in card.text
    assert (card.choices, card.replaces) == ((), f"approval:{approval.id}:0")
    assert "✅ Bob approved" in shown(database, HERE)[-1]


def test_a_denial_ends_the_message_with_its_reason_and_nothing_is_run(database):
    bob, approval = person(database, "bob", "manager"), held(database)

    assert say(database, approval, bob, "deny", "no budget").outcome == "denied"

    assert status(database, approval) is MessageStatus.FAILED
    assert "denied by Bob: no budget. Nothing was run." in shown(database, HERE)[-1]
    assert now(database, approval).args is None
    assert database.inbox.claim("w2") == []


def test_nobody_else_can_decide_and_each_is_told_why(database):
    bob, eve = person(database, "bob", "manager"), person(database, "eve")
    ada = person(database, "ada", "manager")
    approval = held(database, by=ada)

    assert say(database, approval, ada).outcome == "self"
    assert say(database, approval, eve).outcome == "forbidden"
    assert say(database, approval, eve.model_copy(update={"roles": ("manager",)})).outcome == "forbidden"
    assert say(database, approval, bob.model_copy(update={"tenant": "other"})).outcome == "unknown"
    assert database.approvals.decide(_forged(bob)).outcome == "unknown"
    assert now(database, approval).state == "pending"
    assert status(database, approval) is MessageStatus.WAITING


def test_an_approver_is_checked_at_the_moment_of_deciding(database):
    bob, approval = person(database, "bob", "manager"), held(database)
    set_roles(database, bob, "user")
    assert say(database, approval, bob).outcome == "forbidden"

    set_roles(database, bob, "manager")
    database.principals.disable(bob.id)
    assert say(database, approval, bob).outcome == "unknown"
    assert now(database, approval).state == "pending"


def test_a_replayed_late_or_doubled_word_changes_nothing(database):
    bob, cleo = person(database, "bob", "manager"), person(database, "cleo", "manager")
    approval = held(database)
    say(database, approval, bob)
    before = shown(database), shown(database, HERE)

    assert say(database, approval, bob).outcome == "over"
    assert say(database, approval, cleo, "deny", "too late").outcome == "over"

    assert (shown(database), shown(database, HERE)) == before
    assert [(one.name, one.verdict) for one in now(database, approval).decisions] == [("Bob", "approve")]


def test_as_many_different_people_are_needed_as_the_policy_says(database):
    bob, cleo = person(database, "bob", "manager"), person(database, "cleo", "manager")
    approval = held(database, MANAGERS.model_copy(update={"count": 2}))

    assert say(database, approval, bob).outcome == "counted"
    assert say(database, approval, bob).outcome == "twice"
    assert database.inbox.claim("w2") == []
    assert say(database, approval, cleo).outcome == "approved"
    assert len(database.inbox.claim("w2")) == 1


def test_of_two_who_decide_in_the_same_instant_one_decides(database):
    people = [person(database, f"manager{n}", "manager") for n in range(8)]
    for round_ in range(5):
        approval = held(database, text=f"/refund order={round_}")
        with ThreadPoolExecutor(8) as pool:
            said = [
                pool.submit(say, database, approval, who, ("deny", "approve")[n % 2]) for n, who in enumerate(people)
            ]
            answers = [one.result().outcome for one in said]

        assert sorted(answers) in (["approved", *["over"] * 7], ["denied", *["over"] * 7])
        assert len(now(database, approval).decisions) == 1
        assert _routed(database) == (1 if "approved" in answers else 0)


def test_a_required_reason_is_asked_for(database):
    bob = person(database, "bob", "manager")
    approval = held(database, MANAGERS.model_copy(update={"reason_required": True}))

    assert say(database, approval, bob).outcome == "reason"
    assert say(database, approval, bob, "approve", "agreed with legal").outcome == "approved"


def test_an_undecided_approval_expires_and_everybody_is_told(database):
    bob = person(database, "bob", "manager")
    approval = held(database, MANAGERS.model_copy(update={"expires_after": DAY}))
    assert database.approval_timers.look() == 0
    let_pass(database, approval, DAY)

    assert [database.approval_timers.look(), database.approval_timers.look()] == [1, 0]

    assert now(database, approval).state == "expired"
    assert status(database, approval) is MessageStatus.FAILED
    assert "nobody decided in time" in shown(database, HERE)[-1]
    assert "nobody decided in time" in shown(database)[-1]
    assert say(database, approval, bob).outcome == "over"


def test_a_word_that_comes_after_the_end_is_late_even_if_nobody_looked(database):
    bob = person(database, "bob", "manager")
    approval = held(database, MANAGERS.model_copy(update={"expires_after": DAY}))
    let_pass(database, approval, DAY)

    assert say(database, approval, bob).outcome == "over"
    assert now(database, approval).state == "expired"
    assert status(database, approval) is MessageStatus.FAILED


def test_reminders_come_once_each_and_an_outage_is_made_up_for_by_one(database):
    approval = held(database, MANAGERS.model_copy(update={"remind_after": DAY, "expires_after": 6 * DAY}))
    let_pass(database, approval, DAY)
    assert [database.approval_timers.look(), database.approval_timers.look()] == [1, 0]
    let_pass(database, approval, 3 * DAY)
    assert [database.approval_timers.look(), database.approval_timers.look()] == [1, 0]

    assert [text.startswith("⏰") for text in shown(database)] == [False, True, True]


def test_escalation_adds_approvers_and_asks_them(database):
    boss = person(database, "boss", "director")
    policy = Policy(
        approvers=("role:manager",), escalate_to=("role:director",), escalate_after=DAY, expires_after=3 * DAY
    )
    _write_to_us(database, "boss")
    approval = held(database, policy)
    assert say(database, approval, boss).outcome == "forbidden"
    let_pass(database, approval, DAY)

    assert database.approval_timers.look() == 1

    direct = HERE.model_copy(update={"channel": "slack", "conversation": "D-boss"})
    assert approval.id in shown(database, direct)[0]
    assert say(database, approval, boss).outcome == "approved"


def test_without_a_place_the_approvers_are_asked_in_their_direct_conversations_but_never_the_requester(database):
    bob, ada = person(database, "bob", "manager"), person(database, "ada", "manager")
    for name in (bob.name, ada.name, "eve"):
        _write_to_us(database, name.lower())

    held(database, Policy(approvers=("role:manager",)), by=ada)

    conversations = [i.message.address.conversation for i in database.outbox.find(["queued"]) if i.message.choices]
    assert conversations == ["D-bob"]


def test_an_approver_may_hand_on_where_the_policy_allows_it_for_as_long_as_they_are_one(database):
    bob, eve = person(database, "bob", "manager"), person(database, "eve")
    strict = held(database)
    assert database.approvals.delegate(strict.id, bob, eve).outcome == "nobody"
    approval = held(database, MANAGERS.model_copy(update={"may_delegate": True}), text="/refund order=8")
    assert database.approvals.delegate(approval.id, eve, bob).outcome == "unknown"

    assert database.approvals.delegate(approval.id, bob, eve).outcome == "delegated"
    set_roles(database, bob, "user")
    assert say(database, approval, eve).outcome == "forbidden"
    set_roles(database, bob, "manager")
    assert say(database, approval, eve).outcome == "approved"


@pytest.mark.parametrize("approved", [False, True])
def test_a_changed_message_loses_its_approval_and_is_routed_as_what_it_says_now(database, approved):
    bob, approval = person(database, "bob", "manager"), held(database)
    if approved:
        say(database, approval, bob)
    edit = InboundMessage(
        address=HERE, event_id="e1", account="ada", text="/refund order=700", kind="edit", subject="m-/refund order=7"
    )

    assert Amendments(database.engine).apply(edit) == approval.message_id

    (claimed,) = database.inbox.claim("w2")
    assert (claimed.message.text, claimed.message.approval) == ("/refund order=700", None)
    assert (now(database, approval).state, now(database, approval).why) == ("voided", "its message was changed")
    assert say(database, approval, bob).outcome == "over"
    assert "its message was changed" in shown(database)[-1]


def test_a_message_that_is_taken_back_takes_its_approval_along(database):
    bob, approval = person(database, "bob", "manager"), held(database)
    gone = InboundMessage(address=HERE, event_id="e2", account="ada", kind="delete", subject="m-/refund order=7")

    assert Amendments(database.engine).apply(gone) == approval.message_id

    assert say(database, approval, bob).outcome == "over"
    assert (now(database, approval).state, status(database, approval)) == ("voided", MessageStatus.DEAD)


def test_a_message_that_ended_otherwise_voids_its_approval(database):
    approval = held(database)
    database.inbox.answer(approval.message_id, [], status=MessageStatus.FAILED)

    assert [database.approval_timers.look(), now(database, approval).state] == [1, "voided"]


def test_approvals_are_kept_for_a_year_after_their_end_and_pending_ones_as_long_as_they_wait(database):
    bob, approval, pending = person(database, "bob", "manager"), held(database), held(database, text="/refund order=8")
    say(database, approval, bob)

    assert database.retention.sweep(Keep(summary=-1))["approvals"] == 1
    assert database.approvals.get(approval.id, "default") is None
    assert now(database, pending).state == "pending"


def test_whatever_is_done_in_whatever_order_an_approval_ends_once_and_stays_as_it_ended(database):
    """A walk at random over all that can happen, against the rules that always hold."""
    chance = random.Random(20261125)
    people = [person(database, name, *roles) for name, roles in _PEOPLE.items()]
    for walk in range(25):
        policy = MANAGERS.model_copy(
            update={"count": chance.choice([1, 2]), "reason_required": chance.random() < 0.2, "expires_after": DAY}
        )
        approval = held(database, policy, by=people[0], text=f"/refund order={walk}")
        for _ in range(8):
            before = now(database, approval)
            _step(database, approval, chance, people)
            after = now(database, approval)
            assert before.state not in FINAL or _ending(after) == _ending(before)
            yes = {one.principal_id for one in after.said_yes}
            assert people[0].id not in yes
            assert yes <= {one.id for one in people if "manager" in one.roles}
            assert after.state != "approved" or len(yes) == policy.count
            assert _routed(database) == (before.state != "approved" and after.state == "approved")


def _ending(approval):
    return approval.state, approval.why, approval.decided_at, approval.decisions, approval.revision


def _routed(database):
    """Return how many messages go on, and end them."""
    claimed = database.inbox.claim("w2")
    for one in claimed:
        database.inbox.answer(one.message_id, [])
    return len(claimed)


_PEOPLE = {"ada": ["manager"], "bob": ["manager"], "cleo": ["manager"], "eve": []}


def _step(database, approval, chance, people):
    act = chance.choice(["say", "say", "say", "say", "void", "time", "end"])
    if act == "say":
        who, verdict = chance.choice(people), chance.choice(["approve", "approve", "deny"])
        say(database, approval, who, verdict, chance.choice(["", "because"]))
    elif act == "void" and chance.random() < 0.3:
        database.approvals.void(approval.id, "taken back")
    elif act == "time":
        let_pass(database, approval, timedelta(hours=chance.choice([1, 12])))
        database.approval_timers.look()
    elif act == "end" and chance.random() < 0.2 and now(database, approval).state != "approved":
        database.inbox.answer(approval.message_id, [], status=MessageStatus.FAILED)


def _write_to_us(database, name):
    address = HERE.model_copy(update={"channel": "slack", "conversation": f"D-{name}"})
    database.inbox.receive([InboundMessage(address=address, event_id=f"hi-{name}", account=name, text="hi")])
    (claimed,) = database.inbox.claim("w1")
    database.inbox.settle(claimed, [], principal_id=person(database, name).id)


def _forged(who):
    from integrations.database.approvals import Word

    return Word("aaaaaaaa", who, "approve")
