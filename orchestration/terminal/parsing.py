"""`runbell parse`: the dispatcher's own parser over the catalogue that the workers published."""

from pathlib import Path

from integrations.settings import Settings
from orchestration.commands.catalogue import Catalogue
from orchestration.commands.moments import Moment
from orchestration.commands.parse import Parsed, parse
from orchestration.commands.spec import CommandSpec
from orchestration.commands.turn import DOTS
from orchestration.terminal.shared import print_json
from orchestration.terminal.store import opened


def parse_here(text: str, settings: Settings, endpoints: Path) -> Parsed:
    """Return what `text` asks for. Raises NotUp without a running installation."""
    with opened(settings, endpoints) as database:
        stored = database.commands.all()
    catalogue = Catalogue(CommandSpec.model_validate(command.spec) for command in stored)
    parsed = parse(text, catalogue, Moment(account="terminal:owner", channel="terminal"))
    spec = catalogue.find(parsed.command or "")
    secrets = {argument.name: DOTS for argument in spec.arguments if argument.secret} if spec else {}
    return parsed.model_copy(update={"args": {name: secrets.get(name, value) for name, value in parsed.args.items()}})


def show_parsed(parsed: Parsed, *, as_json: bool) -> None:
    """Print it."""
    if as_json:
        print_json(parsed.model_dump(mode="json", include={"kind", "command", "args", "errors"}))
        return
    if parsed.kind == "free":
        print("free text: it goes to the assistant")
        return
    arguments = " ".join(f"{name}={value!r}" for name, value in parsed.args.items())
    print(f"{parsed.kind} /{parsed.command} {arguments}".rstrip())
    for problem in parsed.errors:
        print(f"  {problem.message}")
