"""What stands between an op and its engine: tokens per second and time to first token, beside the engine alone.

    python benchmarks/serving_overhead.py [--json] [--concurrent 16] [--tokens 48] [--rounds 5] [--singles 24]

The starter model with as many slots as requests, twice: in this process, and behind router, handle and replica of a
Ray Serve of its own, asked from as many threads, as ops ask in a warm worker. (What a run takes is run_latency.py's.)
Both are loaded all the time, and asked in turns while the other one is idle: the same prompts one way and the other,
each once per engine, so that no cache of prefixes helps; who is first changes with every turn. A round of each that is
not counted goes before. One request at a time tells the time to the first token, all at once the throughput. Reported:
medians of both, and the median over the turns of what one takes more than the other.
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import asking
from benchmarks.serve_place import served
from serving.schema import ChatChunk, ChatRequest

MODEL = "smollm2-135m"
WAYS = ("alone", "through")
SINGLE_TOKENS = 8
Ask = Callable[[list[ChatRequest]], dict[str, float]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--concurrent", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--singles", type=int, default=24, help="requests one at a time, each way")
    asked = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="runbell-serving-") as folder:
        home = Path(folder)
        _starters(home)
        with _through(home, asked.concurrent) as through, _alone(home, asked.concurrent) as alone:
            ways = dict(zip(WAYS, (alone, through), strict=True))
            together = _in_turns(ways, asked.rounds, count=asked.concurrent, tokens=asked.tokens)
            single = _in_turns(ways, asked.singles, count=1, tokens=SINGLE_TOKENS)
    results = _results(together, single) | {
        "concurrent": asked.concurrent,
        "aim": {"fewer_tokens_percent": 5, "more_ms_to_first_token": 10},
        "machine": {"cores": os.cpu_count(), "load_before": round(load, 1)},
    }
    print(json.dumps(results) if asked.json else _told(results))
    return 0


def _in_turns(ways: dict[str, Ask], rounds: int, *, count: int, tokens: int) -> dict[str, list[dict[str, float]]]:
    """Ask both ways the same, in turns; the first round warms up."""
    found: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
    for number in range(rounds + 1):
        wanted = asking.requests(count, words=20, tokens=tokens, seed=number * 1000 + count)
        for way in WAYS if number % 2 else reversed(WAYS):
            figures = ways[way](wanted)
            if number:
                found[way].append(figures)
    return found


def _results(together: dict[str, list[dict[str, float]]], single: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    def line(way: str) -> dict[str, float]:
        return {
            "tokens_per_s": round(statistics.median(one["tokens_per_s"] for one in together[way]), 1),
            "tokens": sum(one["tokens"] for one in together[way]),
            "first_ms_together": round(statistics.median(one["first_ms_p50"] for one in together[way]), 1),
            "first_ms": round(statistics.median(one["first_ms_p50"] for one in single[way]), 1),
        }

    alone, through = WAYS
    fewer = [
        100 * (1 - theirs["tokens_per_s"] / ours["tokens_per_s"])
        for ours, theirs in zip(together[alone], together[through], strict=True)
    ]
    more = [
        theirs["first_ms_p50"] - ours["first_ms_p50"]
        for ours, theirs in zip(single[alone], single[through], strict=True)
    ]
    return {
        "engine_alone": line(alone),
        "router_handle_replica_engine": line(through),
        "fewer_tokens_percent": round(statistics.median(fewer), 1),
        "fewer_tokens_percent_of_rounds": [round(one, 1) for one in fewer],
        "more_ms_to_first_token": round(statistics.median(more), 1),
    }


def _starters(home: Path) -> None:
    from serving import catalogue

    for starter in catalogue.starter():
        catalogue.pull(home, starter.name)


def _spec(concurrent: int) -> dict[str, Any]:
    return {"engine": "llama_cpp", "slots": concurrent, "context_tokens": 512, "request_timeout_s": 600}


@contextmanager
def _alone(home: Path, concurrent: int) -> Generator[Ask]:
    """Load the engine into this process; its event loop runs while it is asked, as a replica's does."""
    from serving.engines import load_engine
    from serving.fleet import ModelSpec

    spec = ModelSpec.model_validate(_spec(concurrent) | {"model": MODEL}).model_copy(update={"name": MODEL})
    with asyncio.Runner() as runner:

        async def load() -> Any:  # noqa: ANN401 - an engine
            return load_engine(spec, home)

        engine = runner.run(load())
        try:
            yield lambda wanted: runner.run(asking.alone(engine.stream, wanted))
        finally:
            runner.run(engine.close())


@contextmanager
def _through(home: Path, concurrent: int) -> Generator[Ask]:
    from serving.client import ServeModels

    models = {MODEL: _spec(concurrent), "minilm-l6-v2": {"engine": "minilm", "capabilities": ["embed"]}}
    with served(home, {"models": models}):
        handles = ServeModels()

        def stream(request: ChatRequest) -> Iterator[ChatChunk]:
            return handles.stream(request, timeout_s=600)

        try:
            yield lambda wanted: asking.through(stream, wanted)
        finally:
            handles.close()


def _told(results: dict[str, Any]) -> str:
    def line(name: str, found: dict[str, float]) -> str:
        return (
            f"{name:<16}{found['tokens_per_s']:6.1f} tokens/s at {results['concurrent']} ({found['tokens']} tokens),"
            f" first token {found['first_ms']:.1f} ms alone, {found['first_ms_together']:.1f} ms together"
        )

    return (
        f"{line('engine alone', results['engine_alone'])}\n"
        f"{line('through handle', results['router_handle_replica_engine'])}\n"
        f"{results['fewer_tokens_percent']} % fewer tokens (rounds: {results['fewer_tokens_percent_of_rounds']}),"
        f" {results['more_ms_to_first_token']} ms more to the first token ({results['machine']})"
    )


if __name__ == "__main__":
    sys.exit(main())
