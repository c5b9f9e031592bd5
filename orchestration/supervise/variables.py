"""Variables of the environment that have our prefix, but that nothing reads: most were mistyped."""

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from pydantic import BaseModel

from integrations.near import near
from integrations.settings import SETTINGS_FILE, Settings

PREFIX = "RUNBELL_"
OTHERS = frozenset(
    {
        "RUNBELL_PROCESS",  # marks what the supervisor started (leftovers.py)
        "RUNBELL_KEY",  # what a script carried out by `run_script` gets
        # Of tests and benchmarks:
        "RUNBELL_CHROMIUM",
        "RUNBELL_TEST_MODELS",
        "RUNBELL_SHOTS",
        "RUNBELL_FUZZ",
        "RUNBELL_CHAOS_SEED",
    }
)
_REFERENCE = re.compile(r"env:\s*(\w+)")
_MODELS_FILE = "models.yaml"


def unread(environment: Mapping[str, str], settings: Settings) -> dict[str, str]:
    """Return each such variable with what to do about it; an unknown name in a known section is refused before this."""
    referred = set(_REFERENCE.findall("\n".join(_texts(environment, settings))))
    found: dict[str, str] = {}
    for name in sorted(environment):
        section = name.upper().removeprefix(PREFIX).partition("__")[0].lower()
        known = section in Settings.model_fields or name in OTHERS or name in referred
        if name.upper().startswith(PREFIX) and not known:
            found[name] = _remedy(name)
    return found


def in_sentences(environment: Mapping[str, str], settings: Settings) -> list[str]:
    """Return the same as sentences."""
    return [f"{name} is set, but nothing reads it. {remedy}" for name, remedy in unread(environment, settings).items()]


def _remedy(name: str) -> str:
    meant = near(name.upper().removeprefix(PREFIX), _settings(Settings))
    return f"Did you mean {PREFIX}{meant[0]}?" if meant else f"Unset it; settings are {PREFIX}SECTION__NAME."


def _settings(section: type[BaseModel], before: str = "") -> Iterator[str]:
    """Yield the names of all settings, without the prefix."""
    for name, field in section.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _settings(kind, f"{before}{name.upper()}__")
        else:
            yield f"{before}{name.upper()}"


def _texts(environment: Mapping[str, str], settings: Settings) -> Iterator[str]:
    """Yield whatever may refer to a variable: secrets are `env:NAME`, whatever the name."""
    yield from (value for name, value in environment.items() if name.upper().startswith(PREFIX))
    for path in (Path(SETTINGS_FILE), Path(settings.serving.models_file or _MODELS_FILE)):
        with suppress(OSError, UnicodeDecodeError):  # Whoever needs the file complains of it.
            yield path.read_text(encoding="utf-8")
