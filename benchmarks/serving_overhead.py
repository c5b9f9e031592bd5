"""What stands between an op and its engine: tokens per second and time to first token, beside the engine alone.

    python benchmarks/serving_overhead.py [--json] [--concurrent 16] [--tokens 48] [--rounds 3]

The starter model with as many slots as requests: first in this process, then behind router, handle and replica of a Ray
Serve of its own, asked from as many threads, as ops ask in a warm worker. (What a run takes is run_latency.py's.) The
same prompts both times, one way after the other, since both would not fit on the cores at once. One request at a time
tells the time to the first token, all at once the throughput; medians over the rounds.
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import asking
from benchmarks.serve_place import served
from serving.schema import ChatChunk, ChatRequest

MODEL = "smollm2-135m"
SINGLE = 8


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--concurrent", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="runbell-serving-") as folder:
        home = Path(folder)
        _starters(home)
        ours = asyncio.run(_alone(home, asked.concurrent, asked.tokens, asked.rounds))
        theirs = _through(home, asked.concurrent, asked.tokens, asked.rounds)
    results = {
        "engine_alone": ours,
        "router_handle_replica_engine": theirs,
        "fewer_tokens_percent": round(100 * (1 - theirs["tokens_per_s"] / ours["tokens_per_s"]), 1),
        "more_ms_to_first_token": round(theirs["first_ms"] - ours["first_ms"], 1),
        "load_before": load,
    }
    print(json.dumps(results) if asked.json else _told(results, asked.concurrent))
    return 0


def _starters(home: Path) -> None:
    from serving import catalogue

    for starter in catalogue.starter():
        catalogue.pull(home, starter.name)


def _spec(concurrent: int) -> dict[str, Any]:
    return {"engine": "llama_cpp", "slots": concurrent, "context_tokens": 512, "request_timeout_s": 600}


async def _alone(home: Path, concurrent: int, tokens: int, rounds: int) -> dict[str, float]:
    from serving.engines import load_engine
    from serving.fleet import ModelSpec

    spec = ModelSpec.model_validate(_spec(concurrent) | {"model": MODEL}).model_copy(update={"name": MODEL})
    engine = load_engine(spec, home)
    try:
        single, many = asking.requests(SINGLE, words=20, tokens=8), []
        first = [(await asking.alone(engine.stream, [request]))["first_ms_p50"] for request in single]
        for _ in range(rounds):
            wanted = asking.requests(concurrent, words=20, tokens=tokens)
            many.append((await asking.alone(engine.stream, wanted))["tokens_per_s"])
    finally:
        await engine.close()
    return {"tokens_per_s": statistics.median(many), "first_ms": statistics.median(first)}


def _through(home: Path, concurrent: int, tokens: int, rounds: int) -> dict[str, float]:
    from serving.client import ServeModels

    models = {MODEL: _spec(concurrent), "minilm-l6-v2": {"engine": "minilm", "capabilities": ["embed"]}}
    with served(home, {"models": models}):
        handles = ServeModels()

        def stream(request: ChatRequest) -> Iterator[ChatChunk]:
            return handles.stream(request, timeout_s=600)

        single, many = asking.requests(SINGLE, words=20, tokens=8), []
        list(handles.stream(single[0]))
        first = [asking.through(stream, [request])["first_ms_p50"] for request in single]
        for _ in range(rounds):
            wanted = asking.requests(concurrent, words=20, tokens=tokens)
            many.append(asking.through(stream, wanted)["tokens_per_s"])
        handles.close()
    return {"tokens_per_s": statistics.median(many), "first_ms": statistics.median(first)}


def _told(results: dict[str, Any], concurrent: int) -> str:
    def line(name: str, found: dict[str, float]) -> str:
        return (
            f"{name:<20}{found['tokens_per_s']:6.1f} tokens/s at {concurrent}, first token {found['first_ms']:.1f} ms"
        )

    return (
        f"{line('engine alone', results['engine_alone'])}\n"
        f"{line('through handle', results['op_handle_replica_engine'])}\n"
        f"{results['fewer_tokens_percent']} % fewer tokens, {results['more_ms_to_first_token']} ms more to the first"
        f" token (load before: {results['load_before']:.1f})"
    )


if __name__ == "__main__":
    sys.exit(main())
