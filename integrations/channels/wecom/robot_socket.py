"""The intelligent robot's long connection: it subscribes, beats, takes callbacks, and learns what became of its words.

We speak it ourselves over aiohttp: wecom-aibot-python-sdk (1.0.2) ends without a word after a clean close, gives up
after ten attempts, and can't reach an address without TLS. Every frame of ours is answered under its `req_id` with an
errcode, within five seconds in that SDK. Whether callbacks that we miss are sent again is not documented [U], nor how
many connections one robot may hold; a newer one displaces this one, which is told so.
(developer.work.weixin.qq.com/document/path/101463)
"""

import asyncio
import json
import logging
import uuid
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field

import aiohttp

from integrations.channels.frames import read_frame
from integrations.channels.http import Lost
from integrations.channels.lanes import Lanes
from integrations.channels.link import Alive
from integrations.channels.members import Json, table, text
from integrations.errors import Misconfigured, RateLimited, Rejected, Unavailable

logger = logging.getLogger(__name__)
MESSAGE, EVENT = "aibot_msg_callback", "aibot_event_callback"
PING_SECONDS, SILENCE_SECONDS, ACK_SECONDS, CONNECT_SECONDS, CLOSE_SECONDS = 30.0, 75.0, 5.0, 15.0, 0.5
LIMITED_SECONDS = 5.0
LIMITED = frozenset({45009, 45011, 45033})
BUSY = frozenset({-1, 6000})
MAX_FRAME = 4 * 1024 * 1024
Handle = Callable[["Line", str, Json], Awaitable[object]]
"""Take a callback: the connection, the request id to answer under, the body."""


class Line:
    """One open connection."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._waiting: dict[str, deque[asyncio.Future[Json]]] = defaultdict(deque)

    @property
    def open(self) -> bool:
        """Whether it can still carry something."""
        return not self._socket.closed

    async def call(self, command: str, body: Json | None = None, request_id: str = "") -> Json:
        """Send a frame, wait until it is taken, and return what came back with that.

        Raises Unavailable where it was not sent, RateLimited or Rejected as it was refused, Lost where nobody knows.
        """
        request = request_id or f"{command}_{uuid.uuid4().hex}"
        frame = {"cmd": command, "headers": {"req_id": request}} | ({} if body is None else {"body": body})
        answer = asyncio.get_running_loop().create_future()
        self._waiting[request].append(answer)
        try:
            if self._socket.closed:
                raise Unavailable("The robot's connection is not there.")
            await self._socket.send_str(json.dumps(frame, ensure_ascii=False))
            async with asyncio.timeout(ACK_SECONDS):
                taken = await answer
            check(taken)
        except (TimeoutError, aiohttp.ClientError, ConnectionError) as error:
            raise Lost(f"WeCom did not confirm it ({type(error).__name__}).") from None
        finally:
            self._forget(request, answer)
        return table(taken, "body")

    def answered(self, frame: Json) -> None:
        """Pass on what came back."""
        waiting = self._waiting.get(text(table(frame, "headers"), "req_id"))
        if waiting and not waiting[0].done():
            waiting.popleft().set_result(frame)

    def broken(self) -> None:
        """Tell all that wait that nothing more comes."""
        for waiting in self._waiting.values():
            for answer in waiting:
                if not answer.done():
                    answer.set_exception(ConnectionError("closed"))

    def _forget(self, request: str, answer: "asyncio.Future[Json]") -> None:
        waiting = self._waiting.get(request)
        if waiting is not None and answer in waiting:
            waiting.remove(answer)
        if not waiting:
            self._waiting.pop(request, None)
        answer.cancel()


@dataclass(frozen=True, slots=True)
class Account:
    """The robot, and where it connects."""

    url: str
    bot_id: str
    secret: str = field(repr=False)


async def converse(account: Account, begin: Callable[[Line], None], handle: Handle, alive: Alive) -> None:
    """Hold one connection until it ends; `begin` gets it once it is subscribed.

    Raises Misconfigured where the robot is refused.
    """
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)
    closing = aiohttp.ClientWSTimeout(ws_close=CLOSE_SECONDS)  # pyright: ignore[reportCallIssue] - attrs
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, trust_env=True) as http,
            http.ws_connect(account.url, max_msg_size=MAX_FRAME, timeout=closing) as socket,
        ):
            await _talk(socket, handle, lambda line: _live(line, account, begin, alive))
    except aiohttp.ClientError as error:
        raise Unavailable(f"WeCom's connection can't be had ({type(error).__name__}).", after=0.0) from None


async def probe(account: Account) -> None:
    """Connect, subscribe and leave; raises as `converse` does."""

    async def unheard(_: Line, __: str, ___: Json) -> None:
        logger.info("a callback came during a check", extra={"channel": "wecom-robot"})

    def enough(_: Line) -> None:
        raise _Enough

    try:
        await converse(account, enough, unheard, lambda: None)
    except _Enough:
        return


class _Enough(Exception):
    """The subscription was accepted."""


async def _talk(
    socket: aiohttp.ClientWebSocketResponse, handle: Handle, live: Callable[[Line], Coroutine[object, object, None]]
) -> None:
    line = Line(socket)
    ended: list[BaseException] = []

    def failed(error: BaseException) -> None:
        ended.append(error)
        closing.append(asyncio.create_task(socket.close()))

    closing: list[asyncio.Task[bool]] = []
    lanes = Lanes(failed)
    life = asyncio.create_task(live(line))
    life.add_done_callback(lambda done: _died(done, failed))
    try:
        async for raw in socket:
            frame = read_frame(raw.data, "wecom-robot", limit=MAX_FRAME)
            if text(frame, "cmd") in (MESSAGE, EVENT):
                body, request = table(frame, "body"), text(table(frame, "headers"), "req_id")
                lane = text(body, "chatid") or text(table(body, "from"), "userid")
                # A button and a greeting have five seconds, so nothing goes before them.
                await lanes.put(
                    "" if text(frame, "cmd") == EVENT else lane,
                    lambda request=request, body=body: handle(line, request, body),
                )
            else:
                line.answered(frame)
    finally:
        line.broken()
        life.cancel()
        await asyncio.gather(life, *closing, return_exceptions=True)
        await lanes.end()
    raise ended[0] if ended else Unavailable("WeCom closed the connection.", after=0.0)


async def subscribe(line: Line, account: Account) -> None:
    """Say who we are; raises Misconfigured where that is refused."""
    try:
        await line.call("aibot_subscribe", {"bot_id": account.bot_id, "secret": account.secret})
    except Rejected as error:
        raise Misconfigured(f"{error} Look at bot_id and bot_secret, and switch the robot's API mode on.") from None


async def _live(line: Line, account: Account, begin: Callable[[Line], None], alive: Alive) -> None:
    """Subscribe, then beat; every answer is a sign of life."""
    await subscribe(line, account)
    begin(line)
    while True:
        alive()
        await asyncio.sleep(PING_SECONDS)
        await line.call("ping")


def check(frame: Json) -> None:
    """Raise what an errcode means; a frame without one is fine."""
    code = frame.get("errcode", 0)
    if code == 0:
        return
    if code in LIMITED:
        raise RateLimited(f"WeCom's limit is reached ({code}).", after=LIMITED_SECONDS)
    if code in BUSY:
        raise Unavailable(f"WeCom is busy ({code}).", after=2.0)
    raise Rejected(f"WeCom refused ({code}): {text(frame, 'errmsg')[:200]}.")


def _died(life: "asyncio.Task[None]", failed: Callable[[BaseException], None]) -> None:
    if not life.cancelled() and (error := life.exception()) is not None:
        failed(Unavailable(str(error), after=0.0) if isinstance(error, Lost) else error)
