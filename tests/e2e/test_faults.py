"""Processes are killed for real; no message is lost, none is answered twice."""

import ipaddress
import json
import os
import signal
import threading
from collections.abc import Callable

import httpx
import psutil
import pytest

from integrations.database import Database
from tests.e2e.platform import Platform, eventually

pytestmark = pytest.mark.timeout(600)


def pid_of(platform: Platform, name: str) -> int:
    (pid,) = [row["pid"] for row in platform.status()["rows"] if row["name"] == name]
    return int(pid)


def all_well(platform: Platform) -> Callable[[], bool]:
    def look() -> bool:
        try:
            return httpx.get(f"{platform.url}/readyz", timeout=10).status_code == 200
        except httpx.TransportError:
            return False

    return look


def begin_marks(platform: Platform, name: str) -> str:
    """Send a command that lingers until `release`, and return its message id once its first op is done."""
    with platform.rest() as client:
        response = client.post("/v1/messages", json={"text": f"/marks name={name}", "conversation": name})
    assert response.status_code == 202, response.text
    mark = platform.home / "marks" / name
    eventually(mark.exists, within_s=60, what=f"the first op of {name}")
    return str(response.json()["message_id"])


def release(platform: Platform, name: str) -> None:
    (platform.home / "marks" / f"{name}.go").touch()


def workers(platform: Platform, location: str) -> list[psutil.Process]:
    endpoints = json.loads((platform.home / "run" / "endpoints.json").read_text())
    database = Database(endpoints["database_url"], files=platform.home / "files", pool_size=2)
    pids = [w.pid for w in database.workers.live() if w.location == location]
    database.close()
    return [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]


def test_a_killed_worker_resumes_the_same_run_and_repeats_no_op(platform: Platform) -> None:
    message_id = begin_marks(platform, "killed")
    for worker in workers(platform, "bells"):
        worker.kill()
    release(platform, "killed")

    message = platform.settled(message_id)

    assert [r["text"] for r in message["replies"]] == ["marks: first last"]
    assert platform.run_ended(message["run_id"])["status"] == "SUCCESS"


def test_a_restarted_database_loses_nothing(platform: Platform) -> None:
    message_id = begin_marks(platform, "database")
    os.kill(pid_of(platform, "database"), signal.SIGKILL)
    release(platform, "database")
    eventually(all_well(platform), within_s=120, what="the platform to be ready again")

    message = platform.settled(message_id)

    assert [r["text"] for r in message["replies"]] == ["marks: first last"]


def test_without_memory_the_answer_comes_and_says_so(platform: Platform) -> None:
    chroma = psutil.Process(pid_of(platform, "chroma"))
    chroma.suspend()
    try:
        answer = platform.ask("What is the capital of Portugal?", conversation="no-memory")
    finally:
        chroma.resume()

    assert answer["status"] == "answered"
    assert "memory" in answer["replies"][0]["text"]


def test_a_killed_gateway_comes_back_and_no_acknowledged_message_is_lost(platform: Platform) -> None:
    accepted: list[str] = []
    stop = threading.Event()

    def send() -> None:
        n = 0
        while not stop.is_set():
            body = {"text": "/whoami", "conversation": f"gw{n % 5}", "event_id": f"gw-{n}"}
            try:
                with platform.rest(timeout=5) as client:
                    response = client.post("/v1/messages", json=body)
            except httpx.TransportError:
                continue
            if response.status_code == 202:
                accepted.append(response.json()["message_id"])
                n += 1

    sender = threading.Thread(target=send)
    sender.start()
    eventually(lambda: len(accepted) > 20, within_s=60, what="twenty messages")
    before = len(accepted)
    os.kill(pid_of(platform, "gateway"), signal.SIGKILL)
    eventually(lambda: len(accepted) > before + 20, within_s=120, what="twenty more messages")
    stop.set()
    sender.join()

    for message_id in accepted:
        assert len(platform.settled(message_id)["replies"]) == 1


def test_a_model_that_dies_comes_back(platform: Platform) -> None:
    before = pid_of(platform, "serving")
    os.kill(before, signal.SIGKILL)

    def back() -> bool:
        status = platform.status()
        return bool(status["well"]) and pid_of(platform, "serving") != before

    eventually(back, within_s=180, what="all to be well again")

    assert platform.ask("What is the capital of Austria?", conversation="model")["status"] == "answered"


def test_a_running_command_is_cancelled_from_chat(platform: Platform) -> None:
    message_id = begin_marks(platform, "cancelled")

    answer = platform.ask("/cancel", conversation="cancelled")

    assert answer["status"] == "answered"
    message = platform.settled(message_id)
    assert platform.run_ended(message["run_id"])["status"] == "CANCELED"
    assert "last" not in (platform.home / "marks" / "cancelled").read_text()


def test_a_second_up_says_so(platform: Platform) -> None:
    second = platform.cli("up")

    assert second.returncode == 0
    assert "already up" in second.stdout


def test_everything_listens_on_loopback_only(platform: Platform) -> None:
    # Known: each Ray Serve replica's internal gRPC port, which asks for Ray's token (ray#65189 fixed in 2.60).
    known = "ray::ServeReplica"

    open_to_all = [
        f"{name} {ip}"
        for pid in platform.pids()
        for name, ip in listening(pid)
        if not (ipaddress.ip_address(ip.removeprefix("::ffff:")).is_loopback or name.startswith(known))
    ]

    assert open_to_all == []


def listening(pid: int) -> list[tuple[str, str]]:
    """Return the name of a process and the addresses that it listens on."""
    try:
        process = psutil.Process(pid)
        found = process.net_connections(kind="inet")
        name = " ".join(process.cmdline()[:2])
    except psutil.Error:
        return []
    return [(name, c.laddr.ip) for c in found if c.status == psutil.CONN_LISTEN]
