"""`/healthz`, `/readyz` and `/metrics`: alive, ready (with what is missing), and figures.

The first two are open to everyone; the figures too while nobody but this machine reaches the gateway.
"""

import asyncio
import time

import httpx
from fastapi import APIRouter, FastAPI, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.registry import REGISTRY
from pydantic import BaseModel

from integrations.errors import Unavailable
from integrations.gateway.callers import authenticate
from integrations.gateway.links import LinkFigures, LinkView, links
from integrations.gateway.metrics import DatabaseFigures
from integrations.gateway.services import Services, Wired

router = APIRouter(tags=["health"])
CORE = "core"
REMEMBERED_SECONDS = 0.5


class Alive(BaseModel):
    """This process answers."""

    status: str = "alive"


class Ready(BaseModel):
    """Whether a message can be answered now, and what is missing for it.

    `channels` tells how each network is connected. One that is not is no reason to take this process out of service:
    it answers on all others, and nobody else would connect better.
    """

    ready: bool
    missing: list[str]
    checks: dict[str, str]
    channels: dict[str, LinkView]


@router.get("/healthz")
async def alive() -> Alive:
    """Tell that this process answers."""
    return Alive()


@router.get("/readyz", responses={503: {"model": Ready, "description": "Something is missing"}})
async def ready(request: Request, response: Response, services: Wired) -> Ready:
    """Tell whether a message can be answered now."""
    async with request.app.state.ready_lock:
        made_at, known = getattr(request.app.state, "ready", (0.0, None))
        if known is None or time.monotonic() - made_at > REMEMBERED_SECONDS:
            known = await _ask(services)
            request.app.state.ready = (time.monotonic(), known)
    response.status_code = 200 if known.ready else 503
    return known


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def metrics(request: Request, services: Wired) -> Response:
    """Return the figures in the text format of Prometheus; wants the token where other machines reach the gateway."""
    if not services.settings.gateway.is_local:
        await authenticate(request)
    own: CollectorRegistry = request.app.state.registry
    async with request.app.state.metrics_lock:
        # The database's families first: asking for them moves this process's counters of model calls.
        content = await asyncio.to_thread(lambda: generate_latest(own) + generate_latest(REGISTRY))
    return Response(content, media_type=CONTENT_TYPE_LATEST)


def add_health(app: FastAPI, services: Services) -> None:
    """Add the routes, and what they remember between requests."""
    registry = CollectorRegistry()
    registry.register(DatabaseFigures(services.database, services.settings.state))
    registry.register(LinkFigures(services.channels, services.refused))
    app.state.registry = registry
    app.state.ready_lock = asyncio.Lock()
    app.state.metrics_lock = asyncio.Lock()
    app.include_router(router)


async def _ask(services: Services) -> Ready:
    database, serving = await asyncio.gather(_database(services), _serving(services))
    checks: dict[str, str] = {**database, "serving": serving}
    missing = [name for name, state in checks.items() if state != "ok"]
    channels = links(services.channels, services.refused)
    return Ready(ready=not missing, missing=missing, checks=checks, channels=channels)


async def _database(services: Services) -> dict[str, str]:
    checks: dict[str, str] = dict.fromkeys(("database", "migrations", "workers"), "not known")
    try:
        migrated = await asyncio.to_thread(services.figures.is_migrated)
        checks["database"] = "ok" if services.hub.connected else "notifications do not arrive yet"
        checks["migrations"] = "ok" if migrated else "the tables are not the newest: run `runbell up`"
        if migrated:
            live = await asyncio.to_thread(services.database.workers.live)
            core = any(worker.location == CORE and worker.state != "draining" for worker in live)
            checks["workers"] = "ok" if core else f"no live worker of the code location {CORE}"
    except Unavailable as error:
        checks["database"] = str(error)
    return checks


async def _serving(services: Services) -> str:
    """Ask Ray Serve itself; its ready file counts where its HTTP port is elsewhere."""
    where = services.settings.serving
    try:
        async with httpx.AsyncClient(timeout=2.0, trust_env=False) as client:
            answer = await client.get(f"http://{where.host}:{where.port}/-/healthz")
            if answer.is_success:
                return "ok"
            reason = f"Ray Serve answers {answer.status_code}"
    except httpx.HTTPError as error:
        reason = f"Ray Serve does not answer ({type(error).__name__})"
    if (services.settings.state / "run" / "serving.ready").exists():
        return "ok"
    return reason
