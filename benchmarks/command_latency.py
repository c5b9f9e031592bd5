"""What typing a command adds to starting its run: the dispatcher's own time, from a claimed message to a claimed run.

    python benchmarks/command_latency.py [--json] [--messages 300]

Both ways put the same run into the queue from a message in the inbox, one at a time, on a real PostgreSQL with fsync:
`typed` parses `/greet Ada times=2`, resolves who says it, checks the right and the arguments; `bare` is the transaction
of the inbox alone, with everything known beforehand. They take turns, so that both see the same machine.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.place import postgres
from integrations.database import ClaimedMessage, Database, NewRun
from integrations.messages import Address, InboundMessage
from integrations.settings import Settings
from orchestration.commands.catalogue import compile_location
from orchestration.commands.dispatch import Dispatcher
from orchestration.commands.publishing import publish
from tests.workflows import defs

WARM_UP = 30
AIM_MS = 15.0
CONFIG: dict[str, object] = {"ops": {"greet_op": {"config": {"name": "Ada", "times": 2}}}}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--messages", type=int, default=300)
    asked = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="runbell-command-") as folder, postgres(Path(folder)) as url:
        database = Database(url, files=Path(folder) / "files")
        typed, bare = measure(database, Settings(home=Path(folder)), asked.messages)
        database.close()
    added = round(statistics.median(typed) - statistics.median(bare), 2)
    results = {
        "typed": figures(typed),
        "bare": figures(bare),
        "added_p50_ms": added,
        "aim_ms": AIM_MS,
        "messages": asked.messages,
        "machine": {"cores": os.cpu_count(), "load_before": round(load, 1)},
    }
    print(json.dumps(results) if asked.json else told(results))
    return 0


def measure(database: Database, settings: Settings, messages: int) -> tuple[list[float], list[float]]:
    """Start as many runs either way, in turns; returns milliseconds."""
    publish(database, "core", compile_location(defs.get_repository_def(), "core"))
    dispatch = Dispatcher(database, settings, worker="bench")
    ada = database.principals.resolve("default", "bench", "ada")

    def bare(claimed: ClaimedMessage) -> None:
        run = NewRun("core", "greet", CONFIG, {"runbell/message": claimed.message_id})
        database.inbox.start(claimed, run, principal_id=ada.id, worker="bench")

    typed_ms: list[float] = []
    bare_ms: list[float] = []
    for number in range(-WARM_UP, messages):
        for times, start in ((typed_ms, dispatch), (bare_ms, bare)):
            taken = _timed(database, start, f"{start is bare}-{number}")
            if number >= 0:
                times.append(taken)
    return typed_ms, bare_ms


def _timed(database: Database, start: Callable[[ClaimedMessage], object], name: str) -> float:
    address = Address(channel="bench", conversation=name)
    message = InboundMessage(address=address, event_id=name, account="ada", text="/greet Ada times=2")
    database.inbox.receive([message])
    (claimed,) = database.inbox.claim("bench", limit=1)
    began = time.perf_counter()
    start(claimed)
    return (time.perf_counter() - began) * 1000


def figures(taken: list[float]) -> dict[str, float]:
    ordered = sorted(taken)
    return {"p50_ms": round(statistics.median(ordered), 2), "p95_ms": round(ordered[int(len(ordered) * 0.95)], 2)}


def told(results: dict[str, object]) -> str:
    lines = [f"{name:5} {results[name]}" for name in ("typed", "bare")]
    return "\n".join([*lines, f"a typed command adds {results['added_p50_ms']} ms (aim: at most {AIM_MS:g})"])


if __name__ == "__main__":
    raise SystemExit(main())
