"""Commands that need an approval before they run, from the line that asks to the run that was approved."""

from datetime import timedelta

import pytest

from integrations.database import Database
from integrations.database.amend import Amendments
from integrations.messages import Address, InboundMessage, MessageStatus
from integrations.settings import Settings
from integrations.settings_access import Access
from orchestration.authoring import Approval
from orchestration.commands.catalogue import compile_location
from orchestration.commands.dispatch import Dispatcher
from orchestration.commands.publishing import publish
from tests.approvals import OFFICE, shown
from tests.integration.test_dispatch_messages import answer_to, claimed
from tests.workflows import defs

ACCESS = Access(roles={"manager": ["slack:bob", "web:ada"]})
HOUR = timedelta(hours=1)
MANAGERS = Approval(approvers=["manager"], conversation=OFFICE)


@pytest.fixture
def dispatch(database: Database) -> Dispatcher:
    publish_with(database, approval=MANAGERS)
    database.principals._access = ACCESS
    return Dispatcher(database, Settings(access=ACCESS), worker="w1")


def publish_with(database: Database, **traits) -> None:
    specs = compile_location(defs.get_repository_def(), "core")
    traits = {"effect": "destructive", **traits}
    publish(database, "core", [s.model_copy(update=traits if s.name == "greet" else {}) for s in specs])


def waiting(database: Database, dispatch: Dispatcher, text: str = "/greet name=Bob times=2", **more):
    """Say something that waits for an approval; return its message and the approval."""
    message = claimed(database, text, ref="m1", **more)
    assert dispatch(message) is None
    approval = database.approvals.of_message(message.message_id)
    assert approval is not None
    return message, approval


def said(database: Database, dispatch: Dispatcher, text: str, account: str = "bob", channel: str = "slack") -> str:
    place = Address(channel=channel, conversation=f"D-{account}")
    message = claimed(database, text, account=account, address=place)
    assert dispatch(message) is None
    return answer_to(database, message)


def test_a_command_waits_for_its_approval_and_then_runs_once_with_exactly_these_arguments(database, dispatch):
    message, approval = waiting(database, dispatch)
    assert "/greet name=Bob times=2" in shown(database)[0]
    assert "destructive" in shown(database)[0]
    assert database.inbox.get(message.message_id).status is MessageStatus.WAITING
    assert database.progress.read(message.message_id, 1) == {"type": "status", "status": "waiting"}

    assert "is approved" in said(database, dispatch, f"/approve {approval.id} go ahead")

    (again,) = database.inbox.claim("w1")
    claim = dispatch(again)
    assert claim.request["run_config"] == {"ops": {"greet_op": {"config": {"name": "Bob", "times": 2}}}}
    tags = claim.request["tags"]
    assert tags["runbell/approval"] == approval.id
    assert tags["runbell/approved_by"].startswith("Bob (")
    assert tags["runbell/approval_reason"] == "go ahead"
    assert "is over: approved (Bob). Your answer changed nothing." in said(
        database, dispatch, f"/approve {approval.id}"
    )
    assert database.inbox.claim("w1") == []
    entries = [e.text for e in database.transcript.recent(message.message.address) if e.role == "user"]
    assert entries == ["/greet name=Bob times=2"]


def test_a_denial_is_told_with_its_reason(database, dispatch):
    message, approval = waiting(database, dispatch)

    assert "已拒绝" in said(database, dispatch, f"/拒绝 {approval.id} 预算不足")

    assert "denied by Bob: 预算不足. Nothing was run." in answer_to(database, message)
    assert database.inbox.claim("w1") == []


def test_the_requester_can_take_it_back_but_not_approve_it(database, dispatch):
    message, approval = waiting(database, dispatch)
    here = message.message.address
    assert "asked for" in _here(database, dispatch, f"/approve {approval.id}", here)

    assert "taken back" in _here(database, dispatch, "/cancel", here)

    assert "taken back by Ada. Nothing was run." in answer_to(database, message)
    assert "is over: void" in said(database, dispatch, f"/approve {approval.id}")


def test_the_requesters_own_no_takes_it_back_wherever_it_is_said(database, dispatch):
    message, approval = waiting(database, dispatch)
    elsewhere = Address(channel="web", conversation="elsewhere")

    assert "took your request" in _here(database, dispatch, f"/deny {approval.id}", elsewhere)

    assert "taken back by Ada. Nothing was run." in answer_to(database, message)
    assert "void" in shown(database)[-1]


@pytest.mark.parametrize("count", [1, 2])
def test_what_only_the_requester_could_approve_is_refused_at_once(database, dispatch, count):
    approvers = ["web:ada"] if count == 1 else ["web:ada", "slack:bob"]
    publish_with(database, approval=MANAGERS.model_copy(update={"approvers": tuple(approvers), "count": count}))

    message = claimed(database, "/greet name=Bob")
    assert dispatch(message) is None

    assert "only you could give (web:ada" in answer_to(database, message)
    assert database.approvals.of_message(message.message_id) is None
    assert database.inbox.get(message.message_id).status is MessageStatus.FAILED


@pytest.mark.parametrize(
    "policy",
    [
        {"approvers": ("web:ada",), "requester_may_approve": True},
        {"approvers": ("web:ada",), "escalate_to": ("slack:never-seen",), "escalate_after": HOUR},
        {"approvers": ("everyone",), "count": 3},
        {"approvers": ("web:ada", "slack:bob"), "count": 2, "may_delegate": True},
    ],
)
def test_what_somebody_could_approve_some_day_is_asked_for(database, dispatch, policy):
    publish_with(database, approval=MANAGERS.model_copy(update=policy))

    _, approval = waiting(database, dispatch)

    assert approval.state == "pending"


def test_nobody_hands_their_own_request_to_whom_they_like(database, dispatch):
    publish_with(database, approval=MANAGERS.model_copy(update={"may_delegate": True}))
    said(database, dispatch, "/status", account="cleo")
    message, approval = waiting(database, dispatch)

    answer = _here(database, dispatch, f"/approvals delegate {approval.id} slack:cleo", message.message.address)

    assert "somebody else decides" in answer


def test_a_run_is_not_begun_if_the_requester_lost_the_right_meanwhile(database, dispatch):
    message, approval = waiting(database, dispatch)
    publish_with(database, approval=MANAGERS, allowed=("role:finance",))
    said(database, dispatch, f"/approve {approval.id}")

    assert dispatch(database.inbox.claim("w1")[0]) is None

    assert "You may not run /greet" in answer_to(database, message)
    assert database.approvals.of_message(message.message_id).state == "voided"


def test_code_that_changed_meanwhile_voids_the_approval(database, dispatch):
    message, approval = waiting(database, dispatch)
    specs = [s for s in compile_location(defs.get_repository_def(), "core") if s.name != "greet"]
    said(database, dispatch, f"/approve {approval.id}")
    publish(database, "core", specs)

    assert dispatch(database.inbox.claim("w1")[0]) is None

    assert "can't be run any more" in answer_to(database, message)


def test_an_edited_message_needs_a_new_approval_for_what_it_says_now(database, dispatch):
    message, approval = waiting(database, dispatch)
    edit = InboundMessage(
        address=message.message.address,
        event_id="edit",
        account="ada",
        text="/greet name=Eve times=3",
        kind="edit",
        subject="m1",
    )
    Amendments(database.engine).apply(edit)
    (again,) = database.inbox.claim("w1")
    assert dispatch(again) is None

    new = database.approvals.of_message(message.message_id)
    assert (new.id != approval.id, new.shown) == (True, "/greet name=Eve times=3")
    assert "is over: void" in said(database, dispatch, f"/approve {approval.id}")
    said(database, dispatch, f"/approve {new.id}")
    claim = dispatch(database.inbox.claim("w1")[0])
    assert claim.request["run_config"]["ops"]["greet_op"]["config"] == {"name": "Eve", "times": 3}


def test_a_retry_of_what_was_approved_needs_an_approval_of_its_own(database, dispatch):
    message, approval = waiting(database, dispatch)
    said(database, dispatch, f"/approve {approval.id}")
    claim = dispatch(database.inbox.claim("w1")[0])
    database.inbox.answer(message.message_id, [], status=MessageStatus.FAILED, run_id=claim.run_id)
    database.runs.finish(claim)

    _, second = waiting(database, dispatch, f"/retry {claim.run_id}")
    said(database, dispatch, f"/approve {second.id}")

    assert dispatch(database.inbox.claim("w1")[0]).request["retry_of"] == claim.run_id


def test_a_yes_to_a_proposal_waits_too_and_keeps_the_proposals_arguments(database, dispatch):
    here = Address(channel="web", conversation="c1")
    ada = database.principals.resolve("default", "web", "ada", name="Ada")
    database.proposals.put(here, ada.id, "greet", {"name": "Cy", "times": 1})

    _, approval = waiting(database, dispatch, "yes")
    said(database, dispatch, f"/approve {approval.id}")

    claim = dispatch(database.inbox.claim("w1")[0])
    assert claim.request["run_config"]["ops"]["greet_op"]["config"] == {"name": "Cy", "times": 1}


def test_what_waits_is_listed_shown_and_handed_on(database, dispatch):
    publish_with(database, approval=MANAGERS.model_copy(update={"may_delegate": True}))
    said(database, dispatch, "/status", account="cleo")
    _, approval = waiting(database, dispatch)

    assert f"`{approval.id}`" in said(database, dispatch, "/approvals")
    assert "Nothing waits" in said(database, dispatch, "/approvals", account="eve")
    assert "There is no approval" in said(database, dispatch, f"/approvals {approval.id}", account="eve")
    assert "/greet name=Bob" in said(database, dispatch, f"/审批 {approval.id}")
    assert "not among" in said(database, dispatch, f"/approve {approval.id}", account="cleo")
    assert "as well now" in said(database, dispatch, f"/approvals delegate {approval.id} slack:cleo")
    assert "is approved" in said(database, dispatch, f"/approve {approval.id}", account="cleo")


def test_nothing_can_hide_in_what_approvers_are_shown(database, dispatch):
    waiting(database, dispatch, "", command="greet", args={"name": "Bob\n```\nharmless\u202e"})

    assert r'/greet name="Bob\n\u0060\u0060\u0060\nharmless\u202e"' in shown(database)[0]


def test_a_secret_is_never_shown_to_approvers(database, dispatch):
    specs = compile_location(defs.get_repository_def(), "core")
    publish(
        database, "core", [s.model_copy(update={"approval": MANAGERS} if s.name == "secretive" else {}) for s in specs]
    )

    waiting(database, dispatch, "/secretive key=correct-horse")

    assert "/secretive key=•••" in shown(database)[0]
    assert "correct-horse" not in "".join(shown(database))


def _here(database, dispatch, text, address):
    message = claimed(database, text, address=address)
    assert dispatch(message) is None
    return answer_to(database, message)
