"""`runbell act`: one action, carried out in this process by the operator, who is an administrator."""

import os
import uuid
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import cast

from integrations.database import Database
from integrations.errors import InvalidInput, NotFound
from integrations.gateway.client import NotUp
from integrations.gateway.services import OWNED_CHANNELS, OWNER
from integrations.memory import Memory, Scope
from integrations.messages import Address, Principal
from integrations.settings import Settings
from orchestration import resources
from orchestration.actions import Occasion, Outcome, Prepared, find, prepare
from orchestration.supervise import ray_head
from orchestration.supervise.home import Home, read_json
from orchestration.terminal.arguments import typed
from orchestration.terminal.shared import print_json
from serving.client import Models, connect

_ROLES = ("admin", "user")


def act_here(name: str, words: Sequence[str], settings: Settings, home: Home) -> tuple[Prepared, Callable[[], Outcome]]:
    """Return what would be done, and the function that does it. Raises `InvalidInput` for what is wrong with it."""
    try:
        action = find(name)
    except NotFound as error:
        raise InvalidInput(str(error), field="action") from error
    schema = action.arguments.model_json_schema()
    prepared = prepare(name, typed(name, words, [{"name": name, "schema": schema}]), settings)
    installed = Installed(settings, home)
    return prepared, lambda: prepared.carry_out(installed, installed.occasion)


class Installed:
    """The parts of a running installation, each reached when an action asks for it."""

    def __init__(self, settings: Settings, home: Home) -> None:
        self.settings = settings
        self._home = home

    @property
    def database(self) -> Database:
        """The installation's database. Raises `NotUp` where there is none."""
        database = self._built["database"]
        assert isinstance(database, Database)
        return database

    @property
    def models(self) -> Models:
        """The models that are served now."""
        models: Models = self._connected["models"]  # type: ignore[assignment]
        return models

    @property
    def memory(self) -> Memory:
        """The memory; it needs the embedder."""
        memory = self._connected["memory"]
        assert isinstance(memory, Memory)
        return memory

    @cached_property
    def occasion(self) -> Occasion:
        """The operator at the terminal; each call is a new one."""
        tenant = self.settings.tenant
        try:
            who = self.database.principals.resolve(tenant, OWNED_CHANNELS[0], OWNER, name=OWNER, roles=_ROLES)
        except NotUp:
            who = Principal(id=OWNER, tenant=tenant, name=OWNER, roles=_ROLES)
        return Occasion(
            principal=who,
            account=OWNER,
            address=Address(channel="terminal", conversation="terminal", tenant=tenant),
            scope=Scope.principal(tenant, who.id),
            key=f"act-{uuid.uuid4()}",
        )

    @cached_property
    def _built(self) -> dict[str, object]:
        settings, endpoints = self.settings, read_json(self._home.endpoints)
        url, chroma = endpoints.get("database_url"), _port(endpoints, "chroma")
        if isinstance(url, str):
            database = settings.database.model_copy(update={"url": url, "pool_size": 2})
            settings = settings.model_copy(update={"database": database})
        elif settings.database.url is None:
            raise NotUp
        if chroma is not None:
            settings = settings.model_copy(update={"memory": settings.memory.model_copy(update={"port": chroma})})
        return resources.build(settings)

    @cached_property
    def _connected(self) -> dict[str, object]:
        port = _port(read_json(self._home.endpoints), "ray")
        if port is None:
            raise NotUp
        os.environ.update(ray_head.environment(f"127.0.0.1:{port}", self._home.ray_token))
        connect()
        return self._built


def _port(endpoints: dict[str, object], name: str) -> int | None:
    part = endpoints.get(name)
    port = cast("dict[str, object]", part).get("port") if isinstance(part, dict) else None
    return port if isinstance(port, int) else None


def show_preview(prepared: Prepared, *, as_json: bool) -> None:
    """Print what would be done."""
    if as_json:
        print_json({"action": prepared.action.name, "effect": prepared.effect, "preview": prepared.preview})
    else:
        print(f"{prepared.preview} ({prepared.effect})")


def show_outcome(prepared: Prepared, outcome: Outcome, *, as_json: bool) -> None:
    """Print what was done."""
    if as_json:
        print_json({"action": prepared.action.name, "effect": prepared.effect, **outcome.model_dump(mode="json")})
    else:
        print(outcome.text)
