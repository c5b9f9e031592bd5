"""The settings as the terminal reads them: what is wrong with them is said in plain words, with its place."""

import os
import re
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import SettingsError

from integrations.complaints import in_words
from integrations.errors import InvalidInput
from integrations.near import near
from integrations.settings import SETTINGS_FILE, Settings
from orchestration.supervise.home import Home

_PLACE = re.compile(r"(?P<what>.*) \(at (?P<where>.*)\)")
Where = Sequence[int | str]


def read_settings() -> Settings:
    """Return the settings. Raises InvalidInput with everything that is wrong, a line each."""
    found = _read_file()
    try:
        return Settings()
    except ValidationError as error:
        wrong = error.errors(include_input=False, include_url=False)
        raise InvalidInput("\n".join(_explained(item, found) for item in wrong)) from error
    except SettingsError as error:
        raise InvalidInput(f"RUNBELL_* in the environment: {error}. Write RUNBELL_SECTION__KEY=value.") from error


def settings_and_home() -> tuple[Settings, Home]:
    """Return the settings and the installation they are of; raises as `read_settings` does."""
    settings = read_settings()
    return settings, Home(settings.state)


def home_anyway() -> Path:
    """Return RUNBELL_HOME even where the settings are broken, after a warning: one must be able to stop."""
    try:
        return read_settings().state
    except InvalidInput as error:
        home = os.environ.get("RUNBELL_HOME") or _home_in_file() or Settings.model_fields["home"].default
        path = Path(home).expanduser().resolve()
        print(f"{error}\n! The settings can't be read; going on with RUNBELL_HOME={path}.", file=sys.stderr)
        return path


def _read_file() -> Mapping[str, object]:
    path = _file()
    if not path.is_file():
        return {}
    try:
        return tomllib.loads(path.read_bytes().decode())
    except tomllib.TOMLDecodeError as error:
        match = _PLACE.fullmatch(str(error))
        what, where = (match["what"], match["where"]) if match else (str(error), "some place")
        raise InvalidInput(f"{path}, {where}: {what}. Correct it there, and try again.") from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        column = error.start - error.object.rfind(b"\n", 0, error.start)
        raise InvalidInput(f"{path}, line {line}, column {column}: this is not UTF-8. Save it as UTF-8.") from error
    except OSError as error:
        raise InvalidInput(f"{path} can't be read: {error.strerror}. Its owner must let you.") from error


def _home_in_file() -> str | None:
    try:
        home = _read_file().get("home")
    except InvalidInput:
        return None  # It was complained of already.
    return home if isinstance(home, str) else None


def _file() -> Path:
    return Path(SETTINGS_FILE).resolve()


def _explained(wrong: ErrorDetails, found: Mapping[str, object]) -> str:
    where = wrong["loc"]
    name = ".".join(map(str, where))
    match wrong["type"]:
        case "extra_forbidden":
            text = f"There is no setting {name!r}. {_hint(where)}"
        case "model_type":
            text = f"{name!r} is a section: its settings stand below [{name}]."
        case _:
            text = f"{name}: {in_words(wrong).rstrip('.')}."
    return f"{_source(where, found)}: {text}"


def _source(where: Where, found: Mapping[str, object]) -> str:
    """Tell where a value comes from; the environment wins over the file, a setting over its whole section."""
    variable = "RUNBELL_" + "__".join(map(str, where)).upper()
    given = {name.upper() for name in os.environ}
    if variable in given or any(name.startswith(f"{variable}__") for name in given):
        return f"{variable} in the environment"
    inside: object = found
    for part in where:
        inside = cast("Mapping[object, object]", inside).get(part) if isinstance(inside, Mapping) else None
    return str(_file()) if inside is not None else f"{_file()} or RUNBELL_* in the environment"


def _hint(where: Where) -> str:
    *outer, last = map(str, where)
    known = list(_section(outer).model_fields)
    if meant := near(last, known):
        return f"Did you mean {'.'.join([*outer, *meant])!r}?"
    return f"There are: {', '.join(known)}."


def _section(names: Sequence[str]) -> type[BaseModel]:
    """Return the model that these names lead to; a name of one's own choice (a webhook's) leads nowhere."""
    section: type[BaseModel] = Settings
    for name in names:
        field = section.model_fields.get(name)
        if field is not None:
            kinds = (field.annotation, *get_args(field.annotation))
            section = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), section)
    return section
