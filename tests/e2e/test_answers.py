"""A message, whatever way it comes in, leads to one run in Dagster and one answer."""

import asyncio
import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import psycopg
import pytest
import websockets

from tests.e2e.platform import Platform, eventually

pytestmark = pytest.mark.timeout(600)

STEPS = {"receive", "recall", "think", "act", "reply", "remember"}


def test_a_new_user_asks_in_the_terminal(platform: Platform) -> None:
    sent = platform.cli("send", "What is the capital of France?", "--json")

    assert sent.returncode == 0, sent.stderr
    answer = json.loads(sent.stdout)
    assert "Paris" in answer["replies"][0]["text"]
    message = platform.message(answer["message_id"])
    assert message["status"] == "answered"
    for stage in ("accepted_at", "claimed_at", "started_at", "first_token_at", "replied_at", "delivered_at"):
        assert message["receipt"][stage], stage


def test_the_run_of_a_message_is_complete_in_dagster(platform: Platform) -> None:
    answer = platform.ask("What is the capital of Italy?", conversation="complete")

    run = platform.run_ended(answer["run_id"])

    assert run["status"] == "SUCCESS"
    assert run["jobName"] == "assistant"
    assert {step["stepKey"].split("[")[0] for step in run["stepStats"]} >= STEPS - {"act"}
    assert run["repositoryOrigin"]["repositoryLocationName"] == "core"
    assert run["tags"]["runbell/message"] == answer["message_id"]
    assert run["tags"]["runbell/channel"] == "rest"
    assert run["tags"]["runbell/conversation"] == "complete"
    assert run["tags"]["runbell/trigger"] == "message"
    assert answer["run_url"].endswith(f":{platform.dagster}/runs/{answer['run_id']}")
    assert httpx.get(answer["run_url"], timeout=30).status_code == 200


def test_fifty_deliveries_of_one_event_are_one_run_and_one_answer(platform: Platform) -> None:
    body = {"text": "/whoami", "conversation": "fifty", "event_id": f"fifty-{uuid.uuid4()}"}
    slow = {"text": "What is the capital of Spain?", "conversation": "fifty-slow", "event_id": f"f-{uuid.uuid4()}"}

    with platform.rest() as client, ThreadPoolExecutor(25) as pool:
        for wanted in (body, slow):
            responses = list(pool.map(lambda _, w=wanted: client.post("/v1/messages", json=w), range(50)))
            assert {r.status_code for r in responses} == {202}
            (message_id,) = {r.json()["message_id"] for r in responses}
            assert len(platform.settled(message_id)["replies"]) == 1

    runs = platform.graphql(
        "query ($f: RunsFilter) { runsOrError(filter: $f) { ... on Runs { results { runId } } } }",
        f={"tags": [{"key": "runbell/message", "value": message_id}]},
    )
    assert len(runs["runsOrError"]["results"]) == 1


def test_a_signed_webhook_is_answered(platform: Platform) -> None:
    accepted = platform.post_webhook({"text": "/whoami"}, event_id=f"hook-{uuid.uuid4()}")

    assert accepted.status_code == 202, accepted.text
    assert platform.settled(accepted.json()["message_id"])["replies"]


def test_a_typed_command_of_another_location_runs_there(platform: Platform) -> None:
    (platform.home / "marks").mkdir(exist_ok=True)
    (platform.home / "marks" / "typed.go").touch()

    answer = platform.ask("/marks name=typed", conversation="typed")

    assert answer["replies"][0]["text"] == "marks: first last"
    run = platform.run_ended(answer["run_id"])
    assert run["repositoryOrigin"]["repositoryLocationName"] == "bells"
    assert run["status"] == "SUCCESS"


def test_a_bad_argument_starts_nothing_and_says_what_is_expected(platform: Platform) -> None:
    answer = platform.ask("/marks name=x seconds=soon", conversation="bad")

    assert answer["run_id"] is None
    assert "seconds" in answer["replies"][0]["text"]


def test_a_failed_run_is_told_in_plain_words(platform: Platform) -> None:
    answer = platform.ask("/boiler", conversation="boiler")

    assert answer["status"] == "failed"
    assert "the boiler burst" in answer["replies"][0]["text"]
    assert answer["run_id"] in answer["replies"][0]["text"]
    assert platform.run_ended(answer["run_id"])["status"] == "FAILURE"


def test_what_was_said_is_recalled_in_a_later_turn(platform: Platform) -> None:
    first = platform.ask("Remember that the deploy window is Tuesday at 09:40.", conversation="memory")
    platform.run_ended(first["run_id"])

    answer = platform.ask("When is the deploy window?", conversation="memory-later")

    assert "09:40" in answer["replies"][0]["text"]


def test_a_timer_rings_and_posts(platform: Platform) -> None:
    from integrations.database import Database
    from integrations.messages import Address

    endpoints = json.loads((platform.home / "run" / "endpoints.json").read_text())
    database = Database(endpoints["database_url"], files=platform.home / "files", pool_size=2)
    tower = Address(channel="web", conversation="tower")
    struck = eventually(lambda: database.transcript.recent(tower), within_s=150, what="the clock to strike")
    database.close()

    assert struck[0].text == "dong"
    runs = platform.graphql(
        """{ runsOrError(filter: {pipelineName: "clock"}) { ... on Runs { results { runId status
        tags { key value } } } } }"""
    )["runsOrError"]["results"]
    assert runs[-1]["status"] == "SUCCESS"
    assert {"key": "dagster/schedule_name", "value": "every_minute"} in runs[-1]["tags"]


def test_the_answer_streams_over_the_socket(platform: Platform) -> None:
    async def talk() -> list[dict[str, object]]:
        seen: list[dict[str, object]] = []
        url = platform.url.replace("http", "ws") + "/v1/chat?conversation=socket&channel=terminal"
        async with asyncio.timeout(120), websockets.connect(url) as socket:
            await socket.send(json.dumps({"type": "hello", "token": platform.token, "after": 0}))
            text = "Tell me in two sentences what a bell is."
            await socket.send(json.dumps({"type": "message", "event_id": str(uuid.uuid4()), "text": text}))
            async for frame in socket:
                seen.append(json.loads(frame))
                if complete(seen):
                    return seen
        return seen

    def complete(seen: list[dict[str, Any]]) -> bool:
        """Ops are shown some milliseconds late, so the answer may come before the end of an op before it."""
        ended = {f["body"].get("op") for f in seen if f["type"] == "progress" and f["body"].get("state") == "succeeded"}
        answered = any(f["type"] == "entry" and f["role"] == "assistant" for f in seen)
        return answered and "think" in ended and any(f["type"] == "settled" for f in seen)

    frames = asyncio.run(talk())

    bodies = [f["body"] for f in frames if f["type"] == "progress"]
    deltas = [b["text"] for b in bodies if b["type"] == "delta"]
    (entry,) = [f for f in frames if f["type"] == "entry" and f["role"] == "assistant"]
    assert len(deltas) > 1
    assert "".join(deltas).strip() in str(entry["text"])
    ops = [b["op"] for b in bodies if b["type"] == "op" and b["state"] == "succeeded"]
    assert ops[:3] == ["receive", "recall", "think"]


def test_the_launchpad_and_reexecution_work_on_warm_workers(platform: Platform) -> None:
    (platform.home / "marks").mkdir(exist_ok=True)
    (platform.home / "marks" / "pad.go").touch()
    selector = {"repositoryLocationName": "bells", "repositoryName": "__repository__", "jobName": "marks"}
    launched = platform.graphql(
        """mutation ($p: ExecutionParams!) { launchRun(executionParams: $p) { __typename
        ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }""",
        p={"selector": selector, "runConfigData": {"ops": {"first": {"config": {"name": "pad"}}}}},
    )["launchRun"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    first = platform.run_ended(launched["run"]["runId"])
    assert first["status"] == "SUCCESS"

    again = platform.graphql(
        """mutation ($p: ReexecutionParams!) { launchRunReexecution(reexecutionParams: $p) { __typename
        ... on LaunchRunSuccess { run { runId parentRunId } } ... on PythonError { message } } }""",
        p={"parentRunId": first["id"], "strategy": "ALL_STEPS"},
    )["launchRunReexecution"]
    assert again["__typename"] == "LaunchRunSuccess", again
    assert platform.run_ended(again["run"]["runId"])["status"] == "SUCCESS"


def test_stdout_and_logs_are_shown(platform: Platform) -> None:
    (platform.home / "marks").mkdir(exist_ok=True)
    (platform.home / "marks" / "logged.go").touch()
    answer = platform.ask("/marks name=logged", conversation="logged")
    platform.run_ended(answer["run_id"])

    events = platform.graphql(
        """query ($id: ID!) { logsForRun(runId: $id) { ... on EventConnection { events { __typename
        ... on MessageEvent { message } ... on LogsCapturedEvent { fileKey } } } } }""",
        id=answer["run_id"],
    )["logsForRun"]["events"]
    assert any("waiting for logged.go" in e.get("message", "") for e in events)
    keys = [e["fileKey"] for e in events if e["__typename"] == "LogsCapturedEvent"]
    captured = [
        platform.graphql(
            "query ($k: [String!]!) { capturedLogs(logKey: $k) { stdout } }",
            k=[answer["run_id"], "compute_logs", key],
        )["capturedLogs"]["stdout"]
        for key in keys
    ]
    assert any("lingering" in (text or "") for text in captured)


def test_metrics_tell_of_messages_processes_and_models(platform: Platform) -> None:
    platform.ask("What is the capital of Norway?", conversation="metrics")

    text = httpx.get(f"{platform.url}/metrics", headers={"authorization": f"Bearer {platform.token}"}, timeout=30).text

    for sample in ('runbell_process_up{process="workers"} 1.0', "runbell_inbox_depth", 'model="smollm2-135m"'):
        assert sample in text, sample


def test_a_program_on_the_openai_interface_is_counted_on_its_owners_account(platform: Platform) -> None:
    body = {"model": "default", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 1}
    url = f"http://127.0.0.1:{platform.serving}/v1/chat/completions"
    httpx.post(url, json=body, headers={"Authorization": f"Bearer {platform.token}"}, timeout=60).raise_for_status()

    endpoints = json.loads((platform.home / "run" / "endpoints.json").read_text())
    with psycopg.connect(endpoints["database_url"]) as connection:
        query = "select principal_id, tokens_out from runbell.usage where tenant = 'default' and op = 'http'"
        ((principal_id, tokens_out),) = connection.execute(query).fetchall()

    assert tokens_out == 1
    assert principal_id
