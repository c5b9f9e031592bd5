"""From a posted message to its answer, without the model's own time, beside the same job through stock Dagster.

    python benchmarks/message_latency.py [--json] [--messages 200] [--stock 5]

The model is scripted and answers at once; everything else is real: REST gateway, inbox in PostgreSQL with fsync on,
warm worker, Dagster run with all its events, Chroma, outbox. One message at a time, each in a conversation of its
own; timed by the client that waits for the answer (`Prefer: wait`).

The same job with the same ops then runs as stock Dagster runs it: launched through the GraphQL of
dagster-webserver without the queue (which adds up to 5 s), default run launcher (a process per run), in-process
executor, dagster-postgres storage on the same server. That is timed from the launch to the stored answer,
without any gateway, and is slow: few repetitions.
"""

import argparse
import itertools
import json
import os
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.load import free_port
from benchmarks.place import Place, answers, graphql, launch, postgres, stock_webserver, wait_for

if TYPE_CHECKING:
    from integrations.database import Database

QUESTION = "What is the capital of France?"
WARM_UP = 10
FAILURES = """query ($run: ID!) { runOrError(runId: $run) { ... on Run { status eventConnection { events {
  __typename ... on MessageEvent { message } ... on ExecutionStepFailureEvent { error { message } }
  ... on RunFailureEvent { error { message } } } } } } }"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--messages", type=int, default=200)
    parser.add_argument("--stock", type=int, default=5)
    asked = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="runbell-latency-") as folder, postgres(Path(folder)) as url:
        place = Place(Path(folder), url)
        with place.processes() as start:
            chroma = str(Path(sys.executable).with_name("chroma"))
            start("chroma", chroma, "run", "--path", f"{folder}/chroma", "--port", str(place.chroma))
            wait_for(lambda: answers(f"http://127.0.0.1:{place.chroma}/api/v2/heartbeat"), "chroma", place.folder)
            runbell = measure_runbell(place, asked.messages)
            stock = measure_stock(place, asked.stock)
    results: dict[str, Any] = {
        "runbell": runbell,
        "stock_dagster": stock,
        "times_faster_p50": round(stock["p50_ms"] / runbell["p50_ms"], 1),
        "aim": {"p50_ms": 150},
        "machine": {"cores": os.cpu_count(), "load_before": round(load, 1)},
    }
    print(json.dumps(results) if asked.json else told(results))
    return 0


def measure_runbell(place: Place, messages: int) -> dict[str, Any]:
    """Post messages one after the other, each waiting for its answer."""
    from integrations.database import Database
    from integrations.security.tokens import create_token, read_token

    create_token(place.home)
    place.configure_dagster()
    port = free_port()
    headers = {"authorization": f"Bearer {read_token(place.home)}", "prefer": "wait=30"}
    with (
        place.processes() as start,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=60, trust_env=False) as client,
    ):
        start("gateway", sys.executable, "-m", "integrations.gateway", RUNBELL_GATEWAY__PORT=str(port))
        start("worker", sys.executable, "-m", "benchmarks.scripted_location")
        database = Database(place.url, files=place.home / "files")
        wait_for(lambda: bool(database.workers.live()), "worker", place.folder)
        wait_for(lambda: answers(f"http://127.0.0.1:{port}/healthz"), "gateway", place.folder)
        for number in range(WARM_UP):
            _ask(client, f"warm-{number}")
        walls, ids = zip(*(_ask(client, f"c{number}") for number in range(messages)), strict=True)
        told_stages = stages(database, ids)
        database.close()
    return {**figures(walls), "messages": messages, "stages_p50_ms": told_stages}


def measure_stock(place: Place, repetitions: int) -> dict[str, Any]:
    """Launch the same job for stored messages, as Dagster does it out of the box."""
    from integrations.database import Database

    with stock_webserver(place, "benchmarks.scripted_location") as port:
        database = Database(place.url, files=place.home / "files")
        walls = [_through_stock(database, port, number) for number in range(repetitions + 1)]
        database.close()
    figured = figures(walls[1:])
    return {**figured, "repetitions": repetitions, "launcher": "DefaultRunLauncher", "executor": "in_process"}


def figures(walls: Sequence[float]) -> dict[str, float]:
    """Return percentiles, in milliseconds."""
    ordered = sorted(wall * 1000 for wall in walls)

    def percentile(share: float) -> float:
        return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))], 1)

    return {"p50_ms": percentile(0.5), "p95_ms": percentile(0.95), "p99_ms": percentile(0.99), "max_ms": percentile(1)}


def stages(database: "Database", ids: Sequence[str]) -> dict[str, float]:
    """Return where the time goes: medians between the stamps of the receipts."""
    names = ("accepted_at", "claimed_at", "started_at", "first_token_at", "replied_at")
    receipts = [database.inbox.get(message_id).receipt for message_id in ids]
    return {
        f"{before[:-3]} to {after[:-3]}": round(
            statistics.median(
                (getattr(receipt, after) - getattr(receipt, before)).total_seconds() * 1000 for receipt in receipts
            ),
            1,
        )
        for before, after in itertools.pairwise(names)
    }


def told(results: Mapping[str, Any]) -> str:
    """Return the figures for people."""
    runbell, stock = results["runbell"], results["stock_dagster"]
    lines = [
        f"Message to answer without the model's own time ({results['machine']})",
        f"runbell        p50 {runbell['p50_ms']:8.1f}  p95 {runbell['p95_ms']:8.1f}  p99 {runbell['p99_ms']:8.1f} ms"
        f"  over {runbell['messages']} messages (aim: p50 under {results['aim']['p50_ms']} ms)",
        f"stock Dagster  p50 {stock['p50_ms']:8.1f}  max {stock['max_ms']:8.1f} ms"
        f"  over {stock['repetitions']} launches (run process per run, in-process executor)",
        f"Runbell is {results['times_faster_p50']} times as fast.",
        *(f"  {stage}: {ms} ms" for stage, ms in runbell["stages_p50_ms"].items()),
    ]
    return "\n".join(lines)


def _ask(client: httpx.Client, conversation: str) -> tuple[float, str]:
    began = time.monotonic()
    response = client.post("/v1/messages", json={"text": QUESTION, "conversation": conversation})
    wall = time.monotonic() - began
    answer = response.json()
    if response.status_code != 200 or "Paris" not in answer["replies"][0]["text"]:
        raise SystemExit(f"no answer: {response.status_code} {response.text}")
    return wall, str(answer["message_id"])


def _through_stock(database: "Database", port: int, number: int) -> float:
    """Store a message as a worker would have it, launch its run, and time until the answer is stored."""
    from integrations.database import NewRun
    from integrations.messages import Address, InboundMessage, MessageStatus

    address = Address(channel="bench", conversation=f"stock-{number}")
    message = InboundMessage(address=address, event_id=secrets.token_hex(8), account="bench", text=QUESTION)
    database.inbox.receive([message])
    (claimed,) = database.inbox.claim("bench")
    principal = database.principals.resolve("default", "bench", "bench")
    database.inbox.start(claimed, NewRun("core", "assistant", {}, {}), principal_id=principal.id, worker="bench")
    message_id = str(claimed.message_id)
    began = time.monotonic()
    run_id = launch(
        port, "benchmarks.scripted_location", "assistant", {"ops": {"receive": {"config": {"message_id": message_id}}}}
    )
    until = began + 120
    while database.inbox.get(message_id).status is not MessageStatus.ANSWERED:
        if time.monotonic() > until:
            raise SystemExit(f"stock Dagster did not answer: {graphql(port, FAILURES, run=run_id)}")
        time.sleep(0.01)
    return time.monotonic() - began


if __name__ == "__main__":
    sys.exit(main())
