"""Callbacks of runs: signed, in order, repeated until taken, and never to where nobody may call."""

import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook

from integrations.database import Database
from integrations.database.disposable import fresh_database
from tests.gateways import Gateway, ScriptedWorker, running_gateway, wait_for
from tests.web import Handler, Site, serving_pages


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with serving_pages() as site:
        yield site


@pytest.fixture(scope="module")
def gateway(
    postgres: str, database_template: str, tmp_path_factory: pytest.TempPathFactory, site: Site
) -> Iterator[Gateway]:
    home = tmp_path_factory.mktemp("home")
    allowed = {"RUNBELL_ACTIONS__HTTP__PRIVATE": json.dumps([site.host])}
    with fresh_database(postgres, database_template) as url, running_gateway(url, home, **allowed) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def stores(gateway: Gateway) -> Iterator[Database]:
    from integrations.database import StoredCommand

    database = Database(gateway.database_url, files=gateway.home / "files", pool_size=4)
    spec = {"name": "digest", "location": "core", "job": "digest", "description": "d", "arguments": []}
    database.commands.replace("core", [StoredCommand("digest", "core", "digest", spec)])
    yield database
    database.close()


@pytest.fixture
def worker(stores: Database) -> Iterator[ScriptedWorker]:
    with ScriptedWorker(stores) as worker:
        yield worker


def verified(site: Site, gateway: Gateway, path: str) -> list[dict[str, Any]]:
    """Return what was posted to a page, once each, checked as a receiver checks it."""
    secret = (gateway.home / "callback_secret").read_text().strip()
    seen: dict[str, dict[str, Any]] = {}
    for _, at, headers, body in list(site.seen):
        if at == path:
            lower = {name.lower(): value for name, value in headers.items()}
            seen[lower["webhook-id"]] = Webhook(secret).verify(body, lower)
    return list(seen.values())


@pytest.mark.usefixtures("worker")
def test_each_change_of_a_run_is_posted_signed_and_in_order(gateway: Gateway, site: Site) -> None:
    site.pages["/called"] = lambda page: page.answer(204)

    answer = gateway.client.post("/v1/runs", json={"command": "digest", "callback_url": site.url("/called")})

    assert answer.status_code == 202, answer.text
    wait_for(lambda: len(verified(site, gateway, "/called")) == 2)
    running, answered = verified(site, gateway, "/called")
    assert (running["type"], answered["type"]) == ("run.running", "run.answered")
    assert answered["data"] == {
        "message_id": answer.json()["message_id"],
        "run_id": answer.json()["run_id"],
        "status": "answered",
        "replies": [{"text": "echo: digest {}"}],
        "run_url": answer.json()["run_url"],
    }
    assert stat.S_IMODE((gateway.home / "callback_secret").stat().st_mode) == 0o600


@pytest.mark.usefixtures("worker")
def test_a_callback_is_repeated_until_it_is_taken(gateway: Gateway, site: Site) -> None:
    answers = iter([500, 302])

    def later(page: Handler) -> None:
        page.answer(next(answers, 200), Location="/called")

    site.pages["/later"] = later

    gateway.client.post("/v1/runs", json={"command": "digest", "callback_url": site.url("/later")})

    wait_for(lambda: len(verified(site, gateway, "/later")) == 2, 60)
    assert [told["type"] for told in verified(site, gateway, "/later")] == ["run.running", "run.answered"]
    assert sum(path == "/later" for _, path, _, _ in site.seen) == 4


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1/x", "http://localhost:8080/", "http://169.254.169.254/", "http://10.0.0.1/", "ftp://x/",
        "nonsense", "http://u:p@example.com/", "http://[::1]/", "http://2130706433/",
    ],
)  # fmt: skip
@pytest.mark.usefixtures("stores")
def test_an_address_that_may_not_be_called_is_refused_and_nothing_starts(gateway: Gateway, url: str) -> None:
    answer = gateway.client.post("/v1/runs", json={"command": "digest", "callback_url": url})

    assert answer.status_code == 422, answer.text
    assert "can't be called back" in answer.json()["detail"]


def test_without_an_address_nothing_is_queued(stores: Database, worker: ScriptedWorker, gateway: Gateway) -> None:
    gateway.client.post("/v1/runs", json={"command": "digest"}, headers={"prefer": "wait=20"})

    assert [
        item for item in stores.outbox.find(["queued", "sending"]) if item.message.address.channel == "callback"
    ] == []


def test_an_address_that_wants_no_more_is_called_no_more(
    stores: Database, worker: ScriptedWorker, gateway: Gateway, site: Site, tmp_path: Path
) -> None:
    site.pages["/gone"] = lambda page: page.answer(410)

    gateway.client.post("/v1/runs", json={"command": "digest", "callback_url": site.url("/gone")})

    def failed() -> list[str | None]:
        return [i.error for i in stores.outbox.find(["failed"]) if i.message.address.conversation == site.url("/gone")]

    wait_for(lambda: len(failed()) == 2)
    assert failed() == ["The address wants no more callbacks (410)."] * 2
