"""Models that change, die and multiply while requests go on: a real Ray Serve, an engine that costs nothing."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import psutil
import pytest
import yaml

from integrations.errors import RunbellError, Unavailable
from serving.client import ServeModels
from serving.schema import ChatMessage, ChatRequest
from tests.serving import RayHead, ServedModels, asking, running, wait_for

pytestmark = [
    pytest.mark.timeout(400),
    # Ray leaves sockets and subprocess handles of its own behind in this process.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
SLOTS = 64


def talking(**options: object) -> dict[str, object]:
    more = {key: options.pop(key) for key in ("replicas", "capabilities") if key in options}
    return {"engine": "tests.talking_engine", "slots": SLOTS, "options": options, **more}


def write(path: Path, *default: str, **models: dict[str, object]) -> None:
    everything = {**models, "numbers": {"engine": "tests.talking_engine", "capabilities": ["embed"]}}
    partial = path.with_suffix(".new")
    partial.write_text(yaml.safe_dump({"models": everything, "routes": {"default": list(default)}}))
    partial.replace(path)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedModels]:
    home = tmp_path_factory.mktemp("home")
    write(home / "models.yaml", "old", old=talking())
    with running(ServedModels(RayHead(), home, models_file=home / "models.yaml")) as served:
        yield served


@pytest.fixture(scope="module")
def models(served: ServedModels) -> Iterator[ServeModels]:
    with asking(served) as models:
        yield models


class Load:
    """Threads that ask without a pause, and remember how each request went."""

    def __init__(self, models: ServeModels, threads: int, model: str | None = None) -> None:
        self._models = models
        self._model = model
        self._stop = threading.Event()
        self.answers: Counter[str] = Counter()
        self.failed: list[Exception] = []
        self.slowest_s = 0.0
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._ask) for _ in range(threads)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(90)
        assert not any(thread.is_alive() for thread in self._threads), "a request hangs"

    def _ask(self) -> None:
        request = ChatRequest(messages=(ChatMessage(role="user", content="who?"),), model=self._model)
        while not self._stop.is_set():
            began, said = time.monotonic(), ""
            try:
                for chunk in self._models.stream(request, timeout_s=60):
                    said += chunk.text
            except RunbellError as error:
                with self._lock:
                    self.failed.append(error)
                continue
            with self._lock:
                self.slowest_s = max(self.slowest_s, time.monotonic() - began)
                self.answers[said.partition("-")[0]] += 1

    @property
    def count(self) -> int:
        return sum(self.answers.values()) + len(self.failed)


def test_a_model_is_switched_under_load_and_back_without_a_failed_request(served: ServedModels, models: ServeModels):
    path = served.home / "models.yaml"
    with Load(models, 8) as load:
        wait_for(lambda: load.answers["old"] > 200, 180, "some answers")
        write(path, "new", new=talking(words=4))
        wait_for(lambda: load.answers["new"] > 300, 150, "the new model to answer")
        wait_for(lambda: not pids(served, "old"), 180, "the old model to go")
        write(path, "old", old=talking())
        seen = load.answers["old"]
        wait_for(lambda: load.answers["old"] > seen + 300 and load.count > 1000, 150, "the old model to answer again")

    print(f"{load.count} requests, slowest {load.slowest_s:.2f} s")  # noqa: T201 - the figure, with -s
    assert load.failed == []
    assert load.slowest_s < 20


def test_a_model_that_does_not_load_changes_nothing_and_is_told(served: ServedModels, models: ServeModels):
    path = served.home / "models.yaml"
    with Load(models, 4) as load:
        write(path, "bad", bad=talking(broken=True))
        wait_for(lambda: "bad has no weights" in served.log(), 180, "the reason in the log")
        path.write_text("models: {")
        wait_for(lambda: "models.yaml, line 1" in served.log(), 30, "the line in the log")
        seen = load.count
        wait_for(lambda: load.count > seen + 50, 30, "answers afterwards")
        write(path, "old", old=talking())

    assert load.failed == []
    assert "bad" not in load.answers


def pids(served: ServedModels, model: str) -> list[int]:
    found: list[int] = []
    for process in served.ray.processes():
        with contextlib.suppress(psutil.Error):  # processes come and go
            if f"ServeReplica:model-{model}" in " ".join(process.cmdline()):
                found.append(process.pid)
    return found


def test_killed_replicas_lose_no_request_and_hang_none(served: ServedModels, models: ServeModels):
    write(served.home / "models.yaml", "pair", "old", old=talking(), pair=talking(replicas=2))
    with Load(models, 8, model="default") as load:
        wait_for(lambda: load.answers["pair"] > 100, 180, "two replicas")
        for _ in range(3):
            there = pids(served, "pair")
            seen = load.count
            os.kill(there[0], signal.SIGKILL)
            wait_for(lambda seen=seen: load.count > seen + 200, 180, "answers after a kill")
            wait_for(lambda: len(pids(served, "pair")) == 2, 180, "a replica in its place")

    assert all(isinstance(error, Unavailable) for error in load.failed)
    assert all("said" in str(error) or "reached" in str(error) for error in load.failed)
    # Only what had begun to speak could fail: the rest went elsewhere.
    assert len(load.failed) <= 3 * 8


def test_a_replica_that_ran_out_of_memory_is_replaced_while_the_other_answers(
    served: ServedModels, models: ServeModels
):
    write(served.home / "models.yaml", "old", old=talking(), roomy=talking(replicas=2))
    wait_for(lambda: len(pids(served, "roomy")) == 2 and _answers(models, "roomy"), 180, "two replicas")
    before = set(pids(served, "roomy"))
    hungry = ChatRequest(messages=(ChatMessage(role="user", content="exhaust"),), model="roomy")

    with Load(models, 4, model="roomy") as load:
        wait_for(lambda: load.answers["roomy"] > 20, 60, "some answers")
        with pytest.raises(Unavailable, match="roomy ran out of memory, and its process is being replaced"):
            list(models.stream(hungry, timeout_s=60))
        seen = load.answers["roomy"]
        wait_for(lambda: len(before & set(pids(served, "roomy"))) == 1, 90, "the replica to go")
        answered_meanwhile = load.answers["roomy"] - seen
        wait_for(lambda: len(pids(served, "roomy")) == 2 and _answers(models, "roomy"), 90, "one in its place")

    assert len(before & set(pids(served, "roomy"))) == 1
    assert answered_meanwhile > 0
    assert all("ran out of memory" in str(error) or "reached" in str(error) for error in load.failed)
    with Load(models, 4, model="roomy") as afterwards:
        wait_for(lambda: afterwards.count > 100, 60, "answers afterwards")
    assert afterwards.failed == []


def test_replicas_follow_the_load_from_one_to_three_and_back(served: ServedModels, models: ServeModels):
    scale = {"min": 1, "max": 3, "target_ongoing": 2, "up_after_s": 0.5, "down_after_s": 2}
    write(served.home / "models.yaml", "old", old=talking(), many=talking(replicas=scale, words=20))
    wait_for(lambda: len(pids(served, "many")) == 1, 180, "one replica")

    with Load(models, 1) as _:
        wait_for(lambda: _answers(models, "many"), 180, "the table with the model")
    with Load(models, 12, model="many") as load:
        wait_for(lambda: len(pids(served, "many")) == 3, 180, "three replicas")
    wait_for(lambda: len(pids(served, "many")) == 1, 180, "one replica again")

    assert load.failed == []


def test_the_command_line_switches_a_route_lists_who_is_busy_and_takes_back_what_does_not_load(served: ServedModels):
    path = served.home / "models.yaml"
    write(path, "old", old=talking(), young=talking(words=3))

    switched = runbell(served, "switch", "default", "young")
    listed = json.loads(runbell(served, "list", "--json").stdout)["served"]
    write(path, "young", old=talking(), young=talking(words=3), bad=talking(broken=True))
    before = path.read_text()
    refused = runbell(served, "switch", "default", "bad")

    assert "It is served." in switched.stdout, switched.stderr
    young = next(model for model in listed if model["name"] == "young")
    assert (young["state"], young["replicas"], young["load"]["slots"]) == ("RUNNING", 1, SLOTS)
    assert refused.returncode == 1
    assert "bad has no weights" in refused.stderr
    assert path.read_text() == before


def runbell(served: ServedModels, *words: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("runbell")), "models", *words]
    return subprocess.run(
        command, env=served.environment, cwd=served.home, capture_output=True, text=True, timeout=200, check=False
    )


def _answers(models: ServeModels, model: str) -> bool:
    request = ChatRequest(messages=(ChatMessage(role="user", content="who?"),), model=model)
    try:
        return bool(list(models.stream(request, timeout_s=20)))
    except RunbellError:
        return False
