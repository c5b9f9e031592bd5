"""What the commands of `runbell` share: the flag --json, exit statuses, and the installation that they are about."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from integrations.settings import Settings
    from orchestration.supervise.home import Home

FAILED = 1
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def installation() -> "tuple[Settings, Home]":
    """Return the settings and the installation they are of. Raises InvalidInput with what is wrong with them."""
    from orchestration.terminal.configuration import settings_and_home

    return settings_and_home()


def print_json(value: object) -> None:
    """Print one JSON object, for programs."""
    print(json.dumps(value, ensure_ascii=False, default=str))
