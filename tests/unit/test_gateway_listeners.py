"""The token goes to our own processes only, whoever has taken the port meanwhile."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from integrations.gateway.client import Client, Foreign, NotUp
from integrations.gateway.listeners import listening, stranger_at
from integrations.gateway.live import LiveChat
from integrations.security.tokens import FILE, create_token

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
NOBODY = 65534
LISTENER = f"""
import os, socket
os.setuid({NOBODY})
with socket.create_server(("127.0.0.1", 0)) as server:
    print(server.getsockname()[1], flush=True)
    while True:
        print(server.accept()[0].recv(65_536), flush=True)
"""
as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can start another user's process")


def row(local: str, state: str, uid: int) -> str:
    return (
        f"   0: {local} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000 {uid:5d}        0 12345 1 0 100\n"
    )


@pytest.fixture
def home(tmp_path: Path) -> Path:
    create_token(tmp_path)
    return tmp_path


@contextmanager
def another_users_listener() -> Iterator[tuple[int, "subprocess.Popen[str]"]]:
    command = [sys.executable, "-I", "-c", LISTENER]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline()), process
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("rows", "users"),
    [
        ([row("0100007F:1F90", "0A", 7)], {7}),
        ([row("00000000:1F90", "0A", 7)], {7}),
        ([row("00000000:1F90", "0A", 7), row("0100007F:1F90", "0A", 8)], {8}),
        ([row("0" * 24 + "01000000:1F90", "0A", 7)], {7}),
        ([row("0100007F:1F90", "01", 7)], set()),
        ([row("0100007F:1F91", "0A", 7)], set()),
        ([row("0200007F:1F90", "0A", 7)], set()),
    ],
    ids=[
        "loopback",
        "all addresses",
        "the nearer one counts",
        "IPv6",
        "a connection",
        "another port",
        "another address",
    ],
)
def test_the_kernels_table_tells_who_listens(tmp_path: Path, rows: list[str], users: set[int]) -> None:
    table = tmp_path / "tcp"
    table.write_text(HEAD + "".join(rows))

    assert listening(8080, (table, tmp_path / "missing")) == users


def test_a_real_listener_of_ones_own_is_no_stranger(home: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]

        assert listening(port) == {os.getuid()}
        assert stranger_at(f"http://127.0.0.1:{port}", home / FILE) is None


@as_root
def test_another_users_process_on_the_port_gets_nothing(home: Path) -> None:
    with another_users_listener() as (port, process):
        url = f"http://127.0.0.1:{port}"
        with Client(url, home) as client, pytest.raises(Foreign, match=r"another user.*nothing was sent.*not up"):
            client.send("hello")
        process.kill()

        assert process.stdout is not None
        assert process.stdout.read() == ""


@as_root
async def test_the_live_chat_does_not_greet_another_user(home: Path) -> None:
    with another_users_listener() as (port, process):
        with pytest.raises(NotUp):
            await anext(LiveChat(f"http://127.0.0.1:{port}", home, "c").frames())
        process.kill()

        assert process.stdout is not None
        assert process.stdout.read() == ""


@as_root
def test_whoever_owns_the_token_may_have_it(home: Path) -> None:
    os.chown(home / FILE, NOBODY, -1)

    with another_users_listener() as (port, _):
        assert stranger_at(f"http://127.0.0.1:{port}", home / FILE) is None


def test_an_address_that_is_not_of_this_machine_is_not_looked_up(home: Path) -> None:
    assert stranger_at("https://bells.example.org:8080", home / FILE) is None
