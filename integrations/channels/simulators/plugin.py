"""The pytest plugin around the simulated networks: a fixture that starts them by name (docs/testing-channels.md).

async def test_a_mention_is_answered(simulated):
async with simulated("slack") as slack:
await slack.say("C1", "<@UBOT> hello")
"""

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from integrations.channels.simulators.base import Simulator

_PACKAGE = __package__ or "integrations.channels.simulators"


@pytest.fixture
def simulated() -> "Callable[..., Simulator]":
    """Return a function that makes a simulated network by its name; `async with` starts it and ends it."""
    return simulator


def simulator(name: str, **options: object) -> "Simulator":
    """Return a network that is not started yet. Raises `LookupError` with the names that there are."""
    known = names()
    if name not in known:
        raise LookupError(f"There is no simulator {name!r}: there are {', '.join(known)}.")
    made: Simulator = _class_of(name)(**options)
    return made


def names() -> list[str]:
    """Return the names of all simulated networks: those of their modules."""
    modules = [info.name for info in pkgutil.iter_modules([str(Path(__file__).parent)])]
    return [name for name in modules if _class_of(name) is not None]


def _class_of(name: str) -> "Callable[..., Simulator]":
    module = importlib.import_module(f"{_PACKAGE}.{name}")
    found = (
        kind
        for title, kind in inspect.getmembers(module, inspect.isclass)
        if title.startswith("Simulated") and kind.__module__ == module.__name__
    )
    return next(found, None)  # type: ignore[return-value]
