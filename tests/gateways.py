"""The real gateway in a process of its own, and a scripted worker that settles messages through the database."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import httpx

from integrations.database import ClaimedMessage, Database, Listener, NewRun
from integrations.messages import MessageStatus, OutboundMessage
from integrations.security.tokens import create_token, read_token

ROOT = Path(__file__).parent.parent
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Gateway:
    """One running process; `client` carries the bearer token."""

    def __init__(self, database_url: str, home: Path, **environment: str) -> None:
        create_token(home)
        self.home = home
        self.token = read_token(home)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.database_url = database_url
        self._environment = {
            "PATH": os.environ["PATH"],
            "RUNBELL_HOME": str(home),
            "RUNBELL_DATABASE__URL": database_url,
            "RUNBELL_GATEWAY__PORT": str(self.port),
            "RUNBELL_SERVING__PORT": str(free_port()),
            "RUNBELL_GATEWAY__REQUESTS_PER_MINUTE": "100000",
            **environment,
        }
        self.log = home / "gateway.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.client = httpx.Client(
            base_url=self.url, headers={"Authorization": f"Bearer {self.token}"}, timeout=30, trust_env=False
        )

    @property
    def socket_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/v1/chat"

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "integrations.gateway"],
                env=self._environment,
                cwd=ROOT,
                stderr=log,
                stdout=log,
                start_new_session=True,
            )
        wait_for(self._answers, 60, self.log.read_text)

    def kill(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()

    def stop(self) -> int:
        if self.process is None:
            return 0
        self.process.terminate()
        try:
            return self.process.wait(20)
        finally:
            self.process.kill()
            self.process.wait()

    def _answers(self) -> bool:
        if self.process is not None and self.process.poll() is not None:
            raise AssertionError(f"the gateway ended: {self.log.read_text()}")
        try:
            # Ready but for workers and serving, which these tests play themselves: it hears notifications.
            return "database" not in httpx.get(f"{self.url}/readyz", trust_env=False, timeout=20).json()["missing"]
        except (httpx.TransportError, ValueError):
            return False


@contextmanager
def running_gateway(database_url: str, home: Path, **environment: str) -> Generator[Gateway]:
    gateway = Gateway(database_url, home, **environment)
    gateway.start()
    try:
        yield gateway
    finally:
        gateway.client.close()
        gateway.stop()


def wait_for(condition: Callable[[], object], seconds: float = 30, explain: Callable[[], str] | None = None) -> object:
    """Poll until the condition holds; its last value."""
    until = time.monotonic() + seconds
    while True:
        if value := condition():
            return value
        if time.monotonic() > until:
            raise AssertionError(f"not within {seconds} s. {explain() if explain else ''}")
        time.sleep(0.02)


class ScriptedWorker:
    """Claims messages and answers each `echo: TEXT`.

    Commands get a run, and so do texts that begin with `stream`; a command with the value `many` is refused.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self.handled: list[str] = []
        self._wake = threading.Event()
        self._stop = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()
        self._listener = Listener(database.url, ["runbell_inbox"], lambda *_: self._wake.set())
        self._thread = threading.Thread(target=self._run, name="scripted worker")

    def __enter__(self) -> Self:
        self._listener.start()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self.go_on.set()
        self._wake.set()
        self._thread.join()
        self._listener.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            claimed = self.database.inbox.claim("scripted", limit=20)
            for message in claimed:
                self._handle(message)
            if not claimed:
                self._wake.wait(0.5)
                self._wake.clear()

    def _handle(self, claimed: ClaimedMessage) -> None:
        message = claimed.message
        principal = self.database.principals.resolve(message.address.tenant, message.address.channel, message.account)
        self.handled.append(claimed.message_id)
        text = message.text or f"{message.command} {message.args}"
        reply = OutboundMessage(address=message.address, text=f"echo: {text}")
        if "many" in message.args.values():
            reply = OutboundMessage(address=message.address, text="days: a whole number is needed")
            self.database.inbox.settle(claimed, [reply], principal_id=principal.id, status=MessageStatus.FAILED)
            return
        if message.command is None and not text.startswith("stream"):
            self.database.inbox.settle(claimed, [reply], principal_id=principal.id)
            return
        run = self.database.inbox.start(
            claimed, NewRun("core", "assistant", {}, {}), principal_id=principal.id, worker="scripted"
        )
        assert run is not None
        publish = self.database.progress.publish
        publish(claimed.message_id, message.address, {"type": "run", "run_id": run.run_id, "url": "x", "job": "j"})
        for index in range(20):
            if index == 10:
                self.go_on.wait(20)
            publish(claimed.message_id, message.address, {"type": "delta", "text": f"{index} "})
        self.database.inbox.answer(claimed.message_id, [reply], run_id=run.run_id, status=MessageStatus.ANSWERED)
        self.database.runs.finish(run)
