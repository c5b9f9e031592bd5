"""Test workflows by talking to them: what is said goes through the real dispatcher, worker and Dagster run.

    from demo.definitions import defs

    def test_everybody_is_greeted(conversation):
        ada = conversation(defs)

        said = ada.say("/demo Ada times=2")

        assert said.answer == "Hello Ada!\\nHello Ada!"
        assert said.run.ops == {"compose": "succeeded", "join": "succeeded"}

Whoever has Runbell installed has the fixture `conversation` in pytest (`plugin.py`). Nothing needs to be running and
nothing leaves the machine: the database is an embedded PostgreSQL of the test session, the model says what it is told
to, and actions are recorded instead of carried out. docs/authoring.md shows what can be expected.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestration.testing.conversation import Conversation, Run, Said
    from orchestration.testing.effects import Done, Effects
    from orchestration.testing.house import House
    from orchestration.testing.server import Server

__all__ = ["Conversation", "Done", "Effects", "House", "Run", "Said", "Server"]
_HOMES = {"Done": "effects", "Effects": "effects", "House": "house", "Server": "server"}


def __getattr__(name: str) -> object:
    """Import a name when it is asked for: every pytest loads this package for its plugin, and Dagster takes seconds."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES.get(name, 'conversation')}"), name)
