"""From nothing to ready, down without a trace, and up again with everything kept."""

import socket
from pathlib import Path

import pytest

from tests.e2e.platform import Platform

pytestmark = pytest.mark.timeout(900)


def test_down_leaves_no_process_and_up_finds_everything_again(platform: Platform) -> None:
    first = platform.ask("/whoami", conversation="life")

    platform.stop()
    assert platform.pids() == []

    platform.start()
    assert platform.message(first["message_id"])["replies"] == first["replies"]
    assert platform.ask("/whoami", conversation="life")["status"] == "answered"


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
