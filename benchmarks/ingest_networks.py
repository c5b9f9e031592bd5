"""Verified and stored messages of every network beside the generic signed webhook's; part of `ingest.py`.

Networks that call us: one gateway, flooded for a while by the webhook, then by one network, in turns, so that each
ratio is of two neighbouring measurements; requests are built and signed beforehand. Networks that we hold a connection
to: another gateway, and simulators in a process of their own that push frames built beforehand as fast as the
connection takes them; the rate is until the last one was stored. CPU per message is the gateway's alone; how many
cores each side used is told. What was acknowledged is counted in the database. E-mail's sender is proven by its
provider's verdict, since a DNS that knows a simulated domain's DKIM key is not to be had.
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Generator
from contextlib import AsyncExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg

from benchmarks.load import flood, free_port
from benchmarks.network_requests import CONVERSATIONS, Networks, numbers, said, whole

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
CONNECTED = ("slack", "telegram", "feishu", "dingtalk", "discord", "wecom-robot", "email")
PUSHED = 3000
FEWER = {"email": 500}
PATIENCE_SECONDS, LOOK_SECONDS = 30.0, 0.1
AIM = 0.5


def compare(url: str, folder: Path, seconds: float, connections: int) -> dict[str, Any]:
    """Measure all; returns per network the rate, the webhook's beside it, and their ratio."""
    found: dict[str, Any] = {"aim": AIM, "http": {}, "socket": {}}
    with simulated() as networks, gateway(url, folder / "networks", _sections(networks)) as (process, port):
        for name in networks.builders():
            found["http"][name] = _beside_webhook(name, networks, process, port, url, seconds, connections)
    with pushing() as (pusher, sections), gateway(url, folder / "sockets", sections) as (process, port):
        _connected(port)
        for name in CONNECTED:
            webhook = _webhook(process, port, url, seconds, connections)
            found["socket"][name] = _pushed(name, pusher, process, url, webhook)
    return found


def told_networks(found: dict[str, Any]) -> list[str]:
    """Return a line per network."""
    lines = [f"Each network beside the webhook in the same seconds (aim: no less than {found['aim']} of it)"]
    for way in ("http", "socket"):
        lines += [
            f"{way:6} {name:11} {f['per_s']:7.0f}/s  webhook {f['webhook_per_s']:7.0f}/s  ratio {f['ratio']:5.2f}  "
            f"CPU/message {f['cpu_ms']:5.2f} ms, ratio {f['cpu_ratio']:5.2f}  refused {f['refused']}  "
            f"acknowledged {f['acknowledged']}, stored {f['stored']}"
            + (f"  cores: gateway {f['gateway_cores']}, simulator {f['simulator_cores']}" if way == "socket" else "")
            for name, f in found[way].items()
        ]
    return lines


def _beside_webhook(
    name: str, networks: Networks, process: psutil.Process, port: int, url: str, seconds: float, connections: int
) -> dict[str, Any]:
    build, count = networks.builders()[name], numbers()
    _flooded([whole(build(next(count))) for _ in range(200)], name, process, port, url, 1.0, connections)
    webhook = _webhook(process, port, url, seconds, connections)
    requests = [whole(build(next(count))) for _ in range(int(seconds * 2500))]
    return _against(_flooded(requests, name, process, port, url, seconds, connections), webhook)


def _webhook(process: psutil.Process, port: int, url: str, seconds: float, connections: int) -> dict[str, Any]:
    return _flooded(_webhooks(int(seconds * 2500)), "webhook", process, port, url, seconds, connections)


def _flooded(
    requests: list[bytes], channel: str, process: psutil.Process, port: int, url: str, seconds: float, connections: int
) -> dict[str, Any]:
    before, spent = stored(url, channel), sum(process.cpu_times()[:2])
    figures = asyncio.run(flood(port, requests, connections, seconds))
    return {
        "per_s": figures.shown()["per_s"],
        "cpu_ms": (sum(process.cpu_times()[:2]) - spent) * 1000 / max(figures.accepted, 1),
        "refused": figures.refused,
        "acknowledged": figures.accepted,
        "stored": stored(url, channel) - before,
    }


def _pushed(
    name: str, pusher: subprocess.Popen[str], process: psutil.Process, url: str, webhook: dict[str, Any]
) -> dict[str, Any]:
    """Let a simulator push, and look when the last of its messages was stored."""
    amount = FEWER.get(name, PUSHED)
    _until_stored(url, name, _push(pusher, name, amount // 10), amount // 10)
    simulator, spent = psutil.Process(pusher.pid), sum(process.cpu_times()[:2])
    simulated = sum(simulator.cpu_times()[:2])
    began_at = _push(pusher, name, amount)
    kept, seconds = _until_stored(url, name, began_at, amount)
    found = {
        "per_s": round(kept / seconds, 1),
        "refused": 0,
        "acknowledged": amount,
        "stored": kept,
        "cpu_ms": (sum(process.cpu_times()[:2]) - spent) * 1000 / amount,
        "gateway_cores": round((sum(process.cpu_times()[:2]) - spent) / seconds, 2),
        "simulator_cores": round((sum(simulator.cpu_times()[:2]) - simulated) / seconds, 2),
    }
    return _against(found, webhook)


def _push(pusher: subprocess.Popen[str], name: str, amount: int) -> float:
    """Return when the first was pushed; all are, once this returns."""
    assert pusher.stdin
    assert pusher.stdout
    pusher.stdin.write(f"{name} {amount}\n")
    pusher.stdin.flush()
    return float(pusher.stdout.readline())


def _until_stored(url: str, name: str, began_at: float, amount: int) -> tuple[int, float]:
    """Wait until all are stored; returns how many are, and how long it took until the last was."""
    query = "select count(*), extract(epoch from max(accepted_at)) from runbell.inbox"
    query += " where channel = %s and accepted_at > to_timestamp(%s)"
    until = time.monotonic() + PATIENCE_SECONDS
    with psycopg.connect(url, autocommit=True) as connection:
        while True:
            row = connection.execute(query.encode(), (name, began_at)).fetchone()
            if row is not None and (row[0] >= amount or time.monotonic() > until):
                return int(row[0]), float(row[1] or time.time()) - began_at
            time.sleep(LOOK_SECONDS)


def _against(network: dict[str, Any], webhook: dict[str, Any]) -> dict[str, Any]:
    return {
        **network,
        "cpu_ms": round(network["cpu_ms"], 2),
        "webhook_per_s": webhook["per_s"],
        "ratio": round(network["per_s"] / max(webhook["per_s"], 1), 2),
        "cpu_ratio": round(webhook["cpu_ms"] / max(network["cpu_ms"], 0.001), 2),
    }


def _sections(networks: Networks) -> dict[str, Any]:
    sections = {
        "slack": networks.slack.settings("http"),
        "telegram": networks.telegram.settings("webhook"),
        "feishu": networks.feishu.settings().model_copy(update={"mode": "http"}),
        "dingtalk": networks.dingtalk.settings().model_copy(update={"mode": "http"}),
        "wecom": networks.wecom.settings(),
        "teams": networks.teams.settings(),
        "discord": networks.discord.settings(),
    }
    return {name: section.model_dump(mode="json", exclude_none=True) for name, section in sections.items()}


@contextmanager
def gateway(url: str, home: Path, sections: dict[str, Any]) -> Generator[tuple[psutil.Process, int]]:
    """Run a gateway with these channels; give its process once all of them are up, and its port."""
    from integrations.security.tokens import create_token

    create_token(home)
    port = free_port()
    sections = {**sections, "webhook": {"bench": {"secret": SECRET}}}
    environment = {
        **os.environ,
        "RUNBELL_HOME": str(home),
        "RUNBELL_DATABASE__URL": url,
        "RUNBELL_GATEWAY__PORT": str(port),
        "RUNBELL_GATEWAY__REQUESTS_PER_MINUTE": "10000000",
        "RUNBELL_TELEMETRY__LOG_LEVEL": "WARNING",
        "RUNBELL_CHANNELS": json.dumps(sections),
    }
    command = [sys.executable, "-m", "integrations.gateway"]
    process = subprocess.Popen(command, env=environment, cwd=Path(__file__).parent.parent, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 60
        while not _answers(port):
            if process.poll() is not None or time.monotonic() > until:
                raise SystemExit("the gateway of the networks did not start")
            time.sleep(0.1)
        yield psutil.Process(process.pid), port
    finally:
        process.terminate()
        process.wait(20)


@contextmanager
def simulated() -> Generator[Networks]:
    """Run one simulator of each network that calls us, in a thread: they are hardly asked anything."""
    loop, networks, ready, end = asyncio.new_event_loop(), Networks(), threading.Event(), asyncio.Event()

    async def live() -> None:
        async with AsyncExitStack() as stack:
            for simulator in vars(networks).values():
                await stack.enter_async_context(simulator)
            ready.set()
            await end.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(live()), name="simulators", daemon=True)
    thread.start()
    ready.wait(30)
    try:
        yield networks
    finally:
        loop.call_soon_threadsafe(end.set)
        thread.join(10)


@contextmanager
def pushing() -> Generator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """Run the simulators that push, in their own process; gives it, and the settings that lead to them."""
    command = [sys.executable, "-m", "benchmarks.network_pushes"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=Path(__file__).parent.parent, **pipes) as pusher:
        assert pusher.stdin
        assert pusher.stdout
        try:
            yield pusher, json.loads(pusher.stdout.readline())
        finally:
            pusher.stdin.close()
            pusher.wait(20)


def _connected(port: int) -> None:
    """Wait until every connection is up."""
    until = time.monotonic() + 30
    while True:
        links = httpx.get(f"http://127.0.0.1:{port}/readyz", trust_env=False).json()["channels"]
        if all(links[name]["state"] == "up" for name in CONNECTED):
            return
        if time.monotonic() > until:
            raise SystemExit(f"the connections did not come about: {links}")
        time.sleep(0.5)


def stored(url: str, channel: str) -> int:
    """Count the messages of a channel."""
    with psycopg.connect(url) as connection:
        row = connection.execute("select count(*) from runbell.inbox where channel = %s", (channel,)).fetchone()
    assert row is not None
    return int(row[0])


def _answers(port: int) -> bool:
    with suppress(httpx.TransportError):
        return httpx.get(f"http://127.0.0.1:{port}/healthz", trust_env=False).status_code == 200
    return False


def _webhooks(amount: int) -> list[bytes]:
    from datetime import UTC, datetime

    from standardwebhooks.webhooks import Webhook

    webhook, now, built, place = Webhook(SECRET), datetime.now(UTC), list[bytes](), time.time_ns()
    for number, _ in zip(numbers(), range(amount), strict=False):
        event_id = f"net-{time.time_ns()}-{number}"
        body = json.dumps(
            {"text": said(number), "conversation": f"c{place}-{number % CONVERSATIONS}", "event_id": event_id}
        )
        headers = {"Content-Type": "application/json", "webhook-id": event_id}
        headers |= {
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": webhook.sign(event_id, now, body),
        }
        built.append(whole(("/channels/webhook/bench", headers, body.encode())))
    return built


def main() -> int:
    """Measure the networks alone."""
    from benchmarks.place import postgres

    with tempfile.TemporaryDirectory(prefix="runbell-ingest-") as folder, postgres(Path(folder)) as url:
        print("\n".join(told_networks(compare(url, Path(folder), 2.0, 64))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
