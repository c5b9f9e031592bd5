"""Between the catalogue and the database: workers publish their location's commands, dispatchers read them all."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import cast

from pydantic import ValidationError

from integrations.database import Database, StoredCommand
from orchestration.commands.catalogue import Catalogue, unique
from orchestration.commands.spec import CommandSpec
from orchestration.commands.vocabulary import same_name

log = logging.getLogger(__name__)

FRESH_S = 2.0
"""Seconds for which a dispatcher goes on with the catalogue it has read."""


def publish(database: Database, location: str, specs: Sequence[CommandSpec]) -> list[CommandSpec]:
    """Make these the commands of a location and return them under the names they got. Idempotent.

    A name or alias that another location has is left to it: the later command is called LOCATION-NAME.
    """
    named: list[CommandSpec] = []
    for _ in range(3):  # Two locations may publish the same new name at once; the second sees it the next time.
        named = unique(specs, _taken(database.commands.all(), location))
        database.commands.replace(location, [_stored(spec) for spec in named])
        kept = {command.name for command in database.commands.all() if command.location == location}
        if all(spec.name in kept for spec in named):
            break
    log.info("commands published", extra={"location": location, "commands": [spec.name for spec in named]})
    return named


def _taken(stored: Sequence[StoredCommand], location: str) -> list[str]:
    """Return the words that other locations have; of those that this one has, too, only the names: they come first."""
    held = {same_name(word) for command in stored if command.location == location for word in _words(command)}
    others = [command for command in stored if command.location != location]
    aliases = [word for command in others for word in _words(command)[1:] if same_name(word) not in held]
    return [*(command.name for command in others), *aliases]


def _words(command: StoredCommand) -> list[str]:
    return [command.name, *cast("Sequence[str]", command.spec.get("aliases", ()))]


def load(database: Database) -> Catalogue:
    """Read all commands; one that this version can't read is left out and logged."""
    specs: list[CommandSpec] = []
    for command in database.commands.all():
        try:
            specs.append(CommandSpec.model_validate({**command.spec, "name": command.name}))
        except ValidationError as error:
            log.warning("a stored command can't be read", extra={"command": command.name, "error": str(error)})
    return Catalogue(specs)


class CurrentCatalogue:
    """The catalogue as it was at most two seconds ago. Thread-safe."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._clock = clock
        self._lock = threading.Lock()
        self._read_at = -FRESH_S
        self._catalogue = Catalogue(())

    def __call__(self, *, afresh: bool = False) -> Catalogue:
        """Return the catalogue; `afresh` reads it now."""
        with self._lock:
            if afresh or self._clock() - self._read_at >= FRESH_S:
                self._catalogue = load(self._database)
                self._read_at = self._clock()
            return self._catalogue


def _stored(spec: CommandSpec) -> StoredCommand:
    return StoredCommand(spec.name, spec.location, spec.job, spec.model_dump(mode="json"))
