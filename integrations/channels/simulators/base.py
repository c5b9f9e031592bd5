"""What all simulated networks share: a server on a free port of loopback, faults on demand, unreliable delivery.

A simulator subclasses `Simulator`, returns aiohttp routes, and begins each handler with `await self.meet(operation)`.
What people use: `fail` (the next calls of an operation end badly), `switches` (how events reach the client),
`limits` (rate limits per operation), `calls` (what was called), `until` (wait for something, with an end).
"""

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from aiohttp import web
from aiohttp.typedefs import Handler

MAX_BODY = 64 * 1024 * 1024
_HANGS = web.RequestKey("hangs", bool)
Push = Callable[[], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Fault:
    """How a call ends instead of well: an answer, or, without a status, a connection cut.

    `done` means that the network did what was asked before that, so that nobody can tell; with `hang` it never answers
    after it. `delay_s` comes first.
    """

    status: int | None = None
    body: Mapping[str, object] | str = ""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    delay_s: float = 0.0
    done: bool = False
    hang: bool = False


CUT = Fault()
CUT_AFTERWARDS = Fault(done=True)
HANG_AFTERWARDS = Fault(done=True, hang=True)


class Ended(Exception):
    """A handler ends here, with this answer."""

    def __init__(self, response: web.StreamResponse) -> None:
        super().__init__()
        self.response = response


@dataclass(frozen=True, slots=True)
class Recorded:
    """One call that the client made: the operation, what it said, and when by the loop's clock."""

    operation: str
    content: Mapping[str, object]
    at: float


class Limit:
    """At most `count` calls within `seconds` per key."""

    def __init__(self, count: int, seconds: float) -> None:
        self._count = count
        self._seconds = seconds
        self._calls: dict[str, deque[float]] = defaultdict(deque)

    def spend(self, key: str = "") -> float:
        """Count a call and return 0, or return the seconds until there is room again."""
        now, calls = time.monotonic(), self._calls[key]
        while calls and calls[0] <= now - self._seconds:
            calls.popleft()
        if len(calls) >= self._count:
            return calls[0] + self._seconds - now
        calls.append(now)
        return 0.0


@dataclass(slots=True)
class Switches:
    """How events reach the client: so often again at once, so many held back and then reversed, late, or lost.

    `drop` counts down; whether what was lost comes again is up to the network's own redelivery.
    """

    duplicate: int = 0
    reorder: int = 0
    delay_s: float = 0.0
    drop: int = 0
    _held: list[Push] = field(default_factory=list[Push])

    async def deliver(self, push: Push) -> None:
        """Pass an event on as the switches say."""
        if self.drop > 0:
            self.drop -= 1
            return
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        if self.reorder:
            self._held.append(push)
            if len(self._held) < self.reorder:
                return
            due, self._held = self._held[::-1], []
        else:
            due = [push]
        for one in due:
            await asyncio.gather(*(one() for _ in range(self.duplicate + 1)))


class Simulator:
    """A server within the event loop; use it as an asynchronous context manager."""

    def __init__(self) -> None:
        self.switches = Switches()
        self.calls: list[Recorded] = []
        self.limits: dict[str, Limit] = {}
        self._faults: dict[str, deque[Fault]] = defaultdict(deque)
        self._sockets: dict[web.WebSocketResponse, asyncio.Transport | None] = {}
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[object]] = set()
        self._runner: web.AppRunner | None = None
        self.port = 0

    def routes(self) -> Iterable[web.RouteDef]:
        """Return what is served."""
        raise NotImplementedError

    @property
    def url(self) -> str:
        """The address, without a slash at its end."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws_url(self) -> str:
        """The address for sockets, without a slash at its end."""
        return f"ws://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=MAX_BODY, middlewares=[self._guard])
        app.add_routes(list(self.routes()))
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.cut()
        if self._runner is not None:
            await self._runner.cleanup()

    def fail(self, operation: str, *faults: Fault) -> None:
        """Let the next calls of an operation end so, one after the other."""
        self._faults[operation].extend(faults)

    async def meet(
        self, request: web.Request, operation: str, content: Mapping[str, object], *, key: str = ""
    ) -> Fault | None:
        """Record a call and let it fail if that is due; returns the fault that must follow once the work is done."""
        self.calls.append(Recorded(operation, content, asyncio.get_running_loop().time()))
        self.changed()
        fault = self._faults[operation].popleft() if self._faults[operation] else None
        if fault is None:
            limit = self.limits.get(operation)
            wait = limit.spend(key) if limit else 0.0
            if wait > 0:
                raise Ended(self.limited(wait))
            return None
        await asyncio.sleep(fault.delay_s)
        if fault.hang:
            request[_HANGS] = True
            return None
        if fault.done:
            return fault
        raise Ended(self.faulty(request, fault))

    def limited(self, wait_s: float) -> web.StreamResponse:
        """Return the network's own answer to too many calls."""
        return web.json_response({"error": "rate_limited"}, status=429, headers={"Retry-After": f"{wait_s:.3f}"})

    def faulty(self, request: web.Request, fault: Fault) -> web.StreamResponse:
        """Return what a fault answers; cut the connection where it answers nothing."""
        if fault.status is None:
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=500)
        if isinstance(fault.body, str):
            return web.Response(status=fault.status, text=fault.body, headers=fault.headers)
        return web.json_response(fault.body, status=fault.status, headers=fault.headers)

    def called(self, operation: str) -> list[Mapping[str, object]]:
        """Return what was said in the calls of an operation, in order."""
        return [call.content for call in self.calls if call.operation == operation]

    def spawn(self, work: Awaitable[object]) -> None:
        """Do something beside; it ends with the simulator at the latest."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def changed(self) -> None:
        """Wake whoever waits in `until`."""
        self._changed.set()

    async def until(self, condition: Callable[[], object], *, seconds: float = 15.0) -> None:
        """Wait until something holds; looks at every change and now and then. Raises TimeoutError."""
        async with asyncio.timeout(seconds):
            while not condition():
                self._changed.clear()
                try:
                    await asyncio.wait_for(self._changed.wait(), 0.05)
                except TimeoutError:
                    continue

    async def socket(self, request: web.Request) -> web.WebSocketResponse:
        """Accept a socket, which `cut` will know."""
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self._sockets[socket] = request.transport
        self.changed()
        return socket

    @property
    def sockets(self) -> Sequence[web.WebSocketResponse]:
        """The sockets that are open."""
        self._sockets = {socket: transport for socket, transport in self._sockets.items() if not socket.closed}
        return list(self._sockets)

    async def cut(self) -> int:
        """Break all sockets without a word; returns how many there were."""
        count = len(self.sockets)
        for transport in self._sockets.values():
            if transport is not None:
                transport.abort()
        self._sockets.clear()
        return count

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            response = await handler(request)
        except Ended as ended:
            return ended.response
        if request.get(_HANGS):
            await self.until(lambda: request.transport is None or request.transport.is_closing(), seconds=600)
        return response


async def texts(socket: web.WebSocketResponse) -> AsyncIterator[str]:
    """Yield the text frames of a socket until it ends."""
    async for frame in socket:
        if frame.type == web.WSMsgType.TEXT:
            yield frame.data
