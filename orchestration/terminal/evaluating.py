"""`runbell models eval`: starts the job `evaluate_models`, waits, and prints what it has kept in Dagster."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any, cast

import httpx
from rich.console import Console
from rich.markdown import Markdown

from integrations.errors import Unavailable
from integrations.gateway.client import Client
from integrations.gateway.installation import reach
from integrations.settings import Settings
from orchestration.supervise.home import Home
from orchestration.terminal.answers import show_run
from orchestration.terminal.shared import FAILED, print_json

COMMAND = "evaluate_models"
ASSET = "model_evaluation"
_KEPT = """
query Kept($run: ID!) { runOrError(runId: $run) { ... on Run { assetMaterializations { metadataEntries { label
  ... on TextMetadataEntry { text } ... on FloatMetadataEntry { floatValue } ... on BoolMetadataEntry { boolValue }
  ... on MarkdownMetadataEntry { mdStr } ... on JsonMetadataEntry { jsonString } } } } } }"""
_VALUES = ("text", "floatValue", "boolValue", "mdStr", "jsonString")


def evaluate(settings: Settings, home: Home, *, timeout_s: float, as_json: bool) -> int:
    """Return 0 where the model was examined and nothing is worse than before, else 1."""
    if not as_json:
        print("Asking the golden set; this takes the model a minute or two …", file=sys.stderr)
    with Client(reach(settings), home.path) as client:
        state = client.run(COMMAND, {}, timeout_s=timeout_s)
    told = cast("Mapping[str, object]", state.get("message") or {})
    if told.get("status") != "answered":
        return show_run(state, settings.gateway_url, as_json=as_json)
    kept = _kept(settings.dagster_url, str(state["run_id"]))
    worse = bool(kept.get("regression"))
    if as_json:
        print_json({"run_id": state["run_id"], "run_url": state.get("run_url"), **kept})
    else:
        _show(kept, f"{settings.dagster_url}/assets/{ASSET}")
    return FAILED if worse else 0


def _kept(url: str, run_id: str) -> dict[str, Any]:
    """Return the metadata of what the run has materialized. Raises `Unavailable` where Dagster's UI does not answer."""
    asked = {"query": _KEPT, "variables": {"run": run_id}}
    try:
        answer = httpx.post(f"{url}/graphql", json=asked, timeout=20, trust_env=False).raise_for_status().json()
        (event,) = answer["data"]["runOrError"]["assetMaterializations"]
    except (httpx.HTTPError, KeyError, TypeError, ValueError) as error:
        raise Unavailable(
            f"It is evaluated, but Dagster does not tell how ({error}): see {url}/runs/{run_id}"
        ) from error
    entries = cast("Sequence[Mapping[str, Any]]", event["metadataEntries"])
    return {str(entry["label"]): next((entry[name] for name in _VALUES if name in entry), None) for entry in entries}


def _show(kept: Mapping[str, Any], url: str) -> None:
    scores = {name.removeprefix("score_"): value for name, value in kept.items() if name.startswith("score_")}
    rows = str(kept["cases"]).splitlines()
    wrong = [row for row in rows[2:] if not row.endswith("| ✓ |")]
    if wrong:
        Console().print(Markdown("\n".join([*rows[:2], *wrong])))
    print(f"{kept['fingerprint']}: " + ", ".join(f"{name} {100 * value:.0f} %" for name, value in scores.items()))
    print(f"{'WORSE' if kept.get('regression') else 'Compared'}: {kept['compared']}")
    print(f"All {len(rows) - 2} cases: {url}")
