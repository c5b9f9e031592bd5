"""The code location `core` for tests: the assistant with a model that plans, and commands that it may start."""

import json
import os
from pathlib import Path

import dagster as dg

from integrations.settings import Settings
from orchestration.authoring import command
from orchestration.jobs.assistant import assistant
from orchestration.resources import build
from serving.client import ScriptedModels
from serving.schema import ChatRequest


def think(request: ChatRequest) -> str:
    """Plan what the last message asks for; of results, tell how many there are."""
    said = request.messages[-1].content
    if "<results>" in said:
        done = said.count('outcome="done"')
        return json.dumps({"reply": {"answer": f"I have read: {done} done", "notes": []}})
    url = os.environ["PLANNING_TEST_URL"]
    ship = {"command": "ship", "args": {}}
    remove = {"action": "http_request", "args": {"url": url, "method": "DELETE"}}
    pay = {"action": "http_request", "args": {"url": url, "method": "POST"}}
    return json.dumps({"reply": {"plan": [remove] if "remove" in said else [ship, pay]}})


@dg.op
def ship_it(context: dg.OpExecutionContext) -> str:
    with (Path(os.environ["WARM_TEST_FOLDER"]) / "shipped").open("a") as shipped:
        shipped.write("x")
    return f"shipped by {context.run_id}"


@command("ship", effect="write", allowed=["everyone"])
@dg.job
def ship() -> None:
    ship_it()


defs = dg.Definitions(
    jobs=[assistant, ship], resources=build(Settings(), models=ScriptedModels(fallback=think, strong=True))
)
