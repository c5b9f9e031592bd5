"""`/v1/runs` and `/v1/commands`: start a command, follow and cancel its run."""

import asyncio
import re
import time
import uuid
from typing import Annotated, Any, cast

from fastapi import APIRouter, Path, Request, Response

from integrations.access import Refused, may
from integrations.database import MessageView, QueuedRun, StoredCommand
from integrations.errors import Forbidden, InvalidInput, LeaseLost, NotFound, Unavailable
from integrations.gateway.callbacks import check_address
from integrations.gateway.callers import Authenticated, Caller, Guarded
from integrations.gateway.messages import Preferred, settled, visible, wait_seconds
from integrations.gateway.schema import (
    AcceptedRun,
    Cancelled,
    Commands,
    CommandView,
    NewRun,
    RunState,
    message_state,
)
from integrations.gateway.services import Services, Wired
from integrations.messages import Address, InboundMessage, MessageStatus, OutboundMessage, run_id_for
from integrations.near import near

router = APIRouter(tags=["runs"], route_class=Guarded)
END_POLL_SECONDS = 0.05
_RUN_ID = re.compile(r"[0-9A-Za-z-]{1,64}")
RunId = Annotated[str, Path(description="The run's id, the same as in the Dagster UI.", max_length=64)]


@router.get("/v1/commands", response_model_by_alias=True)
async def commands(services: Wired, caller: Authenticated) -> Commands:
    """List the commands that the caller may run."""
    found = await asyncio.to_thread(services.database.commands.all)
    mine = [command for command in found if may(caller.principal, command, services.settings.access)]
    return Commands(commands=[_shown(command) for command in mine if not command.spec.get("hidden")])


@router.post(
    "/v1/runs",
    status_code=202,
    responses={200: {"model": RunState, "description": "The run and its answer, with `Prefer: wait=…`"}},
)
async def start(
    body: NewRun, request: Request, response: Response, services: Wired, caller: Authenticated, prefer: Preferred = ""
) -> AcceptedRun | RunState:
    """Start a command; its message is stored when this returns.

    Values are checked by the command's worker: one of the wrong type is refused (422) after waiting, or told by the
    message's reply where `url` is followed.
    """
    if body.callback_url is not None:
        await asyncio.to_thread(check_address, body.callback_url, services.settings)
    name = await _check(services, caller, body)
    accepted = await _receive(
        request,
        services,
        caller,
        command=name,
        args=body.args,
        event_id=body.event_id,
        callback_url=body.callback_url,
    )
    if (seconds := wait_seconds(prefer)) is None:
        return accepted
    view = await _ended(services, accepted.message_id, seconds)
    response.headers["Preference-Applied"] = f"wait={seconds:.0f}"
    response.status_code = 200 if view.status.settled else 202
    return await _state(services, caller, accepted.run_id, accepted.message_id)


@router.get("/v1/runs/{run_id}")
async def follow(run_id: RunId, services: Wired, caller: Authenticated) -> RunState:
    """Tell where a run stands, with its message's status and replies."""
    return await _state(services, caller, run_id, None)


@router.post("/v1/runs/{run_id}/cancel", status_code=202)
async def cancel(run_id: RunId, services: Wired, caller: Authenticated) -> Cancelled:
    """Cancel a run: one that nobody has begun ends here, another when its worker hears of it."""
    state = await _state(services, caller, run_id, None)
    if state.state == "finished":
        raise LeaseLost("This run has ended already.")
    if await asyncio.to_thread(services.database.runs.request_cancel, run_id):
        return Cancelled(run_id=run_id, state="requested")
    if state.message is None or not await asyncio.to_thread(_end, services, state.message.message_id):
        raise LeaseLost("This run has ended already.")
    return Cancelled(run_id=run_id, state="cancelled")


@router.post("/v1/runs/{run_id}/retry", status_code=202)
async def retry(run_id: RunId, request: Request, services: Wired, caller: Authenticated) -> AcceptedRun:
    """Go on with a failed run where it failed, under a new id: what has succeeded is not executed again."""
    state = await _state(services, caller, run_id, None)
    # Answered is ended, also where the queue learns it a moment later.
    if not (state.message.status.settled if state.message is not None else state.state == "finished"):
        raise LeaseLost("This run has not ended yet.")
    if state.message is not None and state.message.status is MessageStatus.ANSWERED:
        raise LeaseLost("This run has succeeded; there is nothing to retry.")
    return await _receive(request, services, caller, command="retry", args={"run": run_id})


async def _receive(
    request: Request,
    services: Services,
    caller: Caller,
    *,
    command: str,
    args: dict[str, object],
    event_id: str | None = None,
    callback_url: str | None = None,
) -> AcceptedRun:
    event_id = event_id or str(uuid.uuid4())
    accepted = await services.intake.receive(
        InboundMessage(
            # Runs wait for each other only within a conversation, so each gets its own.
            address=Address(channel="rest", conversation=f"run-{event_id}"[:200], tenant=services.settings.tenant),
            event_id=event_id,
            account=caller.account,
            account_name=caller.principal.name,
            command=command,
            args=args,
            callback_url=callback_url,
            traceparent=request.state.traceparent,
        )
    )
    run_id = run_id_for(accepted.message_id)
    return AcceptedRun(
        run_id=run_id,
        run_url=services.settings.run_url(run_id),
        message_id=accepted.message_id,
        url=f"/v1/runs/{run_id}",
        duplicate=accepted.duplicate,
    )


def _end(services: Services, message_id: str) -> bool:
    """Settle a message that no worker has claimed yet; False where one was quicker."""
    view = services.database.inbox.get(message_id)
    if view is None:
        return False
    reply = OutboundMessage(address=view.address, text="⏹ Cancelled before it began.", message_id=message_id)
    return services.database.inbox.answer(
        message_id, [reply], status=MessageStatus.FAILED, error="cancelled before it began"
    )


async def _ended(services: Services, message_id: str, seconds: float) -> MessageView:
    """Wait for the message's end and its run's; raise InvalidInput where it was refused, so that no run ever was."""
    until = time.monotonic() + seconds
    view = await settled(services, message_id, seconds)
    if not view.status.settled:
        return view
    if view.run_id is None:
        said = "\n".join(reply.text for reply in view.replies)
        raise InvalidInput(said or view.error or "No run was made.")
    # The answer is written before the run ends, mostly a moment; the end is told to nobody, so it is asked for.
    while time.monotonic() < until:
        run = await asyncio.to_thread(services.database.runs.get, view.run_id)
        if run is None or run.state != "running":
            break
        await asyncio.sleep(END_POLL_SECONDS)
    return view


async def _state(services: Services, caller: Caller, run_id: str, message_id: str | None) -> RunState:
    if not _RUN_ID.fullmatch(run_id):
        raise NotFound("There is no such run.")
    run = await asyncio.to_thread(services.database.runs.get, run_id)
    if run is not None and not _may_see(caller, run):
        run = message_id = None
    if run is None and message_id is None:
        message_id = await asyncio.to_thread(services.figures.without_run, caller.principal.tenant, run_id)
    elif run is not None:
        message_id = run.message_id
    if run is None and message_id is None:
        raise NotFound("There is no such run here; the Dagster UI may know it.")
    view = await visible(services, caller, message_id) if message_id else None
    return _shown_run(services, run_id, run, view)


def _shown_run(services: Services, run_id: str, run: QueuedRun | None, view: MessageView | None) -> RunState:
    ended = view is not None and view.status.settled
    state: Any = run.state if run else "finished" if ended else "waiting"
    never = run is None and view is not None and ended and view.run_id is None
    return RunState(
        run_id=run_id,
        run_url=None if never else services.settings.run_url(run_id),
        state=state,
        job=run.job if run else None,
        location=run.location if run else None,
        created_at=run.created_at if run else None,
        cancel_requested=run.cancel_requested if run else False,
        message=message_state(view, services.settings) if view else None,
    )


def _may_see(caller: Caller, run: QueuedRun) -> bool:
    return caller.is_admin or run.principal_id == caller.principal.id


async def _check(services: Services, caller: Caller, body: NewRun) -> str:
    """Return the command's own name; raise InvalidInput for what can be seen to be wrong without its code."""
    known = await asyncio.to_thread(services.database.commands.all)
    if not known:
        raise Unavailable("No commands are known yet: workers publish them when they start.", after=2.0)
    names = {alias: command for command in known for alias in (command.name, *_texts(command.spec, "aliases"))}
    command = names.get(body.command)
    if command is None:
        meant = near(body.command, names, most=3)
        hint = f" Did you mean {' or '.join(meant)}?" if meant else " GET /v1/commands lists them."
        raise InvalidInput(f"There is no command {body.command!r}.{hint}", field="command")
    decision = may(caller.principal, command, services.settings.access)
    if isinstance(decision, Refused):
        raise Forbidden(decision.reason)
    schema = arguments_schema(command)
    properties = cast("dict[str, object]", schema["properties"])
    for name in body.args.keys() - properties.keys():
        raise InvalidInput(f"{command.name} takes {', '.join(properties) or 'no arguments'}.", field=f"args.{name}")
    for name in cast("list[str]", schema["required"]):
        if name not in body.args:
            raise InvalidInput(f"{command.name} needs {name}.", field=f"args.{name}")
    return command.name


def arguments_schema(command: StoredCommand) -> dict[str, object]:
    """Return one JSON Schema of all arguments, out of the catalogue's entry."""
    arguments = cast("list[dict[str, Any]]", command.spec.get("arguments", []))
    return {
        "type": "object",
        "properties": {
            a["name"]: {**a["json_schema"], **({"description": a["description"]} if a.get("description") else {})}
            for a in arguments
        },
        "required": [a["name"] for a in arguments if a.get("required")],
        "additionalProperties": False,
    }


def _tool(command: StoredCommand) -> dict[str, object]:
    """Return the command as a function that a model may call; there is no `.` in the names of those."""
    description = str(command.spec.get("description", "")) or str(command.spec.get("description_zh", ""))
    function = {
        "name": re.sub(r"[^A-Za-z0-9_-]", "_", command.name)[:64],
        "description": description,
        "parameters": arguments_schema(command),
    }
    return {"type": "function", "function": function}


def _shown(command: StoredCommand) -> CommandView:
    return CommandView(
        name=command.name,
        description=str(command.spec.get("description", "")),
        description_zh=str(command.spec.get("description_zh", "")),
        aliases=_texts(command.spec, "aliases"),
        examples=_texts(command.spec, "examples"),
        location=command.location,
        job=command.job,
        effect=cast("Any", command.spec.get("effect", "write")),
        needs_approval=command.spec.get("approval") is not None,
        json_schema=arguments_schema(command),
        tool=_tool(command),
    )


def _texts(spec: dict[str, object], key: str) -> list[str]:
    return [str(item) for item in cast("list[object]", spec.get(key, []))]
