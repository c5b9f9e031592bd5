"""runbell.toml, edited in place: comments, order and everything else stay as they are."""

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from integrations.errors import InvalidInput


def change_section(path: Path, names: tuple[str, ...], values: Mapping[str, object]) -> None:
    """Set these values in the table that `names` lead to. Atomic; raises InvalidInput where that can't be done."""
    path = path.resolve()
    try:
        document = tomlkit.parse(path.read_text(encoding="utf-8")) if path.exists() else tomlkit.document()
        section: Any = document
        for number, name in enumerate(names, 1):
            if name not in section:
                section[name] = tomlkit.table(is_super_table=number < len(names))
            section = section[name]
        for name, value in values.items():
            section[name] = value
        _replace(path, tomlkit.dumps(document))
    except (TOMLKitError, UnicodeDecodeError, TypeError) as error:
        raise InvalidInput(f"{path} can't be edited: {error}. Correct it, and try again.") from error
    except OSError as error:
        raise InvalidInput(f"{path} can't be written: {error.strerror}.") from error


def _replace(path: Path, text: str) -> None:
    mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else 0o644
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_text(text, encoding="utf-8")
        draft.chmod(mode)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
