"""`runbell outbox …` as it is typed; what it does is in `outbox.py`, imported only when it is needed."""

from typing import Annotated

import typer

from orchestration.terminal.shared import AsJson, installation

outbox = typer.Typer(help="Answers that did not reach anybody.", no_args_is_help=True)


@outbox.command("list")
def list_outbox(*, as_json: AsJson = False) -> None:
    """List the latest messages that failed, died or whose delivery is unknown."""
    from orchestration.terminal.outbox import show_undelivered

    settings, home = installation()
    show_undelivered(settings, home.endpoints, as_json=as_json)


@outbox.command("show")
def show_outbox(item: Annotated[int, typer.Argument(metavar="ID")], *, as_json: AsJson = False) -> None:
    """Show one of them with its text."""
    from orchestration.terminal.outbox import show

    settings, home = installation()
    raise typer.Exit(show(settings, home.endpoints, item, as_json=as_json))


@outbox.command("drop")
def drop_outbox(item: Annotated[int, typer.Argument(metavar="ID")]) -> None:
    """Give one of them up for good."""
    from orchestration.terminal.outbox import drop

    settings, home = installation()
    raise typer.Exit(drop(settings, home.endpoints, item))


@outbox.command("replay")
def replay_outbox(item: Annotated[int, typer.Argument(metavar="ID")]) -> None:
    """Queue one of them again."""
    from orchestration.terminal.outbox import replay

    settings, home = installation()
    raise typer.Exit(replay(settings, home.endpoints, item))
