"""Models that are switched, replaced, killed and multiplied while requests go on, on a Ray Serve of its own.

    python benchmarks/hot_switch.py [--json] [--threads 8] [--still 15] [--rounds 2]

The engine speaks at a set pace, 0.2 s an answer, and costs nothing; callers ask without a pause, as ops ask. First for
some seconds without a change: that is the baseline. Then, in the same run:
 route: `runbell models switch default NAME` between two loaded models, and back;
 replace: models.yaml says other options for the model that answers: the new one loads beside it, the old one drains;
 kill: one of two replicas is killed with SIGKILL, thrice; another model stands behind;
 scale: twelve callers make one replica three, and their end makes it one again.
Reported: failed requests, and how much longer the worst request of each took than the median without a change. Exit
status 1 where a switch failed a request, or a kill hung one or failed it without a clear reason.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import yaml

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.calling import Callers
from benchmarks.place import ROOT, wait_for
from benchmarks.serve_place import served
from integrations.errors import NotFound
from serving.schema import ChatMessage, ChatRequest

if TYPE_CHECKING:
    from serving.client import ServeModels

ENGINE = "benchmarks.paced_engine"
WORDS, PER_S = 20, 100
KILLS = 3
AIM_MS = 200


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--still", type=float, default=15, help="seconds without a change")
    parser.add_argument("--rounds", type=int, default=2, help="switches there and back, and replacements")
    asked = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="runbell-switch-") as folder:
        results = measure(Path(folder), asked)
    results |= {"aim": {"longer_ms": AIM_MS}, "machine": {"cores": os.cpu_count(), "load_before": round(load, 1)}}
    print(json.dumps(results) if asked.json else told(results))
    changes = (results["route"], results["replace"])
    return 1 if any(change["failed"] for change in changes) or results["kill"]["unclear"] else 0


def measure(home: Path, asked: argparse.Namespace) -> dict[str, Any]:
    """Start Serve, and change what it serves."""
    from serving.client import ServeModels

    first = _file({"default": ["one", "two"]}, one=_model("one"), two=_model("two"))
    with served(home, first), closing(ServeModels()) as models:
        changing = _Changing(home, models, asked.threads)
        with Callers(models, asked.threads) as callers:
            time.sleep(2)
            callers.forget()
            time.sleep(asked.still)
            still = callers.shown()
        median = still["p50_ms"]
        return {
            "still": still,
            "route": changing.compared(median, lambda callers: changing.route(callers, asked.rounds)),
            "replace": changing.compared(median, lambda callers: changing.replace(callers, asked.rounds)),
            "kill": changing.compared(median, changing.kill),
            "scale": changing.scale(),
        }


class _Changing:
    """What is done to the models."""

    def __init__(self, home: Path, models: "ServeModels", threads: int) -> None:
        self._home = home
        self._models = models
        self._threads = threads

    def compared(self, median_ms: float, change: Callable[[Callers], dict[str, Any]]) -> dict[str, Any]:
        """Do it under load; tell what became of the requests."""
        with Callers(self._models, self._threads) as callers:
            began = time.monotonic()
            more = change(callers)
            took = time.monotonic() - began
        shown = callers.shown()
        return {**shown, "longer_ms": round(shown["max_ms"] - median_ms, 1), "seconds": round(took, 1), **more}

    def route(self, callers: Callers, rounds: int) -> dict[str, Any]:
        """Switch by the command line, there and back."""
        for _ in range(rounds):
            for words, name in ((("default", "two"), "two"), (("--back",), "one")):
                self._command("switch", *words)
                self._until(callers, name)
        return {"switches": 2 * rounds}

    def replace(self, callers: Callers, rounds: int) -> dict[str, Any]:
        """Change the model that answers; wait until the new one answers and the old one is gone."""
        for number in range(rounds):
            name = f"one{number}"
            before = self._pids("one")
            self._write({"default": ["one", "two"]}, one=_model(name), two=_model("two"))
            self._until(callers, name)
            wait_for(lambda before=before: not before & self._pids("one"), "the old replica's end")
        return {"replacements": rounds}

    def kill(self, callers: Callers) -> dict[str, Any]:
        """Kill a replica; wait until another one is in its place."""
        pair = _model("pair", replicas=2)
        self._write({"default": ["pair", "two"]}, pair=pair, two=_model("two"))
        self._until(callers, "pair")
        back_s = list[float]()
        for _ in range(KILLS):
            wait_for(lambda: len(self._pids("pair")) == 2, "two replicas")
            os.kill(min(self._pids("pair")), signal.SIGKILL)
            killed, seen = time.monotonic(), callers.answered
            wait_for(lambda: len(self._pids("pair")) < 2, "the end of the replica")
            wait_for(lambda: len(self._pids("pair")) == 2, "a replica in its place")
            wait_for(lambda seen=seen: callers.answered > seen + 5 * self._threads, "answers after a kill")
            back_s.append(round(time.monotonic() - killed, 1))
        return {"kills": KILLS, "replica_back_after_s": back_s}

    def scale(self) -> dict[str, Any]:
        """Let twelve callers come and go."""
        bounds = {"min": 1, "max": 3, "target_ongoing": 2, "up_after_s": 0.5, "down_after_s": 2}
        self._write({"default": ["two"]}, two=_model("two"), many=_model("many", replicas=bounds))
        wait_for(lambda: len(self._pids("many")) == 1, "one replica")
        wait_for(lambda: self._knows("many"), "the table of models")
        with Callers(self._models, 12, model="many") as callers:
            began = time.monotonic()
            wait_for(lambda: len(self._pids("many")) == 3, "three replicas")
            up_s = time.monotonic() - began
            self._until(callers, "many")
        began = time.monotonic()
        wait_for(lambda: len(self._pids("many")) == 1, "one replica again")
        down_s = time.monotonic() - began
        return {**callers.shown(), "to_three_s": round(up_s, 1), "to_one_s": round(down_s, 1)}

    def _until(self, callers: Callers, name: str) -> None:
        """Wait until that model has answered everybody a few times."""
        seen = callers.by_name[name]
        wait_for(lambda: callers.by_name[name] > seen + 5 * self._threads, f"answers of {name}", within_s=150)

    def _knows(self, name: str) -> bool:
        """Tell whether this process goes by a table that has the model."""
        request = ChatRequest(messages=(ChatMessage(role="user", content="who?"),), model=name)
        try:
            return bool(list(self._models.stream(request)))
        except NotFound:
            return False

    def _write(self, routes: Mapping[str, object], **models: dict[str, Any]) -> None:
        path = self._home / "models.yaml"
        path.with_suffix(".new").write_text(yaml.safe_dump(_file(routes, **models)), encoding="utf-8")
        path.with_suffix(".new").replace(path)

    def _command(self, *words: str) -> None:
        program = str(Path(sys.executable).with_name("runbell"))
        done = subprocess.run([program, "models", *words], cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"runbell models {' '.join(words)}: {done.stdout}{done.stderr}")

    def _pids(self, model: str) -> set[int]:
        """Return the replicas of a model in this installation."""
        found = set[int]()
        for process in psutil.process_iter():
            with suppress(psutil.Error):  # processes come and go
                if f"ServeReplica:model-{model}-" in " ".join(process.cmdline()) and (
                    process.environ().get("RUNBELL_HOME") == str(self._home)
                ):
                    found.add(process.pid)
        return found


def _model(name: str, **more: object) -> dict[str, Any]:
    return {"engine": ENGINE, "slots": 64, "options": {"name": name, "words": WORDS, "per_s": PER_S}, **more}


def _file(routes: Mapping[str, object], **models: dict[str, Any]) -> dict[str, Any]:
    return {"models": {**models, "unlike": {"engine": ENGINE, "capabilities": ["embed"]}}, "routes": dict(routes)}


def told(results: Mapping[str, Any]) -> str:
    """Return the figures for people."""
    still = results["still"]
    lines = [
        f"without a change: median {still['p50_ms']} ms, worst {still['max_ms']} ms of {still['accepted']}"
        f" ({results['machine']})"
    ]
    for name in ("route", "replace", "kill"):
        found = results[name]
        lines.append(
            f"{name:<8} {found['failed']} failed of {found['requests']}, worst {found['max_ms']} ms,"
            f" {found['longer_ms']} ms longer than the median; {found['seconds']} s"
        )
    lines.append(f"aim for switches: nothing failed, less than {results['aim']['longer_ms']} ms longer")
    kill, scale = results["kill"], results["scale"]
    lines.append(f"kills: replica back after {kill['replica_back_after_s']} s; reasons: {kill['reasons']}")
    lines.append(
        f"scale    1 → 3 in {scale['to_three_s']} s, 3 → 1 in {scale['to_one_s']} s, {scale['failed']} failed of"
        f" {scale['requests']}"
    )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
