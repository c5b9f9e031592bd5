"""Durable acceptance of signed webhook messages, beside a bare FastAPI that inserts one row per request.

    python benchmarks/ingest.py [--json] [--seconds 6] [--rate 1000] [--connections 64]

Then every network that calls us, and every one that we hold a connection to, beside the signed webhook: see
`ingest_networks.py`.

Both are served by one uvicorn process with the same settings, over the same embedded PostgreSQL with fsync on. The
bare one checks no signature, no limits and no duplicates in flight: it parses, inserts, commits, acknowledges.
Each is measured twice: as fast as it goes over so many connections, and at a fixed rate, where latency counts from
the instant at which a request was due. Requests are signed beforehand. The load generator runs on the same cores;
its share of CPU is reported. Acknowledged messages are counted in the database afterwards.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.ingest_networks import compare, told_networks  # noqa: E402
from benchmarks.load import Figures, flood, free_port, pace  # noqa: E402
from benchmarks.place import postgres  # noqa: E402

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
CONVERSATIONS = 500


@dataclass(frozen=True)
class Options:
    seconds: float
    rate: int
    connections: int


@dataclass(frozen=True)
class Contender:
    """A server to measure: its process, port, and how a request to it looks."""

    name: str
    process: subprocess.Popen[bytes]
    port: int
    path: str
    signed: bool
    count: str


def requests(contender: Contender, prefix: str, amount: int) -> list[bytes]:
    """Build whole HTTP requests, each with its own id, conversation and signature."""
    from standardwebhooks.webhooks import Webhook

    webhook, now = Webhook(SECRET), datetime.now(UTC)
    built: list[bytes] = []
    for number in range(amount):
        event_id = f"{prefix}-{number}"
        body = json.dumps(
            {"text": f"磁盘 90% on host {number}", "conversation": f"c{number % CONVERSATIONS}", "event_id": event_id}
        )
        lines = [
            f"POST {contender.path} HTTP/1.1",
            "Host: 127.0.0.1",
            "Content-Type: application/json",
            f"Content-Length: {len(body.encode())}",
            f"webhook-id: {event_id}",
            f"webhook-timestamp: {int(now.timestamp())}",
            f"webhook-signature: {webhook.sign(event_id, now, body) if contender.signed else ''}",
        ]
        built.append(("\r\n".join(lines) + "\r\n\r\n" + body).encode())
    return built


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--rate", type=int, default=1000)
    parser.add_argument("--connections", type=int, default=64)
    asked = parser.parse_args()
    options = Options(asked.seconds, asked.rate, asked.connections)
    with tempfile.TemporaryDirectory(prefix="runbell-ingest-") as folder, postgres(Path(folder)) as url:
        results: dict[str, Any] = {}
        for serve in (serve_bare, serve_gateway):
            with serve(url, Path(folder)) as contender:
                results[contender.name] = measure(contender, url, options)
        results["networks"] = compare(url, Path(folder), options.seconds / 3, options.connections)
    gateway, bare = results["gateway"], results["bare"]
    results["aim"] = {"messages_per_s": 1000, "ack_p99_ms": 300}
    results["times_bare"] = round(gateway["flood"]["per_s"] / max(bare["flood"]["per_s"], 1), 2)
    results["machine"] = {"cores": os.cpu_count(), "load_before": round(os.getloadavg()[0], 1)}
    print(json.dumps(results) if asked.json else told(results, options))
    return 0


def measure(contender: Contender, url: str, options: Options) -> dict[str, Any]:
    """Flood, then pace; compare what was acknowledged with what is stored."""
    asyncio.run(flood(contender.port, requests(contender, "warm", 500), options.connections, 5))
    before = stored(url, contender.count)
    flooding = requests(contender, "flood", int(options.seconds * 4000))
    fast, fast_cpu = watched(contender, lambda: asyncio.run(
        flood(contender.port, flooding, options.connections, options.seconds)
    ))  # fmt: skip
    paced = requests(contender, "pace", int(options.seconds * options.rate))
    even, even_cpu = watched(contender, lambda: asyncio.run(
        pace(contender.port, paced, options.connections, options.rate)
    ))  # fmt: skip
    return {
        "flood": {**fast.shown(), **fast_cpu},
        "pace": {**even.shown(), **even_cpu},
        "acknowledged": fast.accepted + even.accepted,
        "stored": stored(url, contender.count) - before,
    }


def watched(contender: Contender, work: Callable[[], Figures]) -> tuple[Figures, dict[str, float]]:
    """Run the load, and tell who used how many cores meanwhile."""
    server = psutil.Process(contender.process.pid)
    started_at, own, theirs = time.perf_counter(), time.process_time(), sum(server.cpu_times()[:2])
    figures = work()
    seconds = time.perf_counter() - started_at
    return figures, {
        "server_cores": round((sum(server.cpu_times()[:2]) - theirs) / seconds, 2),
        "generator_cores": round((time.process_time() - own) / seconds, 2),
    }


def stored(url: str, query: str) -> int:
    import psycopg

    with psycopg.connect(url) as connection:
        row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return int(row[0])


@contextmanager
def serve_gateway(url: str, folder: Path) -> Generator[Contender]:
    from integrations.security.tokens import create_token

    create_token(folder / "home")
    port = free_port()
    environment = {
        "RUNBELL_HOME": str(folder / "home"),
        "RUNBELL_DATABASE__URL": url,
        "RUNBELL_GATEWAY__PORT": str(port),
        "RUNBELL_GATEWAY__REQUESTS_PER_MINUTE": "10000000",
        "RUNBELL_CHANNELS__WEBHOOK__BENCH__SECRET": SECRET,
    }
    with started(["-m", "integrations.gateway"], environment, port) as process:
        count = "select count(*) from runbell.inbox"
        yield Contender("gateway", process, port, "/channels/webhook/bench", signed=True, count=count)


@contextmanager
def serve_bare(url: str, folder: Path) -> Generator[Contender]:
    del folder
    port = free_port()
    environment = {"BARE_URL": url, "BARE_PORT": str(port)}
    with started([str(ROOT / "benchmarks" / "bare_ingest.py")], environment, port) as process:
        count = "select count(*) from bare_messages"
        yield Contender("bare", process, port, "/messages", signed=False, count=count)


@contextmanager
def started(arguments: list[str], environment: dict[str, str], port: int) -> Generator[subprocess.Popen[bytes]]:
    """Run a server until the block ends."""
    import httpx

    process = subprocess.Popen(
        [sys.executable, *arguments], cwd=ROOT, env={**os.environ, **environment}, stderr=subprocess.DEVNULL
    )
    try:
        until = time.monotonic() + 60
        while True:
            try:
                httpx.get(f"http://127.0.0.1:{port}/healthz", trust_env=False)
                break
            except httpx.TransportError:
                if process.poll() is not None or time.monotonic() > until:
                    raise SystemExit(f"{arguments} did not start") from None
                time.sleep(0.1)
        yield process
    finally:
        process.terminate()
        process.wait(20)


def told(results: dict[str, Any], options: Options) -> str:
    lines = [f"Durable acceptance of webhook messages ({results['machine']}, {options.connections} connections)"]
    for name in ("gateway", "bare"):
        result = results[name]
        for way in ("flood", "pace"):
            at = "as fast as it goes" if way == "flood" else f"at {options.rate}/s"
            f = result[way]
            lines.append(
                f"{name:8} {at:19} {f['per_s']:7.0f}/s  ack p50 {f['p50_ms']:6.1f} ms  p99 {f['p99_ms']:6.1f} ms  "
                f"refused {f['refused']}  cores: server {f['server_cores']}, generator {f['generator_cores']}"
            )
        lines.append(f"{name:8} acknowledged {result['acknowledged']}, stored {result['stored']}")
    lines.append(f"gateway / bare: {results['times_bare']} times; aim: 1000/s, p99 < 300 ms")
    lines += told_networks(results["networks"])
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
