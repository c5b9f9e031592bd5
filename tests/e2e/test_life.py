"""From nothing to ready, down without a trace, and up again with everything kept."""

import json
import socket
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from integrations.database import Database
from tests.e2e.platform import Platform, eventually

pytestmark = pytest.mark.timeout(900)


@dataclass(frozen=True)
class Before:
    """What there was before the platform was stopped, and what ran when it was."""

    answered: dict[str, Any]
    parked: dict[str, Any]
    left: list[int]


@pytest.fixture(scope="module")
def restarted(platform: Platform) -> Before:
    """Answer one message, park the run of another, stop everything and start it again."""
    answered = platform.ask("/whoami", conversation="life")
    with platform.rest() as client:
        response = client.post("/v1/messages", json={"text": "/asking name=parked", "conversation": "parked"})
    message_id = response.json()["message_id"]
    eventually(lambda: platform.message(message_id)["status"] == "waiting", within_s=60, what="the run to be parked")
    parked = platform.message(message_id)
    held_by_nobody(platform, parked["run_id"])
    platform.stop()
    left = platform.pids()
    platform.start()
    return Before(answered, parked, left)


def held_by_nobody(platform: Platform, run_id: str) -> None:
    with database(platform) as tables:
        queued = tables.runs.get(run_id)
        assert queued is not None
        assert (queued.state, queued.claimed_by, queued.lease_until) == ("parked", None, None)
        # Workers tell of their busy threads a few times in a minute.
        eventually(lambda: not any(w.busy for w in tables.workers.live()), within_s=60, what="the threads to be free")


@contextmanager
def database(platform: Platform) -> Generator[Database]:
    endpoints = json.loads((platform.home / "run" / "endpoints.json").read_text())
    opened = Database(endpoints["database_url"], files=platform.home / "files", pool_size=2)
    yield opened
    opened.close()


def test_down_leaves_no_process_and_up_finds_everything_again(platform: Platform, restarted: Before) -> None:
    assert restarted.left == []
    assert platform.message(restarted.answered["message_id"])["replies"] == restarted.answered["replies"]
    assert platform.ask("/whoami", conversation="life")["status"] == "answered"


def test_a_run_that_waits_for_a_yes_outlives_the_whole_platform(platform: Platform, restarted: Before) -> None:
    run_id = restarted.parked["run_id"]
    assert platform.run(run_id)["status"] == "STARTED"

    with platform.rest() as client:
        event = {"key": "parked", "body": {"by": "ada"}}
        assert client.post("/v1/events/bell-approved", json=event).status_code == 202

    message = platform.settled(restarted.parked["message_id"])
    run = platform.run_ended(run_id)
    assert [reply["text"] for reply in message["replies"]] == [f"{run_id} was allowed by ada"]
    assert run["status"] == "SUCCESS"
    assert [step["status"] for step in run["stepStats"]] == ["SUCCESS"] * 3
    assert (platform.home / "marks" / "parked").read_text().split() == ["first", "allowed"]


def test_a_taken_port_is_named_with_its_setting(tmp_path: Path) -> None:
    platform = Platform(tmp_path)
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", platform.gateway))
        holder.listen()
        ended = platform.cli("up")

    assert ended.returncode != 0
    said = ended.stdout + ended.stderr
    assert str(platform.gateway) in said
    assert "RUNBELL_GATEWAY__PORT" in said
    assert platform.pids() == []


def test_without_a_platform_the_cli_says_how_to_start_it(tmp_path: Path) -> None:
    ended = Platform(tmp_path).cli("send", "hello")

    assert ended.returncode == 1
    assert "make up" in ended.stdout + ended.stderr
