"""Approvals over REST: listed, shown and decided by the caller, who is an administrator; refusals say why."""

from collections.abc import Iterator

import pytest

from integrations.database import Database
from integrations.database.disposable import fresh_database
from tests.approvals import HERE, MANAGERS, held, now, person, say, shown
from tests.gateways import Gateway, running_gateway

ADMINS = MANAGERS.model_copy(update={"approvers": ("role:admin",)})


@pytest.fixture(scope="module")
def gateway(postgres: str, database_template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    home = tmp_path_factory.mktemp("home")
    with fresh_database(postgres, database_template) as url, running_gateway(url, home) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def stores(gateway: Gateway) -> Iterator[Database]:
    database = Database(gateway.database_url, files=gateway.home / "files", pool_size=4)
    yield database
    database.close()


def post(gateway: Gateway, path: str, **body: object):
    return gateway.client.post(f"/v1/approvals/{path}", json=body or None)


def test_what_waits_is_listed_and_approved_once(gateway, stores):
    approval = held(stores, ADMINS, text="/refund order=1")

    (listed,) = gateway.client.get("/v1/approvals").json()["approvals"]
    assert (listed["id"], listed["shown"], listed["state"]) == (approval.id, "/refund order=1", "pending")
    assert (listed["approvers"], listed["missing"]) == (["role:admin"], 1)
    first, second = post(gateway, f"{approval.id}/approve", reason="fine"), post(gateway, f"{approval.id}/approve")

    assert (first.status_code, first.json()["state"]) == (200, "approved")
    assert [(d["name"], d["reason"], d["channel"]) for d in first.json()["decisions"]] == [("owner", "fine", "rest")]
    assert (second.status_code, second.json()["title"]) == (409, "Conflict")
    assert gateway.client.get("/v1/approvals").json() == {"approvals": []}
    assert gateway.client.get(f"/v1/approvals/{approval.id}").json()["state"] == "approved"
    (claimed,) = stores.inbox.claim("w2")
    stores.inbox.answer(claimed.message_id, [])


def test_a_message_that_waits_tells_which_approval_it_waits_for(gateway, stores):
    approval = held(stores, ADMINS, text="/refund order=6")

    state = gateway.client.get(f"/v1/messages/{approval.message_id}").json()

    wait = state["waits_for"]
    assert (state["status"], wait["approval_id"], wait["url"]) == (
        "waiting",
        approval.id,
        f"/v1/approvals/{approval.id}",
    )
    assert (wait["shown"], wait["approvers"], wait["missing"]) == ("/refund order=6", ["role:admin"], 1)
    assert f"waits for approval `{approval.id}` by admin" in wait["text"]
    post(gateway, f"{approval.id}/deny")
    assert gateway.client.get(f"/v1/messages/{approval.message_id}").json()["waits_for"] is None


def test_an_approver_hands_it_on_to_somebody_who_is_known(gateway, stores):
    handing = ADMINS.model_copy(update={"may_delegate": True})
    approval, cleo = held(stores, handing, text="/refund order=8"), person(stores, "cleo")

    nobody = post(gateway, f"{approval.id}/delegate", to="slack:nobody")
    handed = post(gateway, f"{approval.id}/delegate", to="slack:cleo")

    assert (nobody.status_code, nobody.json()["errors"][0]["field"]) == (422, "to")
    assert (handed.status_code, handed.json()["delegates"]) == (200, [cleo.id])
    assert say(stores, approval, cleo, "deny").outcome == "denied"
    assert post(gateway, f"{approval.id}/delegate", to="slack:cleo").status_code == 409


def test_a_denial_reaches_the_requester(gateway, stores):
    approval = held(stores, ADMINS, text="/refund order=2")

    assert post(gateway, f"{approval.id}/deny", reason="no").json()["state"] == "denied"
    assert "denied by owner: no" in shown(stores, HERE)[-1]


def test_who_may_not_decide_is_refused_and_nothing_changes(gateway, stores):
    approval = held(stores, MANAGERS, text="/refund order=3")
    strict = ADMINS.model_copy(update={"reason_required": True})
    silent = held(stores, strict, text="/refund order=4")

    refused = post(gateway, f"{approval.id}/approve")
    assert (refused.status_code, "not among those" in refused.json()["detail"]) == (403, True)
    assert post(gateway, f"{silent.id}/approve").status_code == 422
    assert post(gateway, "aaaaaaaa/approve").status_code == 404
    assert gateway.client.post(f"/v1/approvals/{silent.id}/approve", headers={"Authorization": ""}).status_code == 401
    assert (now(stores, approval).state, now(stores, silent).state) == ("pending", "pending")
    say(stores, approval, person(stores, "bob", "manager"), "deny")
    say(stores, silent, person(stores, "root", "admin"), "deny", "over")


def test_what_is_no_id_and_what_no_database_holds_is_refused(gateway, stores):
    approval = held(stores, ADMINS, text="/refund order=5")

    assert gateway.client.get("/v1/approvals/a%00b").status_code == 404
    assert post(gateway, "a%00b/approve").status_code == 404
    assert post(gateway, f"{approval.id}/approve", reason="a\0b").status_code in {400, 422}
    assert gateway.client.get(f"/v1/approvals/{approval.id}").json()["state"] == "pending"
