"""The pytest plugin for authors of workflows: the fixture `conversation` (docs/authoring.md)."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import dagster as dg

    from orchestration.testing import Conversation, Server


@pytest.fixture(scope="session")
def runbell_server() -> "Iterator[Server]":
    """The database server of all conversations of this session; it starts with the first one."""
    from orchestration.testing import Server

    server = Server()
    yield server
    server.close()


@pytest.fixture
def conversation(runbell_server: "Server") -> "Iterator[Callable[..., Conversation]]":
    """Return a function that opens an installation for definitions and returns a first person's conversation in it.

    Its keywords are those of `orchestration.testing.House`, and `name` and `roles` of the person.
    """
    from orchestration.testing import House

    with ExitStack() as houses:

        def opened(
            defs: "dg.Definitions",
            *,
            name: str = "Ada",
            roles: tuple[str, ...] = ("user",),
            **options: Any,  # noqa: ANN401 - those of House
        ) -> "Conversation":
            return houses.enter_context(House(runbell_server, defs, **options)).person(name, roles=roles)

        yield opened
