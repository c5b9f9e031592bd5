"""A load generator that costs little: raw HTTP/1.1 over kept connections, requests built beforehand."""

import asyncio
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass
class Figures:
    """What was measured."""

    seconds: float = 0.0
    accepted: int = 0
    refused: int = 0
    latencies: list[float] = field(default_factory=list[float])

    def shown(self) -> dict[str, float]:
        """Rates and percentiles of accepted requests, milliseconds."""
        ordered = sorted(self.latencies) or [0.0]

        def percentile(share: float) -> float:
            return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000, 2)

        return {
            "per_s": round(self.accepted / self.seconds, 1) if self.seconds else 0.0,
            "p50_ms": percentile(0.5),
            "p95_ms": percentile(0.95),
            "p99_ms": percentile(0.99),
            "max_ms": percentile(1.0),
            "accepted": self.accepted,
            "refused": self.refused,
        }


class Connection(asyncio.Protocol):
    """Sends one request at a time; answers are told by status only."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._answered: asyncio.Future[int] | None = None
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head = self._buffer.find(b"\r\n\r\n")
        if head < 0 or self._answered is None:
            return
        lower = bytes(self._buffer[:head]).lower()
        at = lower.index(b"content-length:") + 15
        length = int(lower[at : lower.find(b"\r\n", at) if lower.find(b"\r\n", at) > 0 else None])
        if len(self._buffer) >= head + 4 + length:
            status = int(self._buffer[9:12])
            self._buffer.clear()
            answered, self._answered = self._answered, None
            answered.set_result(status)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(exc or ConnectionError("closed"))

    def ask(self, request: bytes) -> asyncio.Future[int]:
        """Send; the future gives the status."""
        assert self._transport is not None
        self._answered = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._answered

    def close(self) -> None:
        """Leave."""
        if self._transport is not None:
            self._transport.close()


async def connect(port: int, connections: int) -> list[Connection]:
    """Open connections."""
    loop = asyncio.get_running_loop()
    return [(await loop.create_connection(Connection, "127.0.0.1", port))[1] for _ in range(connections)]


async def flood(port: int, requests: Sequence[bytes], connections: int, seconds: float) -> Figures:
    """Send as fast as answers come, each connection its next request, until the time or the requests are over."""
    figures, waiting = Figures(), iter(requests)
    opened = await connect(port, connections)
    started_at = time.perf_counter()

    async def work(connection: Connection) -> None:
        for request in waiting:
            sent_at = time.perf_counter()
            if sent_at - started_at > seconds:
                return
            _record(figures, await connection.ask(request), sent_at)

    await asyncio.gather(*(work(connection) for connection in opened))
    figures.seconds = time.perf_counter() - started_at
    for connection in opened:
        connection.close()
    return figures


async def pace(port: int, requests: Sequence[bytes], connections: int, rate: int) -> Figures:
    """Send at a fixed rate; a request that finds no free connection waits, and its latency tells."""
    figures = Figures()
    opened = await connect(port, connections)
    free: asyncio.Queue[Connection] = asyncio.Queue()
    for connection in opened:
        free.put_nowait(connection)
    started_at = time.perf_counter()
    asked: set[asyncio.Task[None]] = set()

    async def one(request: bytes, due_at: float) -> None:
        connection = await free.get()
        try:
            _record(figures, await connection.ask(request), due_at)
        finally:
            free.put_nowait(connection)

    for number, request in enumerate(requests):
        due_at = started_at + number / rate
        if (early := due_at - time.perf_counter()) > 0:
            await asyncio.sleep(early)
        task = asyncio.create_task(one(request, due_at))
        asked.add(task)
        task.add_done_callback(asked.discard)
    await asyncio.gather(*asked)
    figures.seconds = time.perf_counter() - started_at
    for connection in opened:
        connection.close()
    return figures


def _record(figures: Figures, status: int, sent_at: float) -> None:
    if 200 <= status < 300:
        figures.accepted += 1
        figures.latencies.append(time.perf_counter() - sent_at)
    else:
        figures.refused += 1


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
