"""The OpenAPI document tells the truth: generated requests, good and bad, get the answers that it describes."""

from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import Case
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import positive_data_acceptance

from integrations.database import Database, StoredCommand
from integrations.database.disposable import fresh_database
from tests.gateways import SECRET, Gateway, running_gateway


@pytest.fixture(scope="module")
def gateway(postgres: str, database_template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    home = tmp_path_factory.mktemp("home")
    secret = {"RUNBELL_CHANNELS__WEBHOOK__ALERTS__SECRET": SECRET}
    with fresh_database(postgres, database_template) as url, running_gateway(url, home, **secret) as gateway:
        database = Database(url, files=home / "files", pool_size=1)
        database.commands.replace("core", [StoredCommand("digest", "core", "digest", {"name": "digest"})])
        database.close()
        yield gateway


OPERATIONS = [
    "POST /v1/messages", "GET /v1/messages/{message_id}", "POST /v1/runs", "GET /v1/runs/{run_id}",
    "POST /v1/runs/{run_id}/cancel", "POST /v1/runs/{run_id}/retry", "GET /v1/commands", "POST /v1/events/{name}",
    "GET /v1/approvals", "GET /v1/approvals/{approval_id}",
    "POST /v1/approvals/{approval_id}/approve", "POST /v1/approvals/{approval_id}/deny",
    "POST /v1/approvals/{approval_id}/delegate",
    "GET /v1/files/{sha}",
    "POST /v1/session-links",
    "POST /channels/webhook/{source}", "GET /healthz", "GET /readyz", "GET /metrics",
]  # fmt: skip


# What a schema can't say: blank texts, invisible characters, commands that exist; and 503 is what /readyz is for.
BEYOND_SCHEMA = {
    "POST /v1/messages": [positive_data_acceptance],
    "POST /v1/runs": [positive_data_acceptance],
    "POST /v1/events/{name}": [positive_data_acceptance],
    "GET /readyz": [not_a_server_error],
}


@pytest.mark.parametrize("label", OPERATIONS)
def test_every_call_answers_as_the_document_says(gateway: Gateway, label: str) -> None:
    document = schemathesis.openapi.from_url(f"{gateway.url}/openapi.json")
    operation = next(found.ok() for found in document.get_all_operations() if found.ok().label == label)

    @given(case=operation.as_strategy())
    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    def ask(case: Case) -> None:
        answer = case.call(headers={"Authorization": f"Bearer {gateway.token}"}, timeout=30)
        assert answer.status_code != 500
        case.validate_response(answer, excluded_checks=BEYOND_SCHEMA.get(label, []))

    ask()


def test_every_operation_is_tried(gateway: Gateway) -> None:
    paths = gateway.client.get("/openapi.json").json()["paths"]

    assert sorted(f"{method.upper()} {path}" for path, methods in paths.items() for method in methods) == sorted(
        OPERATIONS
    )


def test_the_document_is_openapi_3_1_and_points_nowhere_else(gateway: Gateway) -> None:
    answer = gateway.client.get("/openapi.json")

    assert answer.json()["openapi"].startswith("3.1")
    assert "http://" not in answer.text.replace(gateway.url, "")
    assert "https://" not in answer.text
