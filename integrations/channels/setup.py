"""What it takes to set a network up: what is asked for, and the check against the platform. `runbell connect` uses it.

A network that can be set up has `NETWORK/check.py` with `async def check(section) -> list[str]` (what is wrong, each
with what to do next; it may take `public_url` too) and a table of its name in the settings. `def hints(settings)`
beside it, if it is there, says what is to be done at the platform once all is well. `NETWORK/asks.py` says with `ASKS`
what to ask for; without it, all that has no default is asked for.
"""

import importlib
import importlib.util
import inspect
import pkgutil
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

from integrations import channels
from integrations.settings import Settings
from integrations.settings_channels import Channels
from integrations.settings_section import Section

_SECRET = re.compile(r"(secret|token|password|aes_key|encrypt_key)$")


@dataclass(frozen=True, slots=True)
class Ask:
    """One setting to ask for: where it is found, and with which other answers it is needed at all."""

    name: str
    where: str
    secret: bool = False
    optional: bool = False
    when: Mapping[str, str] = field(default_factory=dict[str, str])

    def applies(self, answers: Mapping[str, object]) -> bool:
        """Whether it is needed with these answers."""
        return all(str(answers.get(name)) == value for name, value in self.when.items())


@dataclass(frozen=True)
class Network:
    """One network that can be set up."""

    name: str
    section: type[Section]
    asks: Sequence[Ask]

    def is_secret(self, name: str) -> bool:
        """Whether a setting is stored by reference only."""
        asked = next((ask for ask in self.asks if ask.name == name), None)
        return asked.secret if asked is not None else bool(_SECRET.search(name))

    async def check(self, section: Section, public_url: str | None) -> list[str]:
        """Ask the platform; return what is wrong, each with what to do next."""
        check: Any = importlib.import_module(f"{channels.__name__}.{self.name}.check").check
        takes_url = "public_url" in inspect.signature(check).parameters
        return await check(section, public_url=public_url) if takes_url else await check(section)

    def hints(self, settings: Settings) -> list[str]:
        """Return what is still to be done elsewhere once all is well."""
        told: Any = getattr(importlib.import_module(f"{channels.__name__}.{self.name}.check"), "hints", None)
        return told(settings) if told is not None else []


def networks() -> dict[str, Network]:
    """Return all networks that can be set up, by name."""
    found: dict[str, Network] = {}
    for info in pkgutil.iter_modules(channels.__path__):
        place = f"{channels.__name__}.{info.name}"
        section = _section(info.name)
        if info.ispkg and section is not None and importlib.util.find_spec(f"{place}.check") is not None:
            found[info.name] = Network(info.name, section, _asks(place, section))
    return found


def _section(name: str) -> type[Section] | None:
    told = Channels.model_fields.get(name)
    kinds = get_args(told.annotation) if told is not None else ()
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Section)), None)


def _asks(place: str, section: type[Section]) -> Sequence[Ask]:
    if importlib.util.find_spec(f"{place}.asks") is not None:
        return importlib.import_module(f"{place}.asks").ASKS
    return [
        Ask(name, told.description or name, secret=bool(_SECRET.search(name)), optional=True)
        for name, told in section.model_fields.items()
        if told.default is None and not name.startswith("previous_")
    ]
