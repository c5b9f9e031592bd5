"""`WS /v1/chat`: one conversation, live. What is sent when: `view.py`; the frames: ARCHITECTURE.md, "Chat socket".

Two tasks serve a socket: one reads what the client says, the other writes news. A client that reads too slowly
holds up only its own writer, whose queue is bounded; one that doesn't read at all is disconnected.
"""

import asyncio
import json
import logging
from typing import Any

from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from pydantic import ValidationError

from integrations.complaints import in_words, named
from integrations.errors import InvalidInput, RunbellError, Unauthorized
from integrations.gateway.callers import Caller, is_own_origin
from integrations.gateway.frames import Fill, Hello, Say, event_id_of, parse
from integrations.gateway.metrics import SOCKETS
from integrations.gateway.services import Services
from integrations.gateway.sessions import COOKIE
from integrations.gateway.view import View
from integrations.messages import Address, InboundMessage
from integrations.security.text import check_name
from integrations.telemetry import new_traceparent

logger = logging.getLogger(__name__)
router = APIRouter()
CHANNELS = {"web", "terminal"}
HELLO_SECONDS = 10.0
SEND_SECONDS = 20.0
MAX_SOCKETS = 2000
# Application close codes: 4401 says who you are is not proven, 4400 that the address makes no sense.
UNAUTHORIZED, BAD_REQUEST, TRY_LATER = 4401, 4400, 1013


class Socket:
    """Sends frames; a client that takes none for 20 s counts as gone."""

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket

    async def send(self, frame: dict[str, Any]) -> None:
        """Send one frame."""
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await self._websocket.send_text(json.dumps(frame, ensure_ascii=False))
        except (TimeoutError, RuntimeError, OSError) as error:
            raise WebSocketDisconnect(1001, "the client does not read") from error

    async def problem(self, title: str, detail: str, event_id: str | None = None, **more: str) -> None:
        """Tell what went wrong."""
        frame = {"type": "problem", "title": title, "detail": detail, **more}
        await self.send({**frame, "event_id": event_id} if event_id else frame)


@router.websocket("/v1/chat")
async def chat(websocket: WebSocket) -> None:
    """Serve one socket until either side leaves."""
    services: Services = websocket.app.state.services
    if not is_own_origin(services, websocket.headers):
        await websocket.close(UNAUTHORIZED)  # Before accepting: the handshake is answered 403.
        return
    await websocket.accept()
    open_sockets: set[WebSocket] = websocket.app.state.sockets
    if len(open_sockets) >= MAX_SOCKETS:
        await websocket.close(TRY_LATER, "too many sockets are open")
        return
    open_sockets.add(websocket)
    SOCKETS.inc()
    try:
        await _serve(websocket, services)
    except WebSocketDisconnect:
        return
    finally:
        open_sockets.discard(websocket)
        SOCKETS.dec()


async def _serve(websocket: WebSocket, services: Services) -> None:
    socket = Socket(websocket)
    try:
        address = _address(websocket, services)
        hello = await _hello(websocket, services)
        caller = Caller(await services.owner.get(), "owner")
    except RunbellError as error:
        await socket.problem("Can't open this chat", str(error))
        await websocket.close(UNAUTHORIZED if isinstance(error, Unauthorized) else BAD_REQUEST)
        return
    view = View(services, address, socket.send)
    talk = _Talk(socket, services, address, caller)
    try:
        async with asyncio.TaskGroup() as group:
            writer = group.create_task(view.run(hello.after, _ready(address, caller)))
            await talk.read(websocket)
            writer.cancel()
    except* WebSocketDisconnect:
        pass  # Gone: its view ends with it.
    except* RunbellError as errors:
        # The database is away: the client connects again and catches up.
        logger.warning("a chat socket broke off", extra={"error": str(errors.exceptions[0])})
        await websocket.close(TRY_LATER, "not available now; connect again")


def _address(websocket: WebSocket, services: Services) -> Address:
    query = websocket.query_params
    channel, conversation = query.get("channel", "web"), query.get("conversation", "")
    if channel not in CHANNELS:
        raise InvalidInput(f"channel must be one of {', '.join(sorted(CHANNELS))}.", field="channel")
    if len(conversation) > 200:
        raise InvalidInput("conversation may have 200 characters at most.", field="conversation")
    check_name(conversation, field="conversation")
    return Address(channel=channel, conversation=conversation, tenant=services.settings.tenant)


async def _hello(websocket: WebSocket, services: Services) -> Hello:
    """Take the first frame, and be sure of who sent it."""
    try:
        async with asyncio.timeout(HELLO_SECONDS):
            hello = parse(await websocket.receive_text())
    except (TimeoutError, ValidationError, KeyError) as error:
        raise InvalidInput('The first frame must be {"type": "hello", "token": …, "after": 0}.') from error
    if not isinstance(hello, Hello):
        raise InvalidInput('The first frame must be {"type": "hello", …}.')
    if hello.token is not None and services.keys.is_token(hello.token):
        return hello
    if hello.token is None and services.keys.is_session(websocket.cookies.get(COOKIE, "")):
        return hello
    raise Unauthorized("Open the page by the link that `runbell up` prints, or send the token of RUNBELL_HOME/token.")


def _ready(address: Address, caller: Caller) -> dict[str, Any]:
    who = {"id": caller.principal.id, "name": caller.principal.name}
    return {"type": "ready", "conversation": address.conversation, "principal": who, "version": 1}


class _Talk:
    """What the client says."""

    def __init__(self, socket: Socket, services: Services, address: Address, caller: Caller) -> None:
        self._socket = socket
        self._services = services
        self._address = address
        self._caller = caller

    async def read(self, websocket: WebSocket) -> None:
        """Read until the client leaves."""
        while True:
            text = ""
            try:
                text = await websocket.receive_text()
                frame = parse(text)
            except KeyError:
                await self._socket.problem("Invalid frame", "Frames are JSON texts, not bytes.")
            except ValidationError as error:
                first = error.errors(include_input=False, include_url=False)[0]
                where = named(first, inside=1) or "frame"
                await self._socket.problem("Invalid frame", f"{where}: {in_words(first)}", event_id_of(text))
            else:
                match frame:
                    case Say():
                        await self._receive(self._said(frame))
                    case Fill():
                        await self._fill(frame)
                    case Hello():
                        await self._socket.problem("Invalid frame", "hello was said already.")
                    case _:
                        await self._socket.send({"type": "pong"})

    def _said(self, frame: Say | Fill, **more: object) -> InboundMessage:
        return InboundMessage.model_validate(
            {
                "address": self._address,
                "event_id": frame.event_id,
                "account": self._caller.account,
                "account_name": self._caller.principal.name,
                "text": frame.text if isinstance(frame, Say) else "",
                "traceparent": new_traceparent(),
                **more,
            }
        )

    async def _fill(self, frame: Fill) -> None:
        """Take a form while it waits; whoever works on it looks once more, in turn."""
        questions, principal = self._services.database.questions, self._caller.principal.id
        pending = await asyncio.to_thread(questions.open, self._address, principal)
        if pending is None or pending.form != frame.form:
            detail = "It is closed: it was answered, taken back or replaced, or its time is over. Nothing was done."
            await self._socket.problem("The form was not accepted", detail, frame.event_id, form=frame.form)
            return
        filled = {"command": pending.command, "args": {**pending.args, **frame.values}}
        back = {"text": "/停止" if pending.language == "zh" else "/stop"}
        said = self._said(frame, kind="form", subject=frame.form, **(back if frame.cancel else filled))
        await self._receive(said)

    async def _receive(self, message: InboundMessage) -> None:
        try:
            accepted = await self._services.intake.receive(message)
        except RunbellError as error:
            await self._socket.problem("The message was not accepted", str(error), message.event_id)
        else:
            told = {"type": "accepted", "event_id": message.event_id, "message_id": accepted.message_id}
            await self._socket.send(told)
            if accepted.duplicate:
                await self._tell_end(accepted.message_id)

    async def _tell_end(self, message_id: str) -> None:
        """Tell a client that sends again what it missed: the end may have come while it was away."""
        view = await asyncio.to_thread(self._services.database.inbox.get, message_id)
        if view is not None and view.status.settled:
            told = {"type": "settled", "message_id": message_id, "status": view.status.value}
            await self._socket.send(told)
