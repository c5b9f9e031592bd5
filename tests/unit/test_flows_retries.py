"""How often a step of a workflow in YAML is tried again: the words of Dagster's `RetryPolicy`, and nothing else."""

from pathlib import Path

import dagster as dg
import pytest

from orchestration.flows import load_flows
from orchestration.flows.reading import Unsound

REFUND = """
command: refund
steps:
  pay:
    {retries}
    {does}
reply: Paid.
"""
CALL = 'http_request: {url: "https://shop.example.com/refunds", method: POST}'


def policy(folder: Path, retries: str, does: str = CALL) -> dg.RetryPolicy | None:
    """Return how a step that says this is tried again."""
    (folder / "refund.yaml").write_text(REFUND.format(retries=retries, does=does))
    node = load_flows(folder).resolve_job_def("refund").get_node_named("pay")
    assert isinstance(node.definition, dg.OpDefinition)
    return node.definition.retry_policy


def test_retries_are_those_of_dagster(tmp_path: Path) -> None:
    said = "retries: {max_retries: 5, delay: 1m30s, backoff: exponential, jitter: plus_minus}"

    assert policy(tmp_path, said) == dg.RetryPolicy(5, 90.0, dg.Backoff.EXPONENTIAL, dg.Jitter.PLUS_MINUS)
    assert policy(tmp_path, "retries: {delay: 2}") == dg.RetryPolicy(1, 2.0)
    assert policy(tmp_path, "retries: 3") == dg.RetryPolicy(3)
    assert policy(tmp_path, "description: Pay.") is None


@pytest.mark.parametrize(
    ("retries", "does", "told"),
    [
        ("retries: 0", CALL, "retries"),
        ("retries: 1000", CALL, "retries"),
        ("retries: often", CALL, "retries"),
        ("retries: {max_retries: 2, delay: soon}", CALL, "no length of time"),
        ("retries: {max_retries: 2, backoff: linear}", CALL, "backoff and jitter need a delay"),
        ("retries: {max_retries: 2, delay: 1s, backoff: random}", CALL, "backoff"),
        ("retries: 2", "wait: 3 days", "retries belong to an action; wait has a time of its own"),
    ],
)
def test_what_can_not_be_retried_is_refused(tmp_path: Path, retries: str, does: str, told: str) -> None:
    with pytest.raises(Unsound, match=told):
        policy(tmp_path, retries, does)
