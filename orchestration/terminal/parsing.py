"""`runbell parse` and `runbell run --preview`: what would be done, and what it usually takes; they start nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from integrations.database import Database
from integrations.errors import InvalidInput
from integrations.security.secrets import DOTS
from integrations.settings import Settings
from orchestration.commands.binding import bind_values
from orchestration.commands.catalogue import Catalogue
from orchestration.commands.costs import usually
from orchestration.commands.moments import Moment
from orchestration.commands.parse import Parsed, parse
from orchestration.commands.spec import CommandSpec
from orchestration.terminal.arguments import refused, typed
from orchestration.terminal.shared import print_json
from orchestration.terminal.store import opened

ASSISTANT = "assistant"
_HERE = Moment(account="terminal:owner", channel="terminal")


@dataclass(frozen=True)
class Preview:
    """What would be done; `quote` tells what it usually asks of models, where that is known."""

    parsed: Parsed
    spec: CommandSpec | None
    quote: str | None


def parse_here(text: str, settings: Settings, endpoints: Path) -> Preview:
    """Return what `text` asks for. Raises NotUp without a running installation."""
    with opened(settings, endpoints) as database:
        catalogue = _catalogue(database)
        parsed = parse(text, catalogue, _HERE)
        return _preview(parsed, catalogue.find(parsed.command or ""), database, settings.tenant)


def preview_here(command: str, words: Sequence[str], settings: Settings, endpoints: Path) -> Preview:
    """Return what `runbell run` would start. Raises `InvalidInput` for what is wrong with it."""
    with opened(settings, endpoints) as database:
        catalogue = _catalogue(database)
        known = [
            {"name": spec.name, "aliases": spec.aliases, "schema": spec.schema_of_arguments} for spec in catalogue.specs
        ]
        spec = next((one for one in catalogue.specs if one is catalogue.find(command)), None)
        if spec is None:
            raise refused(command, known, InvalidInput(f"There is no command {command!r}.", field="command"))
        args, problems = bind_values(spec, typed(spec.name, words, known), "en", _HERE)
        if problems:
            raise refused(spec.name, known, InvalidInput(problems[0].message, field=f"args.{problems[0].argument}"))
        return _preview(Parsed(kind="command", command=spec.name, args=args), spec, database, settings.tenant)


def show_parsed(seen: Preview, *, as_json: bool) -> None:
    """Print it."""
    parsed = seen.parsed
    if as_json:
        told = parsed.model_dump(mode="json", include={"kind", "command", "args", "errors"})
        print_json(told | ({"quote": seen.quote} if seen.quote else {}))
        return
    if parsed.kind == "free":
        print("free text: it goes to the assistant")
    else:
        arguments = " ".join(f"{name}={value!r}" for name, value in parsed.args.items())
        print(f"{parsed.kind} /{parsed.command} {arguments}".rstrip())
    for problem in parsed.errors:
        print(f"  {problem.message}")
    if seen.quote:
        print(f"  {seen.quote}")


def show_preview(seen: Preview, *, as_json: bool) -> None:
    """Print what would be started, what it does to the world, and whether somebody has to approve it."""
    spec = seen.spec
    assert spec is not None
    if as_json:
        told = {"command": spec.name, "args": seen.parsed.args, "job": spec.job, "location": spec.location}
        told |= {"effect": spec.effect, "approval": spec.approval is not None, "quote": seen.quote}
        print_json(told)
        return
    arguments = " ".join(f"{name}={value!r}" for name, value in seen.parsed.args.items())
    print(f"would run /{spec.name} {arguments}".rstrip() + f": job {spec.job} of {spec.location} ({spec.effect})")
    if spec.approval is not None:
        print("  once it is approved")
    if seen.quote:
        print(f"  {seen.quote}")


def _catalogue(database: Database) -> Catalogue:
    return Catalogue(CommandSpec.model_validate(command.spec) for command in database.commands.all())


def _preview(parsed: Parsed, spec: CommandSpec | None, database: Database, tenant: str) -> Preview:
    secrets = {argument.name: DOTS for argument in spec.arguments if argument.secret} if spec else {}
    shown = {name: secrets.get(name, value) for name, value in parsed.args.items()}
    jobs = {"free": ASSISTANT, "command": spec.job if spec else None}
    job = jobs.get(parsed.kind)
    quote = usually(database.usage.usual(tenant, job)) if job else None
    return Preview(parsed.model_copy(update={"args": shown}), spec, quote)
