"""`runbell …`: what people type. The work is done elsewhere, and imported only by the command that needs it."""

import json
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from integrations.errors import InvalidInput, RunbellError
from orchestration.terminal.models_commands import models
from orchestration.terminal.outbox_commands import outbox

if TYPE_CHECKING:
    from integrations.settings import Settings
    from orchestration.supervise.home import Home

FAILED, USAGE = 1, 2
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]

app = typer.Typer(
    help="Ring it from chat or by the clock, and a tracked Dagster run answers.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(models, name="models")
app.add_typer(outbox, name="outbox")


def main() -> None:
    """Run the command line; RunbellErrors become one line on stderr and an exit status."""
    with _plain_errors():
        app()


@app.command()
def up(*, foreground: Annotated[bool, typer.Option(help="Stay, and stop everything on Ctrl-C.")] = False) -> None:
    """Start everything; ends when a message can be answered."""
    from orchestration.terminal.lifecycle import start, start_in_foreground

    settings, home = _settings()
    raise typer.Exit(start_in_foreground(settings, home) if foreground else start(settings, home))


@app.command()
def down() -> None:
    """Stop everything; nothing is lost."""
    from orchestration.supervise.home import Home
    from orchestration.terminal.configuration import home_anyway
    from orchestration.terminal.lifecycle import stop

    raise typer.Exit(stop(Home(home_anyway())))


@app.command()
def status(*, as_json: AsJson = False) -> None:
    """Show every process; exit status 0 when all is well."""
    import time
    from datetime import UTC, datetime

    from integrations.gateway.client import channel_states
    from integrations.gateway.installation import reach
    from orchestration.supervise.status import status as look
    from orchestration.supervise.status import with_channels
    from orchestration.terminal.lifecycle import links
    from orchestration.terminal.reports import show_status

    settings, home = _settings()
    found = look(home, time.time())
    if any(row.name == "gateway" and row.healthy for row in found.rows):
        found = with_channels(found, channel_states(reach(settings)), datetime.now(UTC))
    if as_json:
        _print({**asdict(found), "well": found.well})
    else:
        show_status(found)
        if any(row.name == "gateway" and row.healthy for row in found.rows):
            links(settings, home)
    raise typer.Exit(0 if found.well else FAILED)


@app.command()
def doctor(*, as_json: AsJson = False) -> None:
    """Check versions, ports, settings, secrets, database, models; exit status 1 when something fails."""
    from orchestration.supervise.doctor import examine
    from orchestration.terminal.reports import show_finding

    findings = []
    for finding in examine(_settings()[0]):
        findings.append(finding)
        if not as_json:
            show_finding(finding)
    well = all(finding.verdict != "fail" for finding in findings)
    if as_json:
        _print({"well": well, "findings": [asdict(finding) for finding in findings]})
    raise typer.Exit(0 if well else FAILED)


@app.command()
def send(
    text: str,
    *,
    conversation: Annotated[str | None, typer.Option(help="Where to go on; a new one without it.")] = None,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for the answer.")] = 300.0,
    as_json: AsJson = False,
) -> None:
    """Say something and print the answer; exit status 0 answered, 1 failed."""
    from integrations.gateway.client import Client
    from integrations.gateway.installation import reach
    from orchestration.terminal.answers import show_message

    settings, home = _settings()
    with Client(reach(settings), home.path) as client:
        state = client.send(text, conversation=conversation, timeout_s=timeout)
    raise typer.Exit(show_message(state, settings.gateway_url, as_json=as_json))


@app.command()
def chat(
    *, conversation: Annotated[str, typer.Option(help="Its name; the same name goes on where it was.")] = "terminal"
) -> None:
    """Chat in the terminal."""
    from integrations.gateway.installation import reach
    from orchestration.terminal.chat import talk

    settings, home = _settings()
    raise typer.Exit(talk(reach(settings), home.path, conversation))


@app.command()
def commands(*, as_json: AsJson = False) -> None:
    """List the commands that may be run."""
    from integrations.gateway.client import Client
    from integrations.gateway.installation import reach
    from orchestration.terminal.answers import show_commands

    settings, home = _settings()
    with Client(reach(settings), home.path) as client:
        show_commands(client.commands(), as_json=as_json)


@app.command()
def run(
    command: str,
    arguments: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE…")] = None,
    *,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for the end.")] = 600.0,
    as_json: AsJson = False,
) -> None:
    """Run a command and print what it answers; exit status 0 when it succeeded."""
    from integrations.gateway.client import Client
    from integrations.gateway.installation import reach
    from orchestration.terminal.answers import show_run
    from orchestration.terminal.arguments import refused, typed

    settings, home = _settings()
    with Client(reach(settings), home.path) as client:
        known = client.commands()
        try:
            state = client.run(command, typed(command, arguments or [], known), timeout_s=timeout)
        except InvalidInput as error:
            raise refused(command, known, error) from error
    raise typer.Exit(show_run(state, settings.gateway_url, as_json=as_json))


@app.command()
def parse(text: str, *, as_json: AsJson = False) -> None:
    """Show what would be done with a text; starts nothing."""
    from orchestration.terminal.parsing import parse_here, show_parsed

    settings, home = _settings()
    show_parsed(parse_here(text, settings, home.endpoints), as_json=as_json)


@app.command()
def act(
    action: str,
    arguments: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE…")] = None,
    *,
    preview: Annotated[bool, typer.Option("--preview", help="Say what it would do; do nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Carry out one action under the present settings; exit status 0 when it was done."""
    from orchestration.terminal.acting import act_here, show_outcome, show_preview

    settings, home = _settings()
    prepared, carry_out = act_here(action, arguments or [], settings, home)
    if preview:
        show_preview(prepared, as_json=as_json)
    else:
        show_outcome(prepared, carry_out(), as_json=as_json)


@app.command()
def record(
    conversation: str,
    *,
    channel: Annotated[str | None, typer.Option(help="Its network, where several have one of that name.")] = None,
) -> None:
    """Print a conversation as a file that can be replayed, without names, secrets and ids."""
    from orchestration.terminal.rehearsal import record_here

    settings, home = _settings()
    sys.stdout.write(record_here(conversation, channel, settings, home.endpoints))


@app.command()
def replay(
    file: Path,
    *,
    accept: Annotated[bool, typer.Option("--accept", help="Write into the file what comes out now.")] = False,
    online: Annotated[bool, typer.Option("--online", help="Let ops reach other machines.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say a recorded conversation to the code as it is now; exit status 1 when something comes out otherwise."""
    from orchestration.terminal.rehearsal import replay_here

    same = replay_here(file, _settings()[0], accept=accept, online=online, as_json=as_json)
    raise typer.Exit(0 if same else FAILED)


@app.command()
def check(*, as_json: AsJson = False) -> None:
    """Look for what is wrong with commands, arguments and schedules of all code locations; exit status 1 for errors."""
    from orchestration.terminal.checking import check as look
    from orchestration.terminal.reports import show_complaints

    complaints = look(_settings()[0])
    well = all(complaint.level != "error" for complaint in complaints)
    if as_json:
        _print({"well": well, "complaints": [asdict(complaint) for complaint in complaints]})
    else:
        show_complaints(complaints)
    raise typer.Exit(0 if well else FAILED)


@app.command()
def new(name: str) -> None:
    """Write a code location to start from: a workflow, a timer, a test; and enter it in workspace.yaml."""
    from orchestration.scaffold import create
    from orchestration.terminal.reports import show_created

    show_created(name, create(name, _settings()[0].dagster.workspace))


@app.command()
def connect(
    network: Annotated[str | None, typer.Argument(metavar="NETWORK", help="Without it: all, with their state.")] = None,
    *,
    check: Annotated[bool, typer.Option("--check", help="Only test what is set up.")] = False,
    given: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Don't ask.")] = None,
    as_json: AsJson = False,
) -> None:
    """Set a network up, test it against the platform, and say what is missing; exit status 0 when all is well."""
    from integrations.gateway.client import channel_states
    from integrations.gateway.installation import reach
    from orchestration.terminal import connect as connecting

    settings, _ = _settings()
    if network is None:
        states = channel_states(reach(settings))
        raise typer.Exit(connecting.show_networks(settings, states, as_json=as_json))
    found = connecting.find(network)
    if not check:
        connecting.connect(found, settings, given or [])
    raise typer.Exit(connecting.check(found, as_json=as_json))


def _settings() -> "tuple[Settings, Home]":
    from orchestration.terminal.configuration import settings_and_home

    return settings_and_home()


@contextmanager
def _plain_errors() -> Generator[None]:
    try:
        yield
    except InvalidInput as error:
        _complain(str(error))
        sys.exit(USAGE)
    except RunbellError as error:
        _complain(str(error))
        sys.exit(FAILED)
    except KeyboardInterrupt:
        sys.exit(130)


def _complain(text: str) -> None:
    print(text, file=sys.stderr)


def _print(value: object) -> None:
    print(json.dumps(value, ensure_ascii=False, default=str))


if __name__ == "__main__":
    main()
