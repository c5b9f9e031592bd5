"""Feishu's long connection: frames over a WebSocket, acknowledged once their event is stored, 3 s at the most.

We speak it ourselves: lark-oapi 1.7.5 holds websockets below 16 for the whole platform, takes its event loop when it
is imported, has no way to stop, and reconnects on its own. Long events come in parts that belong together by `sum`
and `seq`. What is not acknowledged with 200 is pushed again.
"""

import asyncio
import base64
import json
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any
from urllib.parse import parse_qs, urlsplit

from integrations.channels.feishu.api import Api
from integrations.channels.feishu.frames import CONTROL, DATA, Frame, decode, encode
from integrations.channels.lanes import Lanes
from integrations.channels.link import Alive
from integrations.channels.members import table, text
from integrations.errors import InvalidInput, Rejected, RunbellError
from integrations.security.documents import Document, read_json

logger = logging.getLogger(__name__)
HOSTS = (".feishu.cn", ".larksuite.com")
LONGEST_PING_SECONDS = 30.0
SILENCE_SECONDS = 90.0
MAX_FRAME = 4 * 1024 * 1024
MAX_PARTS = 64
MAX_OPEN = 100
Handle = Callable[[Document], Awaitable[Mapping[str, object]]]


async def converse(api: Api, handle: Handle, alive: Alive) -> None:
    """Hold one connection until it ends. `handle` returns once an event is stored, with what Feishu is told."""
    import websockets

    found = await api.endpoint()
    url = checked(str(found.get("URL") or ""), local=api.local)
    service = int((parse_qs(urlsplit(url).query).get("service_id") or ["0"])[0])
    config: Mapping[str, Any] = found.get("ClientConfig") or {}
    pause = min(float(config.get("PingInterval") or LONGEST_PING_SECONDS), LONGEST_PING_SECONDS)
    async with websockets.connect(url, ping_interval=None, max_size=MAX_FRAME, open_timeout=10) as socket:
        alive()
        beat, lanes = asyncio.create_task(_beat(socket, service, pause)), Lanes(_unhandled)
        parts = Parts()
        try:
            async for raw in socket:
                alive()
                frame = _frame(raw)
                payload = parts.join(frame) if frame is not None and frame.method == DATA else None
                if frame is None or payload is None or frame.headers.get("type") != "event":
                    continue
                event = read_event(payload)
                await lanes.put(lane_of(event), partial(_answer, socket, frame, event, handle))
        finally:
            beat.cancel()
            await asyncio.gather(beat, lanes.end(), return_exceptions=True)


def checked(url: str, *, local: bool) -> str:
    """Return the address of a connection if it leads to Feishu or Lark; raise Rejected otherwise."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if local and host in ("127.0.0.1", "::1", "localhost"):
        return url
    if parts.scheme != "wss" or "@" in parts.netloc or not any(host.endswith(end) for end in HOSTS):
        raise Rejected("The address of the long connection does not lead to Feishu.")
    return url


class Parts:
    """Joins the parts of long events; only so many may be incomplete at a time."""

    def __init__(self) -> None:
        self._open: OrderedDict[str, dict[int, bytes]] = OrderedDict()

    def join(self, frame: Frame) -> bytes | None:
        """Return the whole payload once all its parts are there."""
        total, number = _number(frame, "sum"), _number(frame, "seq")
        if total <= 1:
            return frame.payload
        if total > MAX_PARTS or number >= total:
            return None
        key = frame.headers.get("message_id", "")
        parts = self._open.setdefault(key, {})
        parts[number] = frame.payload
        if len(parts) == total:
            del self._open[key]
            return b"".join(parts[index] for index in range(total))
        while len(self._open) > MAX_OPEN:
            self._open.popitem(last=False)
        return None


def read_event(payload: bytes) -> Document | None:
    """Return what a payload says; None where it can't be read, which the log tells."""
    try:
        return read_json(payload, limit=MAX_FRAME)
    except InvalidInput as error:
        logger.warning("an event of Feishu can't be read", extra={"error": str(error)})
        return None


def lane_of(event: Document | None) -> str:
    """Return the chat whose order an event keeps; a blank one for buttons, which wait for nobody."""
    return text(table(table(event or {}, "event"), "message"), "chat_id")


async def _answer(socket: Any, frame: Frame, event: Document | None, handle: Handle) -> None:  # noqa: ANN401
    """Store an event and acknowledge it; what can't be read is acknowledged too, since it would never get better."""
    answer: dict[str, object] = {"code": 200, "headers": {}}
    try:
        if event is not None and (told := await handle(event)):
            answer["data"] = base64.b64encode(json.dumps(told).encode()).decode()
    except InvalidInput as error:
        logger.warning("an event of Feishu can't be read", extra={"error": str(error)})
    except RunbellError as error:
        logger.info("an event of Feishu could not be stored", extra={"error": str(error)})
        answer = {"code": 500, "headers": {}}
    frame.payload = json.dumps(answer).encode()
    await socket.send(encode(frame))


def _unhandled(error: BaseException) -> None:
    from websockets.exceptions import ConnectionClosed

    if not isinstance(error, ConnectionClosed):  # An acknowledgement came too late for its connection.
        logger.error("an event of Feishu could not be handled", exc_info=error)


async def _beat(socket: Any, service: int, pause: float) -> None:  # noqa: ANN401
    while True:
        await socket.send(encode(Frame(CONTROL, service, headers={"type": "ping"})))
        await asyncio.sleep(pause)


def _frame(raw: str | bytes) -> Frame | None:
    try:
        return decode(raw) if isinstance(raw, bytes) else None
    except InvalidInput as error:
        logger.warning("Feishu sent no frame: %s", error)
        return None


def _number(frame: Frame, name: str) -> int:
    value = frame.headers.get(name, "0")
    return int(value) if value.isascii() and value.isdigit() and len(value) < 6 else 0
