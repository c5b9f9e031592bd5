"""Secret arguments: sealed when they are said, opened by the op that needs them."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from pydantic import SecretStr

from integrations.database import Database
from integrations.database.sealed import REFERENCE
from integrations.security.sealing import Seal
from integrations.security.secrets import resolve
from integrations.settings import Settings
from orchestration.commands.spec import CommandSpec


class Sealer:
    """Puts references in the place of secret arguments."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings

    def __call__(self, spec: CommandSpec, args: Mapping[str, object], principal_id: str) -> dict[str, object]:
        """Return the arguments with a reference in the place of each secret one."""
        sealed = {
            name: self._database.sealed.put(principal_id, value, _seal(self._settings))
            for name, value in args.items()
            if spec.by_name[name].secret and isinstance(value, str)
        }
        return {**args, **sealed}


def open_sealed(database: Database, settings: Settings, value: str) -> SecretStr:
    """Return what an argument of the kind `Secret` holds.

    From the chat and REST it is a reference to what was said; from the launchpad or a timer it may be `env:NAME`,
    `file:PATH` or a literal. Raises `NotFound` where it is kept no longer, `Misconfigured`.
    """
    if REFERENCE.fullmatch(value):
        return SecretStr(database.sealed.get(value, _seal(settings)))
    return resolve(value, name="argument")


def _seal(settings: Settings) -> Seal:
    return _seal_of(settings.sealing_key, settings.state)


@cache
def _seal_of(reference: str | None, home: Path) -> Seal:
    return Seal.of(reference, home)
