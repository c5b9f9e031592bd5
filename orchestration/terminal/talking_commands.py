"""`runbell send`, `chat`, `run` …: what users may do, typed in a terminal."""

from typing import Annotated

import typer

from integrations.errors import InvalidInput
from orchestration.terminal.shared import AsJson, installation

talking = typer.Typer()


@talking.command()
def send(
    text: str,
    *,
    conversation: Annotated[str | None, typer.Option(help="Where to go on; a new one without it.")] = None,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for the answer.")] = 300.0,
    as_json: AsJson = False,
) -> None:
    """Say something and print the answer.

    Exit status 0: answered, also where the answer is a refusal or a question; 1: failed; 2: wrong usage. In scripts
    `run` says more: it ends with 2 where a command or an argument is wrong.
    """
    from integrations.gateway.client import Client
    from integrations.gateway.installation import reach
    from orchestration.terminal.answers import Waiting, show_message

    settings, home = installation()
    with Client(reach(settings), home.path) as client:
        state = client.send(text, conversation=conversation, timeout_s=timeout, waiting=Waiting())
    raise typer.Exit(show_message(state, settings.gateway_url, as_json=as_json))


@talking.command()
def chat(
    *, conversation: Annotated[str, typer.Option(help="Its name; the same name goes on where it was.")] = "terminal"
) -> None:
    """Chat in the terminal."""
    from integrations.gateway.installation import reach
    from orchestration.terminal.chat import talk

    settings, home = installation()
    raise typer.Exit(talk(reach(settings), home.path, conversation))


@talking.command()
def commands(*, as_json: AsJson = False) -> None:
    """List the commands that may be run."""
    from integrations.gateway.client import Client
    from integrations.gateway.installation import reach
    from orchestration.terminal.answers import show_commands

    settings, home = installation()
    with Client(reach(settings), home.path) as client:
        show_commands(client.commands(), as_json=as_json)


@talking.command()
def run(
    command: str,
    arguments: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE…")] = None,
    *,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for the end.")] = 600.0,
    preview: Annotated[
        bool, typer.Option("--preview", help="Say what it would do, and usually takes; start nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Run a command and print what it answers; exit status 0 when it succeeded."""
    from integrations.gateway.client import Client
    from integrations.gateway.installation import reach
    from orchestration.terminal.answers import Waiting, show_run
    from orchestration.terminal.arguments import refused, typed

    settings, home = installation()
    if preview:
        from orchestration.terminal.parsing import preview_here, show_preview

        show_preview(preview_here(command, arguments or [], settings, home.endpoints), as_json=as_json)
        return
    with Client(reach(settings), home.path) as client:
        known = client.commands()
        try:
            state = client.run(command, typed(command, arguments or [], known), timeout_s=timeout, waiting=Waiting())
        except InvalidInput as error:
            raise refused(command, known, error) from error
    raise typer.Exit(show_run(state, settings.gateway_url, as_json=as_json))


@talking.command()
def parse(text: str, *, as_json: AsJson = False) -> None:
    """Show what would be done with a text; starts nothing."""
    from orchestration.terminal.parsing import parse_here, show_parsed

    settings, home = installation()
    show_parsed(parse_here(text, settings, home.endpoints), as_json=as_json)


@talking.command()
def act(
    action: str,
    arguments: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE…")] = None,
    *,
    preview: Annotated[bool, typer.Option("--preview", help="Say what it would do; do nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Carry out one action under the present settings; exit status 0 when it was done."""
    from orchestration.terminal.acting import act_here, show_outcome, show_preview

    settings, home = installation()
    prepared, carry_out = act_here(action, arguments or [], settings, home)
    if preview:
        show_preview(prepared, as_json=as_json)
    else:
        show_outcome(prepared, carry_out(), as_json=as_json)
