"""Everything is killed for real while messages come in; afterwards nothing may be lost, doubled or stuck.

    python benchmarks/chaos.py [--minutes 5] [--kills-per-minute 5] [--messages 1000] [--seed N] [--small] [--json]

The installation is the one of `runbell up`: its supervisor, embedded PostgreSQL with fsync on, gateway, Ray with two
warm workers, Dagster's code server, daemon and webserver; without models and memory, which typed commands never need.
`--small` leaves Ray and Dagster's processes out. A seeded fuzz takes in turn, at random instants: `kill -9` of one
worker, of all workers, of their pool, of the raylet, of Ray's head, of PostgreSQL, of the gateway, of daemon and
webserver, and SIGSTOP of a worker for longer than its lease, so that two workers hold the same runs when it wakes.

Messages are typed commands with several ops, with an effect on the outside, a fan-out, waits for a time and for an
event, retries, an asset and a large output; every tenth is delivered twice. A sensor and the launchpad's GraphQL start
more runs. Exit status 1 where anything is lost, doubled, stuck, or where Dagster, the run queue and the inbox differ.
"""

import argparse
import json
import os
import random
import secrets
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.faults.kills import Kills
from benchmarks.faults.platform import running
from benchmarks.faults.traffic import Traffic
from benchmarks.faults.verdict import judge

LEASE_S, SMALL_LEASE_S = 15.0, 3.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--kills-per-minute", type=float, default=5.0)
    parser.add_argument("--messages", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    seed = asked.seed if asked.seed is not None else secrets.randbelow(1_000_000)
    results = storm(
        seed,
        seconds=asked.minutes * 60,
        kills_per_minute=asked.kills_per_minute,
        messages=asked.messages,
        small=asked.small,
    )
    print(json.dumps(results) if asked.json else told(results))
    return 1 if results["faults"] else 0


def storm(
    seed: int, *, seconds: float, kills_per_minute: float, messages: int, small: bool, patience_s: float = 180.0
) -> dict[str, Any]:
    """Send, kill, wait, judge; return the counts and the faults."""
    began = time.monotonic()
    with running(small=small, lease_s=SMALL_LEASE_S if small else LEASE_S) as platform:
        started_s = time.monotonic() - began
        traffic = Traffic(platform, messages, seconds, random.Random(seed)).start()
        kills = Kills(platform, random.Random(seed + 1), kills_per_minute)
        kills.during(seconds)
        traffic.join()
        verdict = judge(platform, traffic.sent, patience_s)
        logs = platform.logs() if verdict.faults else ""
    return {
        "seed": seed,
        "kills": dict(kills.done),
        **verdict.counts,
        "launched_in_the_ui": len(traffic.launched),
        "posts_refused_and_repeated": traffic.refused,
        "seconds": {"start": round(started_s, 1), "storm": seconds, "settled_after": verdict.settled_s},
        "machine": {"cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1)},
        "faults": [*traffic.broken, *verdict.faults],
        "struck": kills.log,
        "logs": logs,
    }


def told(results: dict[str, Any]) -> str:
    lines = [f"Chaos, seed {results['seed']}: {sum(results['kills'].values())} kills {results['kills']}"]
    shown = {name: value for name, value in results.items() if isinstance(value, int) and name != "seed"}
    lines += [f"  {name.replace('_', ' '):34} {value:6}" for name, value in shown.items()]
    lines.append(f"  seconds {results['seconds']}, machine {results['machine']}")
    if results["faults"]:
        lines += ["BROKEN:", *(f"- {fault}" for fault in results["faults"]), *results["struck"], results["logs"]]
    else:
        lines.append("Nothing was lost, doubled or stuck.")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
