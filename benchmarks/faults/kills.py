"""A seeded fuzz that kills parts of a platform for real, at random instants."""

import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import psutil

from benchmarks.faults.platform import Platform

Find = Callable[[Platform], list[psutil.Process]]


def _named(*marks: str) -> Find:
    def find(platform: Platform) -> list[psutil.Process]:
        found: list[psutil.Process] = []
        for process in platform.family():
            with suppress(psutil.Error):
                line = " ".join(process.cmdline())
                if any(mark in line for mark in marks):
                    found.append(process)
        return found

    return find


_workers = _named("ray::WarmActor", "orchestration.warm.worker")
_database = _named("bin/postgres -D")
_gateway = _named("integrations.gateway")
KINDS: dict[str, Find] = {
    "worker": _workers,
    "workers": _workers,
    "hang": _workers,
    "database": _database,
    "gateway": _gateway,
    "pool": _named("orchestration.warm.pool"),
    "raylet": _named("raylet/raylet"),
    "ray": _named("gcs_server", "serving.head"),
    "daemon": _named("dagster._daemon"),
    "webserver": _named("dagster_webserver"),
}
SMALL = ("worker", "workers", "hang", "database", "gateway")
ONE = {"worker", "hang"}


@dataclass
class Kills:
    """Kills so often a minute; all kinds come in turn, in random order, but for those that are down anyway."""

    platform: Platform
    random: random.Random
    per_minute: float
    done: Counter[str] = field(default_factory=Counter[str])
    log: list[str] = field(default_factory=list[str])

    def during(self, seconds: float) -> None:
        """Block for so long, killing; ends with nobody left suspended."""
        began = time.monotonic()
        kinds = SMALL if self.platform.small else tuple(KINDS)
        deck: list[str] = []
        pause = 60 / self.per_minute
        hung: list[threading.Timer] = []
        at = pause * self.random.uniform(0.2, 1.0)
        while at < seconds:
            time.sleep(max(began + at - time.monotonic(), 0.0))
            for kind in (*reversed(deck), *self.random.sample(kinds, len(kinds))):
                deck = [left for left in deck if left != kind] or self.random.sample(kinds, len(kinds))
                if found := KINDS[kind](self.platform):
                    hung += self._strike(kind, found, at)
                    break
            at += pause * self.random.uniform(0.5, 1.5)
        time.sleep(max(began + seconds - time.monotonic(), 0.0))
        for timer in hung:
            timer.join()

    def _strike(self, kind: str, found: list[psutil.Process], at: float) -> list[threading.Timer]:
        if kind in ONE:
            found = [self.random.choice(found)]
        self.log.append(f"{at:.1f} s: {kind} {[process.pid for process in found]}")
        self.done[kind] += 1
        if kind != "hang":
            _signal(found, signal.SIGKILL)
            return []
        _signal(found, signal.SIGSTOP)
        # Until another worker has the runs: then two hold them.
        timer = threading.Timer(self.platform.lease_s + 5, _signal, [found, signal.SIGCONT])
        timer.start()
        return [timer]


def _signal(processes: Sequence[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with suppress(psutil.Error):
            process.send_signal(number)
