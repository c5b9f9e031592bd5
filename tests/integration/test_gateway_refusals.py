"""Bad input of every kind gets a problem (RFC 9457) that says what is wrong, and nothing is stored."""

import http.client
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from standardwebhooks.webhooks import Webhook

from integrations.database import Database
from integrations.database.disposable import fresh_database
from integrations.messages import Address
from tests.gateways import SECRET, Gateway, running_gateway

JSON = {"Content-Type": "application/json"}
OTHER_SECRET = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="


@pytest.fixture(scope="module")
def gateway(postgres: str, database_template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    secrets = {
        "RUNBELL_CHANNELS__WEBHOOK__ALERTS__SECRET": "env:ALERTS_SECRET",
        "RUNBELL_CHANNELS__WEBHOOK__ALERTS__PREVIOUS_SECRET": OTHER_SECRET,
        "ALERTS_SECRET": SECRET,
        "RUNBELL_CHANNELS__WEBHOOK__BLANK__SECRET": "",
    }
    home = tmp_path_factory.mktemp("home")
    with fresh_database(postgres, database_template) as url, running_gateway(url, home, **secrets) as gateway:
        yield gateway


def is_problem(answer: httpx.Response, status: int) -> dict[str, object]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    assert problem["title"]
    assert problem["detail"]
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert len(problem["trace_id"]) == 32
    assert "Traceback" not in answer.text
    return problem


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"{", JSON, 400),
        (b"", JSON, 422),
        (b"\xff\xfe\x00", JSON, 400),
        (b"[" * 100_000, JSON, 400),
        (b'{"text": ' + b"9" * 5000 + b"}", JSON, 400),
        (b"null", JSON, 422),
        (b"[]", JSON, 422),
        (b'"text"', JSON, 422),
        (b"{}", JSON, 422),
        (b'{"text": ""}', JSON, 422),
        (b'{"text": " \\n\\t"}', JSON, 422),
        (b'{"text": "\\u0007\\u202e"}', JSON, 422),
        (b'{"text": 7}', JSON, 422),
        (b'{"text": "hi", "\\ud800": 1}', JSON, 422),
        (b'{"text": null}', JSON, 422),
        (b'{"text": "a\\u0000b"}', JSON, 422),
        (b'{"text": "\\ud800"}', JSON, 422),
        (b'{"text": "hi", "unknown": 1}', JSON, 422),
        (b'{"text": "hi", "conversation": "a\\nb"}', JSON, 422),
        (b'{"text": "hi", "conversation": ""}', JSON, 422),
        (b'{"text": "hi", "event_id": "' + b"x" * 201 + b'"}', JSON, 422),
        (b'{"text": "' + b"x" * 100_001 + b'"}', JSON, 422),
        (b'{"text": "' + b"x" * 1_100_000 + b'"}', JSON, 413),
        (b'{"text": "hi"}', {"Content-Type": "text/plain"}, 415),
        (b'{"text": "hi"}', {"Content-Type": ""}, 415),
        (b"text=hi", {"Content-Type": "application/x-www-form-urlencoded"}, 415),
    ],
)
def test_a_bad_message_is_a_problem(gateway: Gateway, content: bytes, headers: dict[str, str], status: int) -> None:
    is_problem(gateway.client.post("/v1/messages", content=content, headers=headers), status)


def test_an_unknown_field_is_named_with_those_that_there_are(gateway: Gateway) -> None:
    answer = gateway.client.post("/v1/runs", json={"command": "digest", "arguments": {}})

    assert is_problem(answer, 422)["errors"] == [
        {
            "field": "arguments",
            "detail": "There is no field 'arguments'. Known: command, args, event_id, callback_url.",
        }
    ]


@pytest.mark.parametrize(
    "args", ['{"a": NaN}', '{"a": 1e999}', '{"a": "\\u0000"}', '{"a": ' + "[" * 50 + "]" * 50 + "}"]
)
def test_bad_arguments_are_a_problem(gateway: Gateway, args: str) -> None:
    content = f'{{"command": "x", "args": {args}}}'
    is_problem(gateway.client.post("/v1/runs", content=content, headers=JSON), 422)


def test_a_value_that_is_none_of_the_allowed_ones_is_told_them_in_plain_words(gateway: Gateway) -> None:
    answer = gateway.client.get("/v1/approvals", params={"state": "bogus"})

    told = "it must be pending, approved, denied, expired, voided or all"
    assert is_problem(answer, 422)["errors"] == [{"field": "state", "detail": told}]


def test_a_body_that_is_nested_too_deeply_is_told_so(gateway: Gateway) -> None:
    answer = gateway.client.post("/v1/messages", content=b"[" * 100_000, headers=JSON)

    assert "nested too deeply" in str(is_problem(answer, 400)["detail"])


@pytest.mark.parametrize(("content", "media_type"), [(b"{", "application/json"), (b"x", "text/plain")])
def test_a_stranger_is_told_nothing_of_what_is_wrong_with_the_body(
    gateway: Gateway, content: bytes, media_type: str
) -> None:
    answer = httpx.post(f"{gateway.url}/v1/messages", content=content, headers={"Content-Type": media_type})

    is_problem(answer, 401)


def test_a_body_of_unknown_length_is_cut_off(gateway: Gateway) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=10)
    headers = {**JSON, "Authorization": f"Bearer {gateway.token}"}

    connection.request("POST", "/v1/messages", iter([b"x" * 65536] * 20), headers, encode_chunked=True)
    answer = connection.getresponse()

    assert (answer.status, answer.getheader("content-type")) == (413, "application/problem+json")
    connection.close()


@pytest.mark.parametrize(
    "text",
    ["x" * 100_000, "行\n" * 10_000, "🙂👩‍👩‍👧‍👦", "／报告　天数＝３", "مرحبا", "a\u202eb", "tab\tnew\nline"],
)
def test_unusual_but_good_text_is_accepted(gateway: Gateway, text: str) -> None:
    answer = gateway.client.post("/v1/messages", json={"text": text})

    assert answer.status_code == 202
    assert gateway.client.get(answer.json()["url"]).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("GET", "/v1/messages/not-a-uuid", 404),
        ("GET", "/v1/messages/01a1fc50-7a88-7586-aa08-b124d5430f81", 404),
        ("GET", "/v1/messages/%00", 404),
        ("GET", "/v1/runs/%00", 404),
        ("GET", "/v1/runs/01a1fc50-7a88-7586-aa08-b124d5430f81", 404),
        ("POST", "/v1/runs/01a1fc50-7a88-7586-aa08-b124d5430f81/cancel", 404),
        ("GET", "/v1/files/../token", 404),
        ("GET", "/v1/files/abc", 422),
        ("PUT", "/v1/messages", 405),
        ("DELETE", "/v1/commands", 405),
        ("GET", "/v1/session-links", 405),
        ("POST", "/", 405),
        ("GET", "/channels/webhook/alerts", 405),
    ],
)
def test_what_is_not_there_is_a_problem(gateway: Gateway, method: str, path: str, status: int) -> None:
    is_problem(gateway.client.request(method, path), status)


@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Bearer"}, {"Authorization": "Basic eDp5"},
                {"Authorization": "Bearer \xe9"}, {"Cookie": "runbell_session=1.2.3"}],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/v1/messages/x", "/v1/commands", "/v1/runs/x", "/v1/files/" + "a" * 64])
def test_without_the_token_nothing_is_told(gateway: Gateway, path: str, headers: dict[str, str]) -> None:
    answer = httpx.get(gateway.url + path, headers={k: v.encode("latin-1") for k, v in headers.items()})

    is_problem(answer, 401)
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_without_the_token_nothing_is_stored(gateway: Gateway) -> None:
    body = {"text": "hi", "conversation": "strangers"}
    is_problem(httpx.post(f"{gateway.url}/v1/messages", json=body), 401)

    database = Database(gateway.database_url, files=gateway.home / "files", pool_size=1)
    assert database.inbox.unfinished(Address(channel="rest", conversation="strangers")) == []
    database.close()


def deliver(
    gateway: Gateway, *, source: str = "alerts", secret: str = SECRET, body: str = '{"text": "hi"}', event_id: str,
    at: datetime | None = None, **changed: str,
) -> httpx.Response:  # fmt: skip
    at = at or datetime.now(UTC)
    headers = {
        "webhook-id": event_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign(event_id, at, body),
        **{name.replace("_", "-"): value for name, value in changed.items()},
    }
    return httpx.post(f"{gateway.url}/channels/webhook/{source}", content=body, headers=headers)


@pytest.mark.parametrize("secret", [SECRET, OTHER_SECRET])
def test_a_delivery_signed_with_either_secret_is_stored(gateway: Gateway, secret: str) -> None:
    answer = deliver(gateway, event_id=f"either-{secret[-3]}", secret=secret)

    assert answer.status_code == 202
    stored = gateway.client.get(answer.json()["url"]).json()
    assert (stored["channel"], stored["conversation"], stored["status"]) == ("webhook", "alerts", "received")


def test_a_replayed_delivery_changes_nothing(gateway: Gateway) -> None:
    at = datetime.now(UTC)

    first, replayed = (deliver(gateway, event_id="replayed", at=at) for _ in range(2))

    assert (first.json()["duplicate"], replayed.json()["duplicate"]) == (False, True)
    assert first.json()["message_id"] == replayed.json()["message_id"]


def test_a_known_id_with_another_body_changes_nothing(gateway: Gateway) -> None:
    first = deliver(gateway, event_id="reused", body='{"text": "first"}').json()

    second = deliver(gateway, event_id="reused", body='{"text": "second"}').json()

    assert second["message_id"] == first["message_id"]
    database = Database(gateway.database_url, files=gateway.home / "files", pool_size=1)
    stored = database.inbox.get(first["message_id"])
    database.close()
    assert stored is not None
    assert stored.text == "first"


@pytest.mark.parametrize(
    "changed",
    [
        {"secret": "whsec_" + "A" * 32},
        {"at": datetime.now(UTC) - timedelta(seconds=320)},
        {"at": datetime.now(UTC) + timedelta(hours=1)},
        {"webhook_id": "other"},
        {"webhook_signature": ""},
        {"webhook_signature": "v1"},
        {"webhook_signature": "v1,not base64"},
        {"webhook_timestamp": "soon"},
        {"webhook_timestamp": ""},
        {"source": "blank"},
    ],
)
def test_a_delivery_that_is_not_authentic_is_refused(gateway: Gateway, changed: dict[str, str]) -> None:
    is_problem(deliver(gateway, event_id="forged", **changed), 401)


def test_a_delivery_without_headers_is_refused(gateway: Gateway) -> None:
    is_problem(httpx.post(f"{gateway.url}/channels/webhook/alerts", json={"text": "hi"}), 401)


@pytest.mark.parametrize("body", ["{", "[]", "{}", '{"text": 5}'])
def test_an_authentic_delivery_that_says_nothing_is_invalid(gateway: Gateway, body: str) -> None:
    is_problem(deliver(gateway, event_id="empty", body=body), 422)


def test_an_unknown_source_is_not_there(gateway: Gateway) -> None:
    is_problem(deliver(gateway, event_id="x", source="nobody"), 404)


def test_too_many_requests_are_told_when_to_come_back(database_url: str, tmp_path: Path) -> None:
    with running_gateway(database_url, tmp_path, RUNBELL_GATEWAY__REQUESTS_PER_MINUTE="5") as gateway:
        answers = [gateway.client.post("/v1/messages", json={"text": "hi"}) for _ in range(8)]

        assert [answer.status_code for answer in answers] == [202] * 5 + [429] * 3
        is_problem(answers[-1], 429)
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 60
        assert gateway.client.get("/v1/commands").status_code == 200


def test_a_conversation_that_is_full_takes_no_more(database_url: str, tmp_path: Path) -> None:
    with running_gateway(database_url, tmp_path, RUNBELL_GATEWAY__PENDING_PER_CONVERSATION="3") as gateway:
        said = {"text": "hi", "conversation": "full"}
        answers = [gateway.client.post("/v1/messages", json=said) for _ in range(5)]

        assert [answer.status_code for answer in answers] == [202, 202, 202, 429, 429]
        is_problem(answers[-1], 429)
        assert gateway.client.post("/v1/messages", json={"text": "hi", "conversation": "other"}).status_code == 202


def test_requests_are_quick_when_idle(gateway: Gateway) -> None:
    gateway.client.post("/v1/messages", json={"text": "warm"})
    seconds: list[float] = []
    for _ in range(20):
        started_at = time.perf_counter()
        gateway.client.post("/v1/messages", json={"text": "hi"})
        seconds.append(time.perf_counter() - started_at)

    assert sorted(seconds)[10] < 0.1
