"""`runbell …`: what people type. The work is done elsewhere, and imported only by the command that needs it.

Here are the commands of who runs an installation; the others are in `terminal/*_commands.py`.
"""

import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated

import typer

from integrations.errors import InvalidInput, RunbellError
from orchestration.terminal.authoring_commands import authoring
from orchestration.terminal.models_commands import models
from orchestration.terminal.outbox_commands import outbox
from orchestration.terminal.shared import FAILED, AsJson, installation, print_json
from orchestration.terminal.talking_commands import talking

USAGE = 2

app = typer.Typer(
    help="Ring it from chat or by the clock, and a tracked Dagster run answers.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(talking)
app.add_typer(authoring)
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

    settings, home = installation()
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
    from integrations.gateway.installation import program, reach
    from orchestration.supervise.status import status as look
    from orchestration.supervise.status import with_channels
    from orchestration.terminal.lifecycle import addresses
    from orchestration.terminal.reports import show_status

    settings, home = installation()
    found = look(home, time.time())
    if any(row.name == "gateway" and row.healthy for row in found.rows):
        found = with_channels(found, channel_states(reach(settings)), datetime.now(UTC))
    if as_json:
        print_json({**asdict(found), "well": found.well})
    else:
        show_status(found)
        if any(row.name == "gateway" and row.healthy for row in found.rows):
            addresses(settings, settings.gateway_url, f"({program()} open signs a browser in)")
    raise typer.Exit(0 if found.well else FAILED)


@app.command("open")
def open_page() -> None:
    """Open the chat page, signed in; without a browser here, print the link to it, which works once."""
    from orchestration.terminal.lifecycle import open_chat

    open_chat(*installation())


@app.command()
def doctor(*, as_json: AsJson = False) -> None:
    """Check versions, ports, settings, secrets, database, models; exit status 1 when something fails."""
    from orchestration.supervise.doctor import examine
    from orchestration.terminal.reports import show_finding

    findings = []
    for finding in examine(installation()[0]):
        findings.append(finding)
        if not as_json:
            show_finding(finding)
    well = all(finding.verdict != "fail" for finding in findings)
    if as_json:
        print_json({"well": well, "findings": [asdict(finding) for finding in findings]})
    raise typer.Exit(0 if well else FAILED)


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

    settings, _ = installation()
    if network is None:
        states = channel_states(reach(settings))
        raise typer.Exit(connecting.show_networks(settings, states, as_json=as_json))
    found = connecting.find(network)
    if not check:
        connecting.connect(found, settings, given or [])
    raise typer.Exit(connecting.check(found, as_json=as_json))


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


if __name__ == "__main__":
    main()
