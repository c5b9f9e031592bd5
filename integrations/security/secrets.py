"""Resolve secret references: a literal, `env:NAME` or `file:PATH`.

What comes back is a `pydantic.SecretStr`: its repr, its str and therefore logs never show the value.
"""

import os
from pathlib import Path

from pydantic import SecretStr

from integrations.errors import Misconfigured

MAX_FILE_BYTES = 65_536
DOTS = "•••"
"""What is shown where a secret stands."""


def resolve(reference: str | None, *, name: str) -> SecretStr:
    """Return the secret that a reference points at, stripped of surrounding white space.

    `name` is the setting's, for the message. Raises Misconfigured where nothing, or only blanks, comes out:
    a blank secret is never accepted as one.
    """
    value = _value((reference or "").strip(), name).strip()
    if not value:
        raise Misconfigured(f"The secret {name} is blank: write a literal, env:NAME or file:PATH that holds a value.")
    return SecretStr(value)


def _value(reference: str, name: str) -> str:
    kind, _, rest = reference.partition(":")
    if kind == "env":
        return _from_environment(rest.strip(), name)
    if kind == "file":
        return _from_file(Path(rest.strip()).expanduser(), name)
    return reference


def _from_environment(variable: str, name: str) -> str:
    value = os.environ.get(variable)
    if value is None:
        raise Misconfigured(f"The secret {name} points at env:{variable}, which is not set: export it first.")
    return value


def _from_file(path: Path, name: str) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            return file.read(MAX_FILE_BYTES)
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(
            f"The secret {name} points at file:{path}, which can't be read: {type(error).__name__}."
        ) from error
