"""The application of one gateway process: routes, errors, and the tasks that live as long as it does."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.metadata import PackageNotFoundError, version

from fastapi import APIRouter, FastAPI
from starlette.middleware import Middleware

from integrations.channels import Channel, Closing
from integrations.database import Database
from integrations.gateway import approvals, chat, events, files, messages, runs, sessions
from integrations.gateway.deliver import Deliveries
from integrations.gateway.edge import Edge
from integrations.gateway.health import add_health
from integrations.gateway.hooks import add_hooks
from integrations.gateway.page import add_page
from integrations.gateway.problems import Problem, add_handlers
from integrations.gateway.services import Services, build
from integrations.settings import Settings
from integrations.telemetry import flush

ROUTERS: tuple[APIRouter, ...] = (
    messages.router,
    runs.router,
    approvals.router,
    events.router,
    files.router,
    sessions.router,
    chat.router,
)
PROBLEM = {"model": Problem, "description": "A problem (RFC 9457)", "content": {"application/problem+json": {}}}
DRAIN_SECONDS = 5.0
CLOSE_SECONDS = 3.0
logger = logging.getLogger(__name__)


def create_app(settings: Settings, database: Database) -> FastAPI:
    """Build the application over an open database; raises Misconfigured where it must not start."""
    services = build(settings, database)
    app = FastAPI(
        title="Runbell",
        summary="Ring it from chat or by the clock, and a tracked Dagster run answers.",
        version=application_version(),
        docs_url=None,
        redoc_url=None,
        lifespan=_living(services),
        middleware=[Middleware(Edge, max_body_bytes=settings.gateway.max_body_bytes)],
        telemetry={"tracing": False, "metrics": False, "logs": False},
        responses={"4XX": PROBLEM, "5XX": PROBLEM},
    )
    app.state.services = services
    app.state.sockets = set()
    add_handlers(app)
    add_hooks(app, services)  # First, since routes are tried in order and these are the busiest.
    for router in ROUTERS:
        app.include_router(router)
    add_health(app, services)
    add_page(app)
    return app


def application_version() -> str:
    """Return the installed version."""
    try:
        return version("runbell")
    except PackageNotFoundError:
        return "0"


def _living(services: Services) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def live(_: FastAPI) -> AsyncGenerator[None]:
        """Start what runs beside the requests; at the end store what was taken, then stop."""
        services.hub.start()
        deliveries = Deliveries(
            services.database, services.hub, services.channels, services.gateway, services.growing, services.paces
        )
        intake = asyncio.create_task(services.intake.run(), name="intake")
        others = [
            asyncio.create_task(deliveries.run(), name="deliveries"),
            asyncio.create_task(services.growing.keep(services.channels), name="growing"),
        ]
        others += [
            asyncio.create_task(_listen(channel, services), name=f"listen {channel.name}")
            for channel in services.channels.values()
        ]
        try:
            yield
        finally:
            services.intake.close()
            await asyncio.wait([intake], timeout=DRAIN_SECONDS)
            await _stop([intake, *others])
            await services.growing.close()
            await asyncio.gather(*(_close(channel) for channel in services.channels.values()))
            await asyncio.to_thread(services.hub.close)
            await asyncio.to_thread(flush)

    return live


async def _listen(channel: Channel, services: Services) -> None:
    await channel.listen(services.arrivals.receive)


async def _close(channel: Channel) -> None:
    """Let a channel give back its sessions and sockets; one that can't must not keep the others from it."""
    if not isinstance(channel, Closing):
        return
    try:
        async with asyncio.timeout(CLOSE_SECONDS):
            await channel.aclose()
    except Exception:
        logger.exception("a channel could not be closed", extra={"channel": channel.name})


async def _stop(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
