"""Stream mode with dingtalk-stream, of which we keep the routing and replace what hurts (0.24.3).

Its `start` reconnects without a pause and swallows cancellation: `converse` and `link.Keeper` take its place. Its
`open_connection` blocks the loop without an end: `Api.open_stream`. Its events are acknowledged with their own data
instead of SUCCESS: `verify.acknowledge`. It acknowledges when the handler returns, which is just right for us: ours
returns once the message is stored. DingTalk pushes a robot's message once only, so a full inbox is waited for.
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, cast
from urllib.parse import quote_plus

from integrations.channels.dingtalk.api import Api
from integrations.channels.dingtalk.verify import BOT_TOPIC, acknowledge
from integrations.channels.frames import read_frame
from integrations.channels.lanes import Lanes
from integrations.channels.link import Alive
from integrations.errors import TemporaryError

logger = logging.getLogger(__name__)
CARD_TOPIC = "/v1.0/card/instances/callback"
PING_SECONDS = 20.0
SILENCE_SECONDS = 70.0
AT_ONCE = 2000  # More than elsewhere: what waits for a full inbox would not come again.
PATIENCE_SECONDS = 600.0
MAX_FRAME = 4 * 1024 * 1024
Take = Callable[[str, Mapping[str, Any], str], Awaitable[None]]


async def converse(api: Api, take: Take, alive: Alive) -> None:
    """Hold one connection until it ends. `take(topic, data, message id)` returns once a message is stored."""
    import websockets

    sdk = _client(api, take)
    topics = [{"type": "CALLBACK", "topic": topic} for topic in (BOT_TOPIC, CARD_TOPIC)]
    endpoint, ticket = await api.open_stream([{"type": "EVENT", "topic": "*"}, *topics])
    url = f"{endpoint}?ticket={quote_plus(ticket)}"
    async with websockets.connect(url, ping_interval=None, max_size=MAX_FRAME, open_timeout=10) as socket:
        sdk.websocket = socket
        alive()
        beat, lanes = asyncio.create_task(_beat(socket, alive)), Lanes(_unhandled, AT_ONCE)
        try:
            async for raw in socket:
                alive()
                frame = read_frame(raw, "dingtalk", limit=MAX_FRAME)
                if frame.get("type") == "SYSTEM" and _topic(frame) == "disconnect":
                    return
                if frame:
                    # Order is kept behind: the channel knows conversations.
                    await lanes.put("", partial(sdk.route_message, frame))
        finally:
            beat.cancel()
            await asyncio.gather(beat, lanes.end(), return_exceptions=True)


def _unhandled(error: BaseException) -> None:
    logger.warning("a frame of DingTalk was not handled: %s: %s", type(error).__name__, error)


async def _beat(socket: Any, alive: Alive) -> None:  # noqa: ANN401
    while True:
        await asyncio.sleep(PING_SECONDS)
        await asyncio.wait_for(await socket.ping(), PING_SECONDS)
        alive()


def _client(api: Api, take: Take) -> Any:  # noqa: ANN401
    """Return the SDK's client with our handlers in it."""
    import dingtalk_stream  # pyright: ignore[reportMissingTypeStubs]

    quiet = logging.getLogger("dingtalk_stream.runbell")
    quiet.setLevel(logging.CRITICAL)  # It writes whole messages, and tickets, into the log.
    sdk: Any = dingtalk_stream.DingTalkStreamClient(
        dingtalk_stream.Credential(api.app.key, api.app.secret.get_secret_value()), logger=quiet
    )

    class Callbacks(dingtalk_stream.CallbackHandler):
        async def raw_process(self, callback_message: Any) -> Any:  # noqa: ANN401
            head = callback_message.headers
            await _patiently(lambda: take(head.topic, callback_message.data, head.message_id))
            return _Ack("CALLBACK", head.topic, head.message_id)

    class Events(dingtalk_stream.EventHandler):
        async def raw_process(self, event_message: Any) -> Any:  # noqa: ANN401
            return _Ack("EVENT", event_message.headers.topic, event_message.headers.message_id)

    class System(dingtalk_stream.SystemHandler):
        async def raw_process(self, system_message: Any) -> Any:  # noqa: ANN401
            head = system_message.headers
            return _Ack("SYSTEM", head.topic, head.message_id, json.dumps(system_message.data or {}))

    for topic in (BOT_TOPIC, CARD_TOPIC):
        sdk.register_callback_handler(topic, Callbacks())
    sdk.register_all_event_handler(Events())
    sdk.system_handler = System()
    return sdk


class _Ack:
    """What the SDK sends back."""

    def __init__(self, kind: str, topic: str, message_id: str, data: str = "") -> None:
        self._frame = {"type": kind, "headers": {"topic": topic, "messageId": message_id}, "data": data}

    def to_dict(self) -> Mapping[str, object] | None:
        return acknowledge(self._frame)


async def _patiently(store: Callable[[], Awaitable[None]]) -> None:
    """Try again for a while where the inbox is full or away: DingTalk would not."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            try:
                return await store()
            except TemporaryError as error:
                await asyncio.sleep(error.after)


def _topic(frame: Mapping[str, Any]) -> object:
    head = frame.get("headers")
    return cast("Mapping[str, Any]", head).get("topic") if isinstance(head, dict) else None
