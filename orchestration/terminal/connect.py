"""`runbell connect`: set a network up, test it against the platform, say what is missing.

Secrets never stand in runbell.toml: a typed one goes into RUNBELL_HOME/secrets (mode 0600) and the settings refer to
it; `env:NAME` and `file:PATH` are kept as they are.
"""

import asyncio
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from getpass import getpass
from pathlib import Path
from typing import get_args

from pydantic import ValidationError

from integrations.channels import Hooked, discover
from integrations.channels.setup import Ask, Network, networks
from integrations.complaints import in_words, named
from integrations.errors import InvalidInput, RunbellError
from integrations.gateway.client import Json
from integrations.gateway.installation import program
from integrations.near import near
from integrations.settings import SETTINGS_FILE, Settings
from integrations.settings_section import Section
from orchestration.supervise.home import private_folder, write_private
from orchestration.terminal.configuration import read_settings
from orchestration.terminal.reports import link_text
from orchestration.terminal.shared import print_json
from orchestration.terminal.tomlfile import change_section

WELL, WRONG = 0, 1


@dataclass(frozen=True)
class Typist:
    """How a person is asked: openly, and for secrets."""

    openly: Callable[[str], str] = input
    hidden: Callable[[str], str] = getpass


def find(name: str) -> Network:
    """Return a network; raises InvalidInput with what there is."""
    known = networks()
    if name in known:
        return known[name]
    if name == "webhook":
        raise InvalidInput("A signed webhook is a table of runbell.toml: see docs/channels.md.")
    meant = near(name, known)
    hint = f" Did you mean {meant[0]}?" if meant else ""
    raise InvalidInput(f"There is no network {name!r}.{hint} There are: {', '.join(known)}.")


def show_networks(settings: Settings, links: Mapping[str, Json], *, as_json: bool) -> int:
    """Print every network with its state; `links` is what a running gateway tells of its channels."""
    states = {name: _state(getattr(settings.channels, name), links.get(name)) for name in networks()}
    if as_json:
        print_json({"networks": [{"name": name, "state": state} for name, state in states.items()]})
        return WELL
    for name, state in states.items():
        print(f"{name:<10} {state}")
    print(f"Set one up: {program()} connect NETWORK. Test it again: {program()} connect NETWORK --check")
    return WELL


def connect(network: Network, settings: Settings, given: Sequence[str], typist: Typist | None = None) -> None:
    """Ask for what the network needs, or take `key=value`s, and write it down. InvalidInput changes nothing."""
    section = getattr(settings.channels, network.name)
    present: dict[str, object] = section.model_dump(mode="json", exclude_unset=True) if section is not None else {}
    answers = _split(network, given) if given else _ask(network, present, typist or _typist())
    values = {name: _typed(network, name, text) for name, text in answers.items()}
    _validated(network, {**present, **values})
    written = {
        name: _stored(network, name, str(value), settings.state) if network.is_secret(name) else value
        for name, value in values.items()
    }
    checked = _validated(network, {**present, **written}).model_dump(mode="json")
    change_section(Path(SETTINGS_FILE), ("channels", network.name), {name: checked[name] for name in written})


def check(network: Network, *, as_json: bool) -> int:
    """Test what is written against the platform, print what is wrong, and return the exit status."""
    settings = read_settings()
    section = getattr(settings.channels, network.name)
    if section is None:
        problems = [f"{network.name} is not set up: {program()} connect {network.name}"]
    else:
        problems = asyncio.run(_problems(network, section, settings))
    hints = [] if problems else network.hints(settings)
    if as_json:
        print_json({"network": network.name, "well": not problems, "problems": problems, "hints": hints})
        return WRONG if problems else WELL
    for problem in problems:
        print(f"✗ {problem}")
    if not problems:
        print(f"✓ {network.name} is set up. Restart to use it: {program()} down, then {program()} up")
    for hint in hints:
        print(f"→ {hint}")
    return WRONG if problems else WELL


async def _problems(network: Network, section: Section, settings: Settings) -> list[str]:
    url = settings.gateway.public_url
    problems = await network.check(section, url)
    try:
        channels = [channel for name, channel in discover(settings).items() if name.split("-")[0] == network.name]
    except RunbellError as error:
        return problems or [str(error)]
    hooks = [hook for one in channels if isinstance(one, Hooked) for hook in one.hooks]
    if hooks and not (url or "").startswith("https://") and not any("public_url" in one for one in problems):
        problems.append(
            f"{network.name} calls us: set gateway.public_url to an https address that it can reach; it then calls "
            + ", ".join(f"https://YOUR.HOST/channels/{network.name}{hook.path}" for hook in hooks)
        )
    return problems


def _state(section: Section | None, link: Json | None) -> str:
    if section is None:
        return "not set up"
    return link_text(link) if link is not None else "set up, not running"


def _typist() -> Typist:
    if not sys.stdin.isatty():
        raise InvalidInput("Nobody can be asked here: give the settings by --set key=value.")
    return Typist()


def _ask(network: Network, present: Mapping[str, object], typist: Typist) -> dict[str, str]:
    """Ask for everything that applies; an empty answer keeps what there is."""
    answers: dict[str, str] = {}
    for ask in network.asks:
        kept = present.get(ask.name, network.section.model_fields[ask.name].default)
        if not ask.applies({**_defaults(network), **present, **answers}):
            continue
        said = _answer(network, ask, kept, typist)
        if said:
            answers[ask.name] = said
    return answers


def _answer(network: Network, ask: Ask, kept: object, typist: Typist) -> str:
    options = _options(network, ask.name)
    print(f"\n{ask.name}: {ask.where}" + (f"\n  one of {', '.join(options)}" if options else ""))
    if ask.secret:
        print("  It is stored in a file of its own; env:NAME or file:PATH is kept as a reference.")
    hint = "kept if empty" if ask.secret and kept else str(kept) if kept else "may stay empty" if ask.optional else ""
    prompt = f"{ask.name}{f' [{hint}]' if hint else ''}: "
    while True:
        said = (typist.hidden if ask.secret else typist.openly)(prompt).strip()
        if options and said and said not in options:
            print(f"  {said!r} is none of {', '.join(options)}.")
        elif said or kept or ask.optional:
            return said
        else:
            print("  This one is needed; Ctrl-C ends without a change.")


def _options(network: Network, name: str) -> Sequence[str]:
    return [str(one) for one in get_args(network.section.model_fields[name].annotation) if isinstance(one, str)]


def _defaults(network: Network) -> dict[str, object]:
    return {name: told.default for name, told in network.section.model_fields.items()}


def _split(network: Network, given: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in given:
        name, sign, value = pair.partition("=")
        if not sign:
            raise InvalidInput("Write --set key=value.")
        found[name.strip()] = value.strip()
    unknown = next((name for name in found if name not in network.section.model_fields), None)
    if unknown is not None:
        known = ", ".join(network.section.model_fields)
        raise InvalidInput(f"{network.name} has no setting {unknown!r}. There are: {known}.")
    return found


def _typed(network: Network, name: str, text: str) -> object:
    """Return a value as its setting takes it: lists are written with commas."""
    annotation = str(network.section.model_fields[name].annotation)
    return [part.strip() for part in text.split(",") if part.strip()] if annotation.startswith("list") else text


def _validated(network: Network, values: Mapping[str, object]) -> Section:
    try:
        return network.section.model_validate(dict(values))
    except ValidationError as error:
        wrong = error.errors(include_input=False, include_url=False)[0]
        told = in_words(wrong).rstrip(".")
        raise InvalidInput(f"channels.{network.name}.{named(wrong)}: {told}. Nothing was changed.") from error


def _stored(network: Network, name: str, value: str, home: Path) -> str:
    """Put a typed secret into its file; return the reference."""
    if not value or value.startswith(("env:", "file:")):
        return value
    folder = home / "secrets"
    private_folder(home)
    private_folder(folder)
    path = folder / f"{network.name}.{name}"
    write_private(path, f"{value}\n")
    return f"file:{path}"
