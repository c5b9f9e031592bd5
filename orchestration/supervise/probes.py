"""Ways to ask whether a process is ready; each returns None, or what is missing."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import LiteralString, cast

from orchestration.supervise.spec import Probe

PATIENCE_S = 5.0


def http(host: str, port: int, path: str) -> Probe:
    """Wait for an answer below 400; the `title` and `detail` of a problem document are passed on."""

    async def probe() -> str | None:
        try:
            status, body = await _get(host, port, path)
        except (OSError, TimeoutError, ValueError) as error:
            return f"waiting for http://{host}:{port} ({_plain(error)})"
        return None if status < 400 else f"{path} answers {status}{_told(body)}"

    return probe


def tcp(host: str, port: int) -> Probe:
    """Wait until something listens."""
    return _connects(lambda: asyncio.open_connection(host, port), f"{host}:{port}")


def unix(path: Path) -> Probe:
    """Wait until something listens on a socket."""
    return _connects(lambda: asyncio.open_unix_connection(str(path)), path.name)


def file(ready: Path, problem: Path, waiting: str) -> Probe:
    """Wait for a file that the process writes when it is ready; meanwhile it may write another that says why not."""

    def look() -> str | None:
        if ready.exists():
            return None
        try:
            return problem.read_text(encoding="utf-8").strip() or waiting
        except OSError:
            return waiting

    async def probe() -> str | None:
        return await asyncio.to_thread(look)

    return probe


def ray_node(temp: Path, port: int) -> Probe:
    """Wait until Ray's head has its control service and its own node."""
    control, node = tcp("127.0.0.1", port), unix(temp / "session_latest" / "sockets" / "raylet")

    async def probe() -> str | None:
        return await control() or await node()

    return probe


def postgres(url: str) -> Probe:
    """Wait until the database takes queries."""

    async def probe() -> str | None:
        found = await _ask(url, "select 1")
        return f"waiting for PostgreSQL ({found})" if isinstance(found, str) else None

    return probe


def workers(url: str, locations: Sequence[str]) -> Probe:
    """Wait until each code location has a worker that gave a sign of life within ten seconds."""
    query = "select distinct location from runbell.workers where heartbeat_at > now() - interval '10 s'"

    async def probe() -> str | None:
        found = await _ask(url, query)
        if isinstance(found, str):
            return found
        missing = sorted(set(locations) - {str(row[0]) for row in found})
        return f"waiting for workers of {', '.join(missing)}" if missing else None

    return probe


class DaemonHeartbeat:
    """Dagster's daemon has no port: its signs of life are rows. `begin` says from when on they count."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._began_at = datetime.min.replace(tzinfo=UTC)

    def begin(self) -> None:
        """Let only signs of life from now on count."""
        self._began_at = datetime.now(UTC)

    async def probe(self) -> str | None:
        """Wait for a sign of life that is newer than `begin` and than two minutes."""
        since = max(self._began_at, datetime.now(UTC) - timedelta(minutes=2))
        # Dagster writes them in UTC without a time zone.
        query = "select 1 from daemon_heartbeats where timestamp > %s limit 1"
        found = await _ask(self._url, query, since.replace(tzinfo=None))
        if isinstance(found, str):
            return found
        return None if found else "waiting for its first sign of life"


async def _ask(url: str, query: LiteralString, *values: object) -> list[tuple[object, ...]] | str:
    """Return the rows, or in words why there are none to be had."""
    import psycopg

    try:
        connection = await psycopg.AsyncConnection.connect(url, connect_timeout=3, autocommit=True)
        async with connection:
            return await (await connection.execute(query, values)).fetchall()
    except psycopg.Error as error:
        return _plain(error)


def _connects(connect: Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]], name: str) -> Probe:
    async def probe() -> str | None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                _, writer = await connect()
        except (OSError, TimeoutError) as error:
            return f"waiting for {name} ({_plain(error)})"
        writer.close()
        return None

    return probe


async def _get(host: str, port: int, path: str) -> tuple[int, bytes]:
    """A GET without a client library: the supervisor stays small, and a probe must not reuse connections."""
    async with asyncio.timeout(PATIENCE_S):
        reader, writer = await asyncio.open_connection(host, port)
        try:
            request = f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n"
            writer.write(request.encode())
            head = await reader.readuntil(b"\r\n\r\n")
            body = await reader.read(16_384)
        finally:
            writer.close()
    return int(head.split(maxsplit=2)[1]), body


def _told(body: bytes) -> str:
    try:
        found: object = json.loads(body)
    except ValueError:
        return ""
    if not isinstance(found, dict):
        return ""
    problem = cast("dict[str, object]", found)
    words = problem.get("detail") or problem.get("checks") or problem.get("title")
    if isinstance(words, dict):
        checks = cast("dict[str, object]", words)
        words = "; ".join(f"{name}: {state}" for name, state in checks.items() if state != "ok")
    return f": {words}" if words else ""


def _plain(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "no answer yet"
    text = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return "not listening yet" if isinstance(error, ConnectionRefusedError | FileNotFoundError) else text[:160]
