"""`/v1/events`: what parked runs wait for."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from integrations.gateway.callers import Authenticated, Guarded
from integrations.gateway.schema import Args, Name, Request
from integrations.gateway.services import Wired

router = APIRouter(tags=["events"], route_class=Guarded)
EventName = Annotated[Name, Path(description="What happened, as the waiting job names it.")]


class NewEvent(Request):
    """Something that has happened."""

    key: Name = Field(description="Which one: what the job waits for, or the id of the run that waits.")
    body: Args = Field(default_factory=dict[str, object], description="What the waiting op gives on.")
    event_id: Name | None = Field(None, description="Repeat it with a repeated request: the event is stored once.")


class SentEvent(BaseModel):
    """The event is stored; a run that waits for it goes on, and one that comes to wait for it finds it."""

    name: str
    key: str
    duplicate: bool


@router.post("/v1/events/{name}", status_code=202)
async def send(name: EventName, body: NewEvent, services: Wired, caller: Authenticated) -> SentEvent:
    """Send an event to whichever run waits, or will wait, for its name and key."""
    sent = await asyncio.to_thread(
        services.database.events.send,
        name,
        body.key,
        body.body,
        tenant=caller.principal.tenant,
        event_id=body.event_id,
    )
    return SentEvent(name=name, key=body.key, duplicate=not sent)
