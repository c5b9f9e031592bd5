"""A steady stream of typed commands through the gateway, repeated until acknowledged, some also afterwards."""

import random
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

import httpx

from benchmarks.faults.platform import Platform
from benchmarks.place import LAUNCH

JOBS = ("tally", "ring", "fan", "pause", "await_go", "stumble", "store")
EVENT = "go"
SENDERS = 4
GIVE_UP = 120
"""Times that a message is posted at most, a second apart."""
CONVERSATIONS = 60
AGAIN = 0.1
"""Share of messages that are delivered once more after their acknowledgement."""
LAUNCH_EVERY_S = 5.0


@dataclass(frozen=True)
class Sent:
    """An acknowledged message, and the answer that it must get."""

    message_id: str
    answer: str


@dataclass
class Traffic:
    """Sends `messages` over `seconds`; `broken` collects what the gateway itself did wrong."""

    platform: Platform
    messages: int
    seconds: float
    random: random.Random
    sent: list[Sent] = field(default_factory=list[Sent])
    broken: list[str] = field(default_factory=list[str])
    launched: list[str] = field(default_factory=list[str])
    refused: int = 0

    def __post_init__(self) -> None:
        jobs = (*JOBS, "help")
        self._work = iter([(n, jobs[n % len(jobs)], self.random.random() < AGAIN) for n in range(self.messages)])
        self._lock = threading.Lock()
        self._began = time.monotonic()
        self.stop = threading.Event()
        targets = [self._send] * SENDERS + ([] if self.platform.small else [self._launch])
        self._threads = [threading.Thread(target=target, daemon=True) for target in targets]

    def start(self) -> "Traffic":
        """Begin."""
        self._began = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def join(self) -> None:
        """Wait until all messages are acknowledged."""
        for thread in self._threads[:SENDERS]:
            thread.join()
        self.stop.set()
        for thread in self._threads:
            thread.join()

    def _next(self) -> Iterator[tuple[int, str, bool]]:
        while True:
            with self._lock:
                work = next(self._work, None)
            if work is None:
                return
            due = self._began + work[0] * self.seconds / self.messages
            time.sleep(max(due - time.monotonic(), 0.0))
            yield work

    def _send(self) -> None:
        with self.platform.client() as client:
            for n, job, again in self._next():
                body = {
                    "text": f"/{job} n={n}" if job in JOBS else f"/{job}",
                    "conversation": f"c{n % CONVERSATIONS}",
                    "event_id": f"fault-{n}",
                }
                ids = {self._post(client, "/v1/messages", body)["message_id"] for _ in range(1 + again)}
                if len(ids) > 1:
                    self.broken.append(f"event fault-{n} was given the message ids {ids}")
                if job == "await_go":
                    event = {"key": str(n), "body": {"n": n}, "event_id": f"fault-{n}"}
                    self._post(client, f"/v1/events/{EVENT}", event)
                self.sent.append(Sent(ids.pop(), f"{job} {n}" if job in JOBS else ""))

    def _post(self, client: httpx.Client, path: str, body: dict[str, object]) -> dict[str, str]:
        """Post until it is accepted, as every network that delivers does."""
        for attempt in range(GIVE_UP):
            with suppress(httpx.TransportError):
                response = client.post(path, json=body)
                if response.status_code == 202:
                    return response.json()
                if response.status_code < 500 and response.status_code != 429:
                    self.broken.append(f"{path} {body}: {response.status_code} {response.text}")
            self.refused += 1
            time.sleep(min(0.1 * 2**attempt, 1.0))
        self.broken.append(f"{path} {body} was not accepted {GIVE_UP} times")
        return {"message_id": ""}

    def _launch(self) -> None:
        """Launch runs as the launchpad does; an operator who gets an error sees it and no run is expected."""
        n = 1_000_000
        selector = {"repositoryLocationName": "core", "repositoryName": "__repository__", "jobName": "tally"}
        url = f"http://127.0.0.1:{self.platform.dagster}/graphql"
        while not self.stop.wait(LAUNCH_EVERY_S):
            n += 1
            run = {"selector": selector, "runConfigData": {"ops": {"number": {"config": {"n": n}}}}}
            with suppress(httpx.TransportError, ValueError, KeyError, TypeError):
                body = {"query": LAUNCH, "variables": {"run": run}}
                answer = httpx.post(url, json=body, timeout=20, trust_env=False).json()
                self.launched.append(answer["data"]["launchRun"]["run"]["runId"])
