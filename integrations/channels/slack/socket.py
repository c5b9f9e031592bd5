"""Socket Mode: one connection that `link.Keeper` keeps; Bolt turns envelopes into requests and answers.

The socket is our own and not the SDK's: that one connects again by itself, without end, without saying so, and to the
same address whose ticket may have ended (slack-sdk 3.47.0, socket_mode/aiohttp). What our middleware could not store is
not acknowledged, so that Slack brings it again.
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import aiohttp

from integrations.channels import members
from integrations.channels.frames import read_frame
from integrations.channels.lanes import Lanes
from integrations.channels.link import Alive
from integrations.channels.slack.api import Api, Unclear
from integrations.errors import Unavailable

if TYPE_CHECKING:
    from slack_bolt.app.async_app import AsyncApp

Take = Callable[[Mapping[str, object]], Awaitable[Mapping[str, object] | None]]
PING_SECONDS = 5.0
CONNECT_SECONDS = 15.0
MAX_FRAME = 4 * 1024 * 1024
logger = logging.getLogger(__name__)
_quiet = logging.getLogger(f"{__name__}.bolt")
_quiet.setLevel(logging.CRITICAL)  # At DEBUG it logs what people say.


async def converse(api: Api, app_token: str, take: Take, alive: Alive) -> None:
    """Hold one connection until it ends; raises as `Api.call` does where none comes about."""
    app, url = _app(api, take), await _address(api, app_token)
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, trust_env=True) as session,
            session.ws_connect(url, autoping=False, max_msg_size=MAX_FRAME) as socket,
        ):
            pings, lanes = asyncio.create_task(_ping(socket)), Lanes(_unhandled)
            try:
                await _read(socket, app, lanes, alive)
            finally:
                pings.cancel()
                await asyncio.gather(pings, lanes.end(), return_exceptions=True)
    except aiohttp.ClientError as error:
        # Its text holds the address, and that a ticket.
        raise Unavailable(f"Slack's socket broke: {type(error).__name__}.") from error


async def _address(api: Api, app_token: str) -> str:
    app = Api(app_token, api.base_url)
    try:
        return str((await app.call("apps.connections.open", {}))["url"])
    except Unclear as error:
        raise Unavailable(str(error)) from error


async def _read(socket: aiohttp.ClientWebSocketResponse, app: "AsyncApp", lanes: Lanes, alive: Alive) -> None:
    """Take frames until the connection ends, or until Slack announces that it will."""
    async for frame in socket:
        alive()
        if frame.type == aiohttp.WSMsgType.PING:
            await socket.pong(frame.data)
        if frame.type != aiohttp.WSMsgType.TEXT:
            continue
        envelope = read_frame(frame.data, "slack", limit=MAX_FRAME)
        if envelope.get("type") == "disconnect":
            return
        if members.text(envelope, "envelope_id"):
            # Commands and buttons have three seconds, and no event: nothing goes before them.
            event = members.table(members.table(envelope, "payload"), "event")
            await lanes.put(members.text(event, "channel"), partial(_handle, socket, app, dict(envelope)))


def _unhandled(error: BaseException) -> None:
    logger.error("an envelope of Slack's could not be handled", exc_info=error)


async def _handle(socket: aiohttp.ClientWebSocketResponse, app: "AsyncApp", envelope: dict[str, Any]) -> None:
    """Pass one envelope on and acknowledge it, once it is stored."""
    from slack_bolt.adapter.socket_mode.async_internals import run_async_bolt_app
    from slack_sdk.socket_mode.request import SocketModeRequest

    try:
        request = SocketModeRequest.from_dict(envelope)
        if request is None:
            return
        response = await run_async_bolt_app(app, request)
    except (AttributeError, TypeError, KeyError, ValueError) as error:
        # Bolt looks into a payload before anybody could check it.
        logger.warning("an envelope can't be read", extra={"channel": "slack", "error": type(error).__name__})
        return
    if response.status != 200:
        return
    answer: dict[str, object] = {"envelope_id": envelope["envelope_id"]}
    if response.body:
        answer["payload"] = json.loads(response.body)
    try:
        await socket.send_json(answer)
    except (aiohttp.ClientError, ConnectionError):
        _quiet.debug("an acknowledgement came too late for its connection")


async def _ping(socket: aiohttp.ClientWebSocketResponse) -> None:
    """Ask for signs of life; when none come, the keeper ends the connection."""
    while not socket.closed:
        try:
            await socket.ping()
        except (aiohttp.ClientError, ConnectionError):
            return
        await asyncio.sleep(PING_SECONDS)


def _app(api: Api, take: Take) -> "AsyncApp":
    """Return a Bolt app whose only middleware stores; what it raises becomes a status other than 200."""
    from slack_bolt.app.async_app import AsyncApp
    from slack_bolt.authorization import AuthorizeResult
    from slack_bolt.response import BoltResponse

    async def authorize() -> AuthorizeResult:
        return AuthorizeResult(enterprise_id=None, team_id=None, bot_token=api.token)

    async def store(body: dict[str, object]) -> BoltResponse:
        answer = await take(body)
        return BoltResponse(status=200, body=cast("dict[str, Any]", dict(answer)) if answer else "")

    app = AsyncApp(
        client=api.client,
        authorize=authorize,
        logger=_quiet,
        process_before_response=True,
        request_verification_enabled=False,
    )
    app.middleware(store)
    return app
