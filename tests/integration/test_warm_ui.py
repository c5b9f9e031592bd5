"""The real Dagster webserver over the warm runtime: launch, follow, logs, terminate, re-execute."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.warming import ENDED, WarmHome, eventually, warm

__all__ = ["warm"]

LAUNCH = """
mutation Launch($params: ExecutionParams!) {
  launchRun(executionParams: $params) { __typename ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message } ... on RunConfigValidationInvalid { errors { message } } }
}"""
REEXECUTE = """
mutation Again($params: ReexecutionParams!) {
  launchRunReexecution(reexecutionParams: $params) { __typename ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message } }
}"""
TERMINATE = """
mutation Stop($run: String!) {
  terminateRun(runId: $run) { __typename ... on TerminateRunSuccess { run { runId } } ... on PythonError { message } }
}"""
RUN = """
query Run($run: ID!) {
  runOrError(runId: $run) { __typename ... on Run { status jobName canTerminate hasReExecutePermission
    repositoryOrigin { repositoryName repositoryLocationName }
    stepKeysToExecute stepStats { stepKey status } tags { key value } } }
}"""
LOGS = """
query Logs($key: [String!]!) { capturedLogs(logKey: $key) { stdout stderr cursor } }"""
CAPTURED = """
query Captured($run: ID!) {
  logsForRun(runId: $run) { ... on EventConnection {
    events { __typename ... on LogsCapturedEvent { fileKey stepKeys } } } }
}"""


class Ui:
    """The webserver's GraphQL API."""

    def __init__(self, port: int) -> None:
        self._client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60)

    def ask(self, query: str, **variables: object) -> dict[str, Any]:
        answer = self._client.post("/graphql", json={"query": query, "variables": variables}).json()
        assert "errors" not in answer, answer
        (result,) = answer["data"].values()
        assert result.get("__typename") not in {"PythonError", "RunConfigValidationInvalid"}, result
        return result

    def answers(self) -> bool:
        try:
            return self._client.get("/server_info").status_code == 200
        except httpx.HTTPError:
            return False

    def launch(self, job: str, start: int = 1) -> str:
        selector = {"repositoryLocationName": "jobs", "repositoryName": "__repository__", "pipelineName": job}
        config = {"ops": {"one": {"config": {"start": start}}}}
        return self.ask(LAUNCH, params={"selector": selector, "runConfigData": config})["run"]["runId"]

    def again(self, run_id: str, strategy: str) -> str:
        params = {"parentRunId": run_id, "strategy": strategy}
        return self.ask(REEXECUTE, params=params)["run"]["runId"]

    def run(self, run_id: str) -> dict[str, Any]:
        return self.ask(RUN, run=run_id)

    def ended(self, run_id: str) -> str:
        eventually(lambda: self.run(run_id).get("status") in ENDED, f"run {run_id} ends", 60)
        return self.run(run_id)["status"]

    def close(self) -> None:
        self._client.close()


@contextmanager
def webserver(warm: WarmHome) -> Iterator[Ui]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = Path(sys.executable).with_name("dagster-webserver")
    with (warm.folder / "webserver.log").open("wb") as log:
        process = subprocess.Popen(
            [str(program), "-h", "127.0.0.1", "-p", str(port), "-w", str(warm.folder / "workspace.yaml")],
            env={**os.environ, **warm.environment, "PYTHONPATH": str(Path.cwd())},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    ui = Ui(port)
    try:
        eventually(ui.answers, "the webserver answers", 90)
        yield ui
    finally:
        ui.close()
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout=5)


def test_the_dagster_ui_launches_follows_terminates_and_re_executes_on_warm_workers(warm: WarmHome) -> None:
    with webserver(warm) as ui, warm.worker():
        five = ui.launch("five", start=3)
        assert ui.ended(five) == "SUCCESS"
        shown = ui.run(five)
        assert shown["repositoryOrigin"]["repositoryLocationName"] == "jobs"
        assert {step["status"] for step in shown["stepStats"]} == {"SUCCESS"}
        assert f"value 3 in {five}" in _stdout(ui, five)

        waiting = ui.launch("waiting")
        eventually((warm.folder / f"{waiting}.started").exists, "the op waits")
        ui.ask(TERMINATE, run=waiting)
        assert ui.ended(waiting) == "CANCELED"

        again = ui.again(five, "ALL_STEPS")
        assert ui.ended(again) == "SUCCESS"

        chat = warm.message("failing")[1]
        assert ui.ended(chat) == "FAILURE"
        shown = ui.run(chat)
        assert shown["hasReExecutePermission"] is True
        assert shown["repositoryOrigin"]["repositoryLocationName"] == "jobs"

        from_failure = ui.again(chat, "FROM_FAILURE")
        assert ui.ended(from_failure) == "FAILURE"
        executed = {step for kind, step in warm.kinds(from_failure) if kind == "STEP_START"}
        assert executed == {"broken"}


def _stdout(ui: Ui, run_id: str) -> str:
    events = ui.ask(CAPTURED, run=run_id)["events"]
    (key,) = [event["fileKey"] for event in events if event["__typename"] == "LogsCapturedEvent"]
    return ui.ask(LOGS, key=[run_id, "compute_logs", key])["stdout"]
