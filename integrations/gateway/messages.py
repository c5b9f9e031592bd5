"""`/v1/messages`: say something, and see what became of it."""

import asyncio
import re
import time
import uuid
from typing import Annotated

from fastapi import APIRouter, Header, Path, Request, Response

from integrations.database import MessageView
from integrations.errors import NotFound
from integrations.gateway.callers import Authenticated, Caller, Guarded
from integrations.gateway.schema import AcceptedMessage, MessageState, NewMessage, message_state
from integrations.gateway.services import Services, Wired
from integrations.messages import Address, InboundMessage

router = APIRouter(tags=["messages"], route_class=Guarded)
MAX_WAIT_SECONDS = 300.0
SAFETY_POLL_SECONDS = 5.0
_WAIT = re.compile(r"(?:^|[,;])\s*wait\s*=\s*\"?(\d{1,6})\"?\s*(?:$|[,;])", re.IGNORECASE)

Preferred = Annotated[str, Header(description="`wait=30` waits that many seconds for the answer.", max_length=200)]
MessageId = Annotated[str, Path(description="As accepting the message told it.", max_length=64)]


@router.post(
    "/v1/messages",
    status_code=202,
    responses={200: {"model": MessageState, "description": "The answer, with `Prefer: wait=…`"}},
)
async def say(
    body: NewMessage,
    request: Request,
    response: Response,
    services: Wired,
    caller: Authenticated,
    prefer: Preferred = "",
) -> AcceptedMessage | MessageState:
    """Accept a message; it is stored when this returns."""
    conversation = body.conversation or str(uuid.uuid4())
    accepted = await services.intake.receive(
        InboundMessage(
            address=Address(channel="rest", conversation=conversation, tenant=services.settings.tenant),
            event_id=body.event_id or str(uuid.uuid4()),
            account=caller.account,
            account_name=caller.principal.name,
            text=body.text,
            traceparent=request.state.traceparent,
        )
    )
    if (seconds := wait_seconds(prefer)) is not None:
        view = await settled(services, accepted.message_id, seconds)
        response.headers["Preference-Applied"] = f"wait={seconds:.0f}"
        response.status_code = 200 if view.status.settled else 202
        return message_state(view, services.settings)
    if accepted.duplicate:
        conversation = (await visible(services, caller, accepted.message_id)).address.conversation
    return AcceptedMessage(
        message_id=accepted.message_id,
        conversation=conversation,
        url=f"/v1/messages/{accepted.message_id}",
        duplicate=accepted.duplicate,
    )


@router.get("/v1/messages/{message_id}")
async def look(message_id: MessageId, services: Wired, caller: Authenticated) -> MessageState:
    """Tell where a message stands, its replies and its receipt."""
    return message_state(await visible(services, caller, message_id), services.settings)


def wait_seconds(prefer: str) -> float | None:
    """Read `wait=N` (RFC 7240), cut to five minutes; None where nothing is preferred."""
    match = _WAIT.search(prefer)
    return min(float(match[1]), MAX_WAIT_SECONDS) if match else None


async def visible(services: Services, caller: Caller, message_id: str) -> MessageView:
    """Return a message of the caller; raise NotFound for others', as for none."""
    try:
        known = str(uuid.UUID(message_id))
    except ValueError:
        known = ""
    view = await asyncio.to_thread(services.database.inbox.get, known) if known else None
    if view is None or view.address.tenant != caller.principal.tenant:
        raise NotFound("There is no such message.")
    if not caller.is_admin and caller.principal.id != view.principal_id:
        raise NotFound("There is no such message.")
    return view


async def settled(services: Services, message_id: str, seconds: float) -> MessageView:
    """Wait until a message has come to its end, or the seconds are over; return it as it then is."""
    until = time.monotonic() + seconds
    with services.hub.settling(message_id) as event:
        while True:
            event.clear()
            view = await asyncio.to_thread(services.database.inbox.get, message_id)
            if view is None:
                raise NotFound("This message was removed while it was waited for.")
            left = until - time.monotonic()
            if view.status.settled or left <= 0:
                return view
            try:
                async with asyncio.timeout(min(left, SAFETY_POLL_SECONDS)):
                    await event.wait()
            except TimeoutError:
                continue  # Look again: the poll behind the notifications.
