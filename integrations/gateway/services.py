"""The collaborators of one gateway process, built once, and how routes get them."""

import asyncio
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from integrations.channels import Channel, Storing, find
from integrations.channels.pace import Paces
from integrations.database import Database
from integrations.database.callbacks import CHANNEL
from integrations.database.figures import Figures
from integrations.gateway.arrivals import Arrivals
from integrations.gateway.callbacks import Callbacks
from integrations.gateway.growing import Growing
from integrations.gateway.hub import Hub
from integrations.gateway.intake import Intake
from integrations.gateway.limits import Limits
from integrations.messages import Principal
from integrations.security.tokens import Keys
from integrations.settings import Settings

OWNER = "owner"
OWNED_CHANNELS = ("rest", "web", "terminal")


class Owner:
    """The principal behind the bearer token: an administrator, the same person on page, terminal and REST."""

    def __init__(self, database: Database, tenant: str) -> None:
        self._database = database
        self._tenant = tenant
        self._lock = asyncio.Lock()
        self._principal: Principal | None = None

    async def get(self) -> Principal:
        """Return the owner, made on first contact; raises Unavailable without the database."""
        if self._principal is None:
            async with self._lock:
                self._principal = self._principal or await asyncio.to_thread(self._make)
        return self._principal

    def _make(self) -> Principal:
        principals, first = self._database.principals, OWNED_CHANNELS[0]
        principal = principals.resolve(self._tenant, first, OWNER, name=OWNER, roles=("admin", "user"))
        for channel in OWNED_CHANNELS[1:]:
            principals.link(self._tenant, channel, OWNER, principal.id)
        return principal


@dataclass(frozen=True)
class Services:
    """Everything that routes use."""

    settings: Settings
    database: Database
    figures: Figures
    keys: Keys
    limits: Limits
    intake: Intake
    hub: Hub
    gateway: str
    paces: Paces
    growing: Growing
    arrivals: Arrivals
    owner: Owner
    channels: Mapping[str, Channel]
    refused: Mapping[str, str]


def build(settings: Settings, database: Database) -> Services:
    """Build them; raises Misconfigured, above all without a bearer token."""
    limits = Limits(settings.gateway.requests_per_minute)
    intake = Intake(database, limits, pending_per_conversation=settings.gateway.pending_per_conversation)
    hub, found = Hub(database), find(settings)
    channels = {**found.channels, CHANNEL: Callbacks(settings)}
    for channel in channels.values():
        if isinstance(channel, Storing):
            channel.attach(database)
    gateway, paces = f"gateway-{socket.gethostname()}-{os.getpid()}", Paces()
    growing = Growing(database, hub, gateway, paces)
    return Services(
        settings=settings,
        database=database,
        figures=Figures(database.engine),
        keys=Keys(settings.state, time.time),
        limits=limits,
        intake=intake,
        hub=hub,
        gateway=gateway,
        paces=paces,
        growing=growing,
        arrivals=Arrivals(database, intake, growing, channels),
        owner=Owner(database, settings.tenant),
        channels=channels,
        refused=found.refused,
    )


def _services(request: Request) -> Services:
    return request.app.state.services


Wired = Annotated[Services, Depends(_services)]
