"""A whole Runbell in a folder of its own, on ports of its own, driven as a user drives it."""

import base64
import json
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil
from standardwebhooks import Webhook

REPOSITORY = Path(__file__).parents[2]
RUNBELL = Path(sys.executable).with_name("runbell")
T = TypeVar("T")

RUN_QUERY = """query ($id: ID!) { runOrError(runId: $id) { __typename ... on Run {
  id status jobName tags { key value } stepStats { stepKey status }
  repositoryOrigin { repositoryLocationName repositoryName } } } }"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def eventually(look: Callable[[], T | None], *, within_s: float, what: str) -> T:
    """Return the first truthy value of `look`; fail after `within_s` seconds."""
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        value = look()
        if value:
            return value
        time.sleep(0.1)
    raise AssertionError(f"waited {within_s} s in vain for {what}")


@dataclass
class Platform:
    """One installation; `start` is `runbell up`, `stop` is `runbell down`."""

    folder: Path
    gateway: int = field(default_factory=free_port)
    dagster: int = field(default_factory=free_port)
    serving: int = field(default_factory=free_port)
    sections: str = ""
    """More of `runbell.toml`."""
    webhook_secret: str = field(default_factory=lambda: "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode())

    def __post_init__(self) -> None:
        workspace = REPOSITORY / "tests" / "e2e" / "workspace.yaml"
        (self.folder / "runbell.toml").write_text(
            f'[channels.webhook.alerts]\nsecret = "{self.webhook_secret}"\n[dagster]\nworkspace = "{workspace}"\n'
            + self.sections
        )

    @property
    def home(self) -> Path:
        return self.folder / ".runbell"

    @property
    def env(self) -> dict[str, str]:
        return os.environ | {
            "RUNBELL_HOME": str(self.home),
            "RUNBELL_GATEWAY__PORT": str(self.gateway),
            "RUNBELL_DAGSTER__PORT": str(self.dagster),
            "RUNBELL_SERVING__PORT": str(self.serving),
        }

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.gateway}"

    @property
    def token(self) -> str:
        return (self.home / "token").read_text().strip()

    def cli(self, *args: str, timeout: float = 180) -> subprocess.CompletedProcess[str]:
        """Run `runbell ARGS` and return how it ended."""
        return subprocess.run(
            [str(RUNBELL), *args],
            cwd=self.folder,
            env=self.env,
            text=True,
            capture_output=True,
            timeout=timeout,
            stdin=subprocess.DEVNULL,
            check=False,
        )

    def keep_models(self) -> None:
        """Take the starter models from RUNBELL_TEST_MODELS, where they are kept between runs of the tests."""
        kept = os.environ.get("RUNBELL_TEST_MODELS")
        if kept and not (self.home / "models").exists():
            self.home.mkdir(mode=0o700, exist_ok=True)
            (self.home / "models").symlink_to(kept)

    def start(self) -> float:
        """Bring everything up and return the seconds it took."""
        self.keep_models()
        began = time.monotonic()
        ended = self.cli("up", timeout=420)
        assert ended.returncode == 0, f"{ended.stdout}\n{ended.stderr}\n{self.logs()}"
        return time.monotonic() - began

    def stop(self) -> None:
        ended = self.cli("down", timeout=120)
        assert ended.returncode == 0, ended.stdout + ended.stderr

    def logs(self) -> str:
        """Return the last lines of every process's log."""
        folder = self.home / "logs"
        tails = [f"== {p.name}\n" + "\n".join(p.read_text().splitlines()[-15:]) for p in sorted(folder.glob("*.log"))]
        return "\n".join(tails)

    def status(self) -> dict[str, Any]:
        return json.loads(self.cli("status", "--json").stdout)

    def pids(self) -> list[int]:
        """Return every process that belongs to this installation, found by its environment or command line."""
        mine: list[int] = []
        for process in psutil.process_iter():
            try:
                marks = [*process.cmdline(), process.environ().get("RUNBELL_HOME", "")]
            except psutil.Error:
                continue
            if process.pid != os.getpid() and any(str(self.home) in mark for mark in marks):
                mine.append(process.pid)
        return mine

    def rest(self, *, timeout: float = 150) -> httpx.Client:
        headers = {"authorization": f"Bearer {self.token}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=timeout)

    def ask(self, text: str, *, conversation: str = "e2e", wait: int = 120, **more: object) -> dict[str, Any]:
        """Post a message, wait for its answer, and return the response's JSON."""
        body = {"text": text, "conversation": conversation} | more
        with self.rest() as client:
            response = client.post("/v1/messages", json=body, headers={"prefer": f"wait={wait}"})
        assert response.status_code == 200, response.text
        return response.json()

    def message(self, message_id: str) -> dict[str, Any]:
        with self.rest() as client:
            response = client.get(f"/v1/messages/{message_id}")
        assert response.status_code == 200, response.text
        return response.json()

    def settled(self, message_id: str, *, within_s: float = 120) -> dict[str, Any]:
        """Wait until a message is answered, failed or dead, and return it."""

        def look() -> dict[str, Any] | None:
            try:
                with self.rest() as client:
                    response = client.get(f"/v1/messages/{message_id}")
            except httpx.TransportError:
                return None
            if response.status_code == 503:  # without its database the gateway says so, and can tell again later
                return None
            assert response.status_code == 200, response.text
            message = response.json()
            return message if message["status"] in {"answered", "failed", "dead"} else None

        return eventually(look, within_s=within_s, what=f"message {message_id} to be settled")

    def post_webhook(self, body: dict[str, object], *, event_id: str, source: str = "alerts") -> httpx.Response:
        data = json.dumps(body)
        now = datetime.now(UTC)
        headers = {
            "content-type": "application/json",
            "webhook-id": event_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": Webhook(self.webhook_secret).sign(event_id, now, data),
        }
        return httpx.post(f"{self.url}/channels/webhook/{source}", content=data, headers=headers, timeout=60)

    def graphql(self, query: str, **variables: object) -> dict[str, Any]:
        """Ask the Dagster webserver."""
        response = httpx.post(
            f"http://127.0.0.1:{self.dagster}/graphql", json={"query": query, "variables": variables}, timeout=60
        )
        answer = response.json()
        assert "errors" not in answer, answer
        return answer["data"]

    def run(self, run_id: str) -> dict[str, Any]:
        """Return a run as the Dagster UI sees it, its tags as a mapping."""
        run = self.graphql(RUN_QUERY, id=run_id)["runOrError"]
        assert run["__typename"] == "Run", run
        return run | {"tags": {tag["key"]: tag["value"] for tag in run["tags"]}}

    def run_ended(self, run_id: str, *, within_s: float = 60) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            run = self.run(run_id)
            return run if run["status"] in {"SUCCESS", "FAILURE", "CANCELED"} else None

        return eventually(look, within_s=within_s, what=f"run {run_id} to end")
