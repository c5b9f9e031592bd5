"""REST through the real gateway: messages, runs, commands, files, sessions, health and metrics."""

import asyncio
import json
import stat
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from integrations.database import Database, NewRun, StoredCommand
from integrations.database.disposable import fresh_database
from integrations.messages import Address, MessageStatus, OutboundMessage, run_id_for
from tests.gateways import Gateway, ScriptedWorker, running_gateway, wait_for


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


@pytest.fixture
def worker(stores: Database) -> Iterator[ScriptedWorker]:
    with ScriptedWorker(stores) as worker:
        yield worker


def test_a_message_is_stored_before_it_is_acknowledged(gateway: Gateway, stores: Database) -> None:
    answer = gateway.client.post("/v1/messages", json={"text": "你好，世界！"})

    assert answer.status_code == 202
    stored = stores.inbox.get(answer.json()["message_id"])
    assert stored is not None
    assert (stored.text, stored.status.value) == ("你好，世界！", "received")
    assert answer.json()["url"] == f"/v1/messages/{stored.message_id}"


async def test_fifty_identical_event_ids_at_once_make_one_row(gateway: Gateway, stores: Database) -> None:
    body = {"text": "once", "event_id": str(uuid.uuid4()), "conversation": "fifty"}

    async with httpx.AsyncClient(base_url=gateway.url, headers=gateway.client.headers, timeout=30) as client:
        answers = await asyncio.gather(*(client.post("/v1/messages", json=body) for _ in range(50)))

    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["message_id"] for answer in answers}) == 1
    assert sum(not answer.json()["duplicate"] for answer in answers) == 1
    assert len(stores.inbox.unfinished(Address(channel="rest", conversation="fifty"))) == 1


def test_waiting_gives_the_answer(gateway: Gateway, worker: ScriptedWorker) -> None:
    answer = gateway.client.post("/v1/messages", json={"text": "hi"}, headers={"Prefer": "wait=10"})

    assert answer.status_code == 200
    told = answer.json()
    assert (told["status"], [reply["text"] for reply in told["replies"]]) == ("answered", ["echo: hi"])
    assert answer.headers["Preference-Applied"] == "wait=10"


def test_waiting_in_vain_tells_where_the_message_stands(gateway: Gateway) -> None:
    answer = gateway.client.post("/v1/messages", json={"text": "hi"}, headers={"Prefer": "wait=0"})

    assert (answer.status_code, answer.json()["status"]) == (202, "received")


def test_the_receipt_ends_with_the_delivery(gateway: Gateway, worker: ScriptedWorker) -> None:
    posted = gateway.client.post("/v1/messages", json={"text": "hi"}, headers={"Prefer": "wait=10"}).json()

    def receipt() -> dict[str, str]:
        return gateway.client.get(posted["url"]).json()["receipt"]

    wait_for(lambda: receipt()["delivered_at"])
    assert receipt()["accepted_at"] < receipt()["replied_at"] <= receipt()["delivered_at"]


def test_the_trace_of_the_caller_is_kept(gateway: Gateway) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    headers = {"traceparent": f"00-{trace}-b7ad6b7169203331-01"}

    posted = gateway.client.post("/v1/messages", json={"text": "hi"}, headers=headers).json()

    assert gateway.client.get(posted["url"]).json()["trace_id"] == trace


def test_a_run_is_known_by_its_id_before_and_after_it_begins(gateway: Gateway, stores: Database) -> None:
    stores.commands.replace("core", [command("digest")])

    posted = gateway.client.post("/v1/runs", json={"command": "digest", "args": {"days": 2}})

    assert posted.status_code == 202
    assert posted.json()["run_id"] == run_id_for(posted.json()["message_id"])
    followed = gateway.client.get(posted.json()["url"]).json()
    assert (followed["state"], followed["message"]["message_id"]) == ("waiting", posted.json()["message_id"])
    with ScriptedWorker(stores):
        waited = gateway.client.get(f"/v1/messages/{posted.json()['message_id']}")
        wait_for(lambda: gateway.client.get(waited.json()["url"]).json()["status"] == "answered")


def test_waiting_for_a_run_gives_its_answer(gateway: Gateway, stores: Database, worker: ScriptedWorker) -> None:
    stores.commands.replace("core", [command("digest"), command("stream")])

    run = gateway.client.post(
        "/v1/runs", json={"command": "stream", "args": {"days": 1}}, headers={"Prefer": "wait=10"}
    )

    assert run.status_code == 200
    assert (run.json()["message"]["status"], run.json()["job"]) == ("answered", "assistant")
    assert run.json()["state"] == "finished"
    assert gateway.client.post(f"/v1/runs/{run.json()['run_id']}/cancel").status_code == 409


def test_a_run_that_was_refused_is_told_with_the_reply_whether_one_waits_or_follows(
    gateway: Gateway, stores: Database, worker: ScriptedWorker
) -> None:
    stores.commands.replace("core", [command("digest")])
    wrong = {"command": "digest", "args": {"days": "many"}, "event_id": str(uuid.uuid4())}

    waited = gateway.client.post("/v1/runs", json=wrong, headers={"Prefer": "wait=10"})
    accepted = gateway.client.post("/v1/runs", json=wrong)

    assert waited.status_code == 422
    assert waited.headers["content-type"] == "application/problem+json"
    assert waited.json()["detail"] == "days: a whole number is needed"
    assert accepted.status_code == 202
    followed = gateway.client.get(accepted.json()["url"]).json()
    assert (followed["state"], followed["run_url"], followed["message"]["status"]) == ("finished", None, "failed")
    assert followed["message"]["replies"][0]["text"] == "days: a whole number is needed"


def test_a_run_that_nobody_began_is_cancelled_on_the_spot(gateway: Gateway, stores: Database) -> None:
    stores.commands.replace("core", [command("digest")])
    run = gateway.client.post("/v1/runs", json={"command": "digest", "args": {"days": 2}}).json()

    cancelled = gateway.client.post(f"{run['url']}/cancel")

    assert (cancelled.status_code, cancelled.json()["state"]) == (202, "cancelled")
    assert gateway.client.get(f"/v1/messages/{run['message_id']}").json()["status"] == "failed"


def test_a_running_run_is_asked_to_cancel(gateway: Gateway, stores: Database, worker: ScriptedWorker) -> None:
    worker.go_on.clear()
    posted = gateway.client.post("/v1/messages", json={"text": "stream"}).json()
    run_id = run_id_for(posted["message_id"])
    wait_for(lambda: stores.runs.get(run_id))

    cancelled = gateway.client.post(f"/v1/runs/{run_id}/cancel")

    assert (cancelled.status_code, cancelled.json()["state"]) == (202, "requested")
    assert stores.runs.cancels([run_id]) == {run_id}


def test_a_failed_run_is_retried_by_a_message_of_its_own(gateway: Gateway, stores: Database) -> None:
    stores.commands.replace("core", [command("digest")])
    run = gateway.client.post("/v1/runs", json={"command": "digest", "args": {"days": 2}}).json()
    claimed = next(m for m in stores.inbox.claim("w", limit=50) if m.message_id == run["message_id"])
    claim = stores.inbox.start(claimed, NewRun("core", "digest", {}, {}), principal_id="x", worker="w")
    assert claim is not None

    early = gateway.client.post(f"{run['url']}/retry")
    stores.inbox.answer(run["message_id"], [], status=MessageStatus.FAILED, run_id=claim.run_id)
    stores.runs.finish(claim)
    retried = gateway.client.post(f"{run['url']}/retry")

    assert (early.status_code, retried.status_code) == (409, 202)
    assert retried.json()["run_id"] != run["run_id"]
    stored = next(m.message for m in stores.inbox.claim("w", limit=50) if m.message_id == retried.json()["message_id"])
    assert (stored.command, stored.args) == ("retry", {"run": run["run_id"]})


def test_a_run_that_is_not_there_is_not_retried(gateway: Gateway) -> None:
    assert gateway.client.post(f"/v1/runs/{uuid.uuid4()}/retry").status_code == 404


@pytest.mark.parametrize(
    ("body", "field", "said"),
    [
        ({"command": "dijest"}, "command", "digest"),
        ({"command": "digest"}, "args.days", "needs days"),
        ({"command": "digest", "args": {"days": 1, "weeks": 2}}, "args.weeks", "takes days"),
        (
            {"command": "digest", "args": {"days": 1}, "callback_url": "http://127.1/"},
            "callback_url",
            "can't be called back",
        ),
    ],
)
def test_a_run_that_can_not_be_is_refused_with_what_to_send(
    gateway: Gateway, stores: Database, body: dict[str, object], field: str, said: str
) -> None:
    stores.commands.replace("core", [command("digest")])

    answer = gateway.client.post("/v1/runs", json=body)

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == field
    assert said in answer.json()["detail"]


def test_commands_come_with_the_schema_of_their_arguments(gateway: Gateway, stores: Database) -> None:
    stores.commands.replace("core", [command("digest"), command("secret_one", hidden=True)])

    listed = gateway.client.get("/v1/commands").json()["commands"]

    assert [item["name"] for item in listed] == ["digest"]
    assert listed[0]["schema"]["required"] == ["days"]
    assert listed[0]["schema"]["properties"]["days"]["type"] == "integer"


def test_a_file_is_read_where_its_conversation_is(gateway: Gateway, stores: Database) -> None:
    chart = stores.files.put(b"\x89PNG fake", name="图表.png")
    script = stores.files.put(b"<script>", name="x.html")
    hidden = stores.files.put(b"never shown", name="hidden.txt")
    address = Address(channel="web", conversation="files")
    stores.outbox.post(OutboundMessage(address=address, text="see", attachments=(chart, script)), key="files")

    shown = gateway.client.get(f"/v1/files/{chart.id}")
    downloaded = gateway.client.get(f"/v1/files/{script.id}")

    assert (shown.content, shown.headers["content-type"]) == (b"\x89PNG fake", "image/png")
    assert downloaded.headers["content-disposition"].startswith("attachment")
    assert downloaded.headers["content-type"] == "application/octet-stream"
    assert gateway.client.get(f"/v1/files/{hidden.id}").status_code == 404
    assert httpx.get(f"{gateway.url}/v1/files/{chart.id}").status_code == 401


def test_readiness_says_what_is_missing(gateway: Gateway, stores: Database) -> None:
    wait_for(lambda: "database" not in httpx.get(f"{gateway.url}/readyz").json()["missing"])
    assert httpx.get(f"{gateway.url}/readyz").json()["missing"] == ["workers", "serving"]

    (gateway.home / "run").mkdir(exist_ok=True)
    (gateway.home / "run" / "serving.ready").touch()
    stores.workers.beat("w1", location="core", pid=1, threads=8, busy=0)

    wait_for(lambda: httpx.get(f"{gateway.url}/readyz").status_code == 200)
    stores.workers.gone("w1")
    (gateway.home / "run" / "serving.ready").unlink()


def test_metrics_tell_queues_model_calls_and_deliveries(
    gateway: Gateway, stores: Database, worker: ScriptedWorker
) -> None:
    httpx.get(f"{gateway.url}/metrics")
    call = {"tenant": "default", "model": "tiny", "first_token_ms": 20}
    stores.usage.record(**call, tokens_in=5, tokens_out=7, total_ms=120, tokens_cached=4, from_cache=False)
    stores.usage.record(**call, tokens_in=0, tokens_out=0, total_ms=1, from_cache=True)
    stores.workers.beat("w9", location="core", pid=1, threads=8, busy=0, texts=(10, 7))
    gateway.client.post("/v1/messages", json={"text": "hi"}, headers={"Prefer": "wait=10"})

    def told() -> str:
        return httpx.get(f"{gateway.url}/metrics").text

    wait_for(lambda: 'runbell_outbox_deliveries_total{channel="rest",state="sent"}' in told())
    text = told()
    assert 'runbell_model_tokens_total{direction="out",model="tiny"} 7.0' in text
    assert 'runbell_model_seconds_count{model="tiny"} 1.0' in text
    assert 'runbell_model_tokens_total{direction="cached",model="tiny"} 4.0' in text
    assert 'runbell_answer_cache_requests_total{result="hit"} 1.0' in text
    assert 'runbell_answer_cache_requests_total{result="miss"} 1.0' in text
    assert 'runbell_embedding_cache_texts_total{result="hit",worker="w9"} 7.0' in text
    stores.workers.gone("w9")
    assert 'runbell_messages_received_total{channel="rest",outcome="stored"}' in text
    assert "runbell_runs_total" in text
    assert "runbell_database_up 1.0" in text


def test_the_gateway_ends_in_order_when_told_to(database_url: str, tmp_path: Path) -> None:
    with running_gateway(database_url, tmp_path) as gateway:
        assert gateway.stop() == 0

    lines = [json.loads(line) for line in gateway.log.read_text().splitlines() if line.startswith("{")]
    assert any("Finished server process" in line["message"] for line in lines)


@pytest.mark.parametrize("content", [None, " \n"])
def test_without_a_token_the_gateway_does_not_start(database_url: str, tmp_path: Path, content: str | None) -> None:
    gateway = Gateway(database_url, tmp_path)
    token = tmp_path / "token"
    token.unlink()
    if content is not None:
        token.write_text(content)
        token.chmod(stat.S_IRUSR | stat.S_IWUSR)

    with pytest.raises(AssertionError, match="does not start"):
        gateway.start()

    gateway.client.close()
    assert gateway.stop() == 2


def command(name: str, *, hidden: bool = False) -> StoredCommand:
    argument = {"name": "days", "path": ["ops", "x", "config", "days"], "required": True,
                "json_schema": {"type": "integer"}, "description": "How many"}  # fmt: skip
    spec: dict[str, object] = {"name": name, "description": "A digest", "arguments": [argument], "hidden": hidden}
    return StoredCommand(name, "core", name, spec)


def test_an_event_is_stored_once_for_whoever_waits_for_it(gateway: Gateway) -> None:
    body = {"key": "order-7", "body": {"by": "艾达"}, "event_id": str(uuid.uuid4())}

    first = gateway.client.post("/v1/events/approved", json=body)
    second = gateway.client.post("/v1/events/approved", json=body)

    assert (first.status_code, second.status_code) == (202, 202)
    assert first.json() == {"name": "approved", "key": "order-7", "duplicate": False}
    assert second.json()["duplicate"]
