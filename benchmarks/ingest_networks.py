"""Verified and stored messages of every network beside the generic signed webhook's; part of `ingest.py`.

Networks that call us: one gateway, flooded for a while by the webhook, then by one network, in turns, so that each
ratio is of two neighbouring measurements; requests are built and signed beforehand. Networks that we hold a connection
to: another gateway, and a simulator that pushes as fast as it can on this one's cores; its own cost is in the figure.
CPU is the gateway's, per message. What was acknowledged is counted in the database.
"""

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import AsyncExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg

from benchmarks.load import flood, free_port
from benchmarks.network_requests import CONVERSATIONS, Networks, numbers, said, whole
from integrations.channels.simulators.base import Simulator

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
PUSHED = 1000
AIM = 0.5


def compare(url: str, folder: Path, seconds: float, connections: int) -> dict[str, Any]:
    """Measure all; returns per network the rate, the webhook's beside it, and their ratio."""
    with simulated() as (networks, call):
        found = {"aim": AIM, "http": {}, "socket": {}}
        sections = _sections(networks, sockets=False)
        with gateway(url, folder / "networks", sections) as (process, port):
            for name in networks.builders():
                found["http"][name] = _beside_webhook(name, networks, process, port, url, seconds, connections)
        with gateway(url, folder / "sockets", _sections(networks, sockets=True)) as (process, port):
            webhook = _webhook(process, port, url, seconds, connections)
            for name, push in _pushes(networks).items():
                found["socket"][name] = _pushed(name, push, call, process, url, webhook)
    return found


def told_networks(found: dict[str, Any]) -> list[str]:
    """Return a line per network."""
    lines = [f"Each network beside the webhook in the same seconds (aim: no less than {found['aim']} of it)"]
    for way in ("http", "socket"):
        lines += [
            f"{way:6} {name:9} {f['per_s']:7.0f}/s  webhook {f['webhook_per_s']:7.0f}/s  ratio {f['ratio']:5.2f}  "
            f"CPU/message {f['cpu_ms']:5.2f} ms, ratio {f['cpu_ratio']:5.2f}  refused {f['refused']}  "
            f"acknowledged {f['acknowledged']}, stored {f['stored']}"
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
    name: str,
    push: Callable[[int], Awaitable[object]],
    call: Callable[[Awaitable[object]], object],
    process: psutil.Process,
    url: str,
    webhook: dict[str, Any],
) -> dict[str, Any]:
    async def all_of_them() -> None:
        for number in range(PUSHED):
            await push(number)

    before = stored(url, name)
    started_at, spent = time.perf_counter(), sum(process.cpu_times()[:2])
    call(all_of_them())
    until = time.monotonic() + 60
    while (kept := stored(url, name) - before) < PUSHED and time.monotonic() < until:
        time.sleep(0.02)
    found = {"per_s": kept / (time.perf_counter() - started_at), "refused": 0, "acknowledged": PUSHED, "stored": kept}
    return _against(found | {"cpu_ms": (sum(process.cpu_times()[:2]) - spent) * 1000 / PUSHED}, webhook)


def _against(network: dict[str, Any], webhook: dict[str, Any]) -> dict[str, Any]:
    return {
        **network,
        "cpu_ms": round(network["cpu_ms"], 2),
        "webhook_per_s": webhook["per_s"],
        "ratio": round(network["per_s"] / max(webhook["per_s"], 1), 2),
        "cpu_ratio": round(webhook["cpu_ms"] / max(network["cpu_ms"], 0.001), 2),
    }


def _pushes(networks: Networks) -> dict[str, Callable[[int], Awaitable[object]]]:
    slack, telegram, dingtalk, feishu = networks.slack, networks.telegram, networks.dingtalk, networks.feishu
    return {
        "slack": lambda n: slack.say(f"D{n % CONVERSATIONS}", said(n)),
        "telegram": lambda n: telegram.say(1 + n % CONVERSATIONS, said(n)),
        "dingtalk": lambda n: dingtalk.say(said(n), group=f"cid{n % CONVERSATIONS}"),
        "feishu": lambda n: _spawned(feishu, feishu.say(said(n), chat=f"oc_{n % CONVERSATIONS}")),
    }


async def _spawned(simulator: Simulator, work: Awaitable[object]) -> None:
    """Begin without waiting for the acknowledgement, as the real network does."""
    simulator.spawn(work)


def _sections(networks: Networks, *, sockets: bool) -> dict[str, Any]:
    modes = {
        "slack": networks.slack.settings("socket" if sockets else "http"),
        "telegram": networks.telegram.settings("polling" if sockets else "webhook"),
        "feishu": networks.feishu.settings().model_copy(update={"mode": "socket" if sockets else "http"}),
        "dingtalk": networks.dingtalk.settings().model_copy(update={"mode": "stream" if sockets else "http"}),
    }
    others = {
        "wecom": networks.wecom.settings(),
        "teams": networks.teams.settings(),
        "discord": networks.discord.settings(),
    }
    chosen = modes if sockets else {**modes, **others}
    sections = {name: section.model_dump(mode="json", exclude_none=True) for name, section in chosen.items()}
    return {**sections, "webhook": {"bench": {"secret": SECRET}}}


@contextmanager
def gateway(url: str, home: Path, sections: dict[str, Any]) -> Generator[tuple[psutil.Process, int]]:
    """Run a gateway with these channels; give its process once all of them are up, and its port."""
    from integrations.security.tokens import create_token

    create_token(home)
    port = free_port()
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
def simulated() -> Generator[tuple[Networks, Callable[[Awaitable[object]], object]]]:
    """Run one simulator of each network in a thread; give them, and a way to do something there."""
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

    async def awaited(work: Awaitable[object]) -> object:
        return await work

    try:
        yield networks, lambda work: asyncio.run_coroutine_threadsafe(awaited(work), loop).result(120)
    finally:
        loop.call_soon_threadsafe(end.set)
        thread.join(10)


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

    webhook, now, built = Webhook(SECRET), datetime.now(UTC), list[bytes]()
    for number, _ in zip(numbers(), range(amount), strict=False):
        event_id = f"net-{time.time_ns()}-{number}"
        body = json.dumps({"text": said(number), "conversation": f"c{number % CONVERSATIONS}", "event_id": event_id})
        headers = {"Content-Type": "application/json", "webhook-id": event_id}
        headers |= {
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": webhook.sign(event_id, now, body),
        }
        built.append(whole(("/channels/webhook/bench", headers, body.encode())))
    return built
