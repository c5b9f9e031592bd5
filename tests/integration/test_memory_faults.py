"""Chroma away, stalled, emptied or replaced by a stranger: memory says so soon, and is back by itself."""

import secrets
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from integrations.errors import Unavailable
from integrations.memory import Memory, Note, Scope
from integrations.settings import Memory as Settings
from tests import hashing
from tests.chroma import ChromaServer

NOTE = Note("My dog is called Rex.", "Anna", datetime(2026, 11, 21, tzinfo=UTC), "m1")


@pytest.fixture
def own_chroma(tmp_path: Path) -> Iterator[ChromaServer]:
    server = ChromaServer(tmp_path / "chroma")
    yield server
    server.stop()


@pytest.fixture
def memory(own_chroma: ChromaServer) -> Iterator[Memory]:
    with closing(Memory(Settings(port=own_chroma.port), hashing.embed)) as memory:
        yield memory


@pytest.fixture
def scope() -> Scope:
    return Scope.principal("default", secrets.token_hex(8))


def test_memory_survives_a_killed_server(own_chroma: ChromaServer, memory: Memory, scope: Scope):
    own_chroma.start()
    memory.remember(scope, [NOTE])

    own_chroma.kill()
    begun = time.monotonic()
    with pytest.raises(Unavailable, match="runbell status"):
        memory.query(scope, "dog")
    assert not memory.healthy()
    assert time.monotonic() - begun < 3

    own_chroma.start()
    assert memory.query(scope, "dog")[0].text == NOTE.text
    assert memory.remember(scope, [NOTE])
    assert memory.healthy()


def test_a_server_that_comes_up_later_is_found(own_chroma: ChromaServer, memory: Memory, scope: Scope):
    assert not memory.healthy()

    own_chroma.start()

    assert _soon(memory.healthy)
    assert memory.count(scope) == 0


def test_a_stalled_server_holds_nobody(own_chroma: ChromaServer, memory: Memory, scope: Scope):
    own_chroma.start()
    memory.remember(scope, [NOTE])
    own_chroma.stall()

    begun = time.monotonic()
    with ThreadPoolExecutor(16) as threads:
        outcomes = list(threads.map(lambda _: _outcome(memory, scope), range(16)))
    spent = time.monotonic() - begun
    own_chroma.go_on()

    assert outcomes == ["Unavailable"] * 16
    assert spent < 9
    assert _soon(lambda: len(memory.query(scope, "dog")) == 1)


def test_a_server_that_stalls_before_the_first_request_holds_nobody(own_chroma: ChromaServer, scope: Scope):
    own_chroma.start()
    own_chroma.stall()

    begun = time.monotonic()
    with closing(Memory(Settings(port=own_chroma.port), hashing.embed)) as late, ThreadPoolExecutor(16) as threads:
        outcomes = list(threads.map(lambda _: _outcome(late, scope), range(16)))

    assert outcomes == ["Unavailable"] * 16
    assert time.monotonic() - begun < 12


def test_a_collection_that_someone_deleted_is_made_anew(own_chroma: ChromaServer, memory: Memory, scope: Scope):
    own_chroma.start()
    memory.remember(scope, [NOTE])
    _delete_collections(own_chroma.port)

    assert memory.query(scope, "dog") == []
    assert memory.remember(scope, [NOTE])
    assert memory.count(scope) == 1


def test_a_stranger_on_the_port_is_not_taken_for_chroma(scope: Scope):
    class Stranger(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            """Stay silent."""

    with HTTPServer(("127.0.0.1", 0), Stranger) as server:
        threading.Thread(target=server.serve_forever).start()
        with closing(Memory(Settings(port=server.server_port), hashing.embed)) as memory:
            assert not memory.healthy()
            assert _outcome(memory, scope) == "Unavailable"
        server.shutdown()


def test_what_the_embedder_raises_is_passed_on(own_chroma: ChromaServer, scope: Scope):
    def broken(texts: object) -> list[list[float]]:
        raise Unavailable("the embedder is away")

    with (
        closing(Memory(Settings(port=own_chroma.port), broken)) as memory,
        pytest.raises(Unavailable, match="embedder"),
    ):
        memory.remember(scope, [NOTE])


def _outcome(memory: Memory, scope: Scope) -> str:
    try:
        return str(memory.query(scope, "dog"))
    except Unavailable:
        return "Unavailable"


def _soon(holds, seconds: float = 15) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if holds():
            return True
        time.sleep(0.1)
    return False


def _delete_collections(port: int) -> None:
    import httpx

    base = f"http://127.0.0.1:{port}/api/v2/tenants/default_tenant/databases/default_database/collections"
    for each in httpx.get(base).json():
        httpx.delete(f"{base}/{each['name']}").raise_for_status()
