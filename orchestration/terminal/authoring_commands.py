"""`runbell new`, `check`, `record`, `replay`: what authors of workflows type."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from orchestration.terminal.shared import FAILED, AsJson, installation, print_json

authoring = typer.Typer()


@authoring.command()
def record(
    conversation: str,
    *,
    channel: Annotated[str | None, typer.Option(help="Its network, where several have one of that name.")] = None,
) -> None:
    """Print a conversation as a file that can be replayed, without names, secrets and ids."""
    from orchestration.terminal.rehearsal import record_here

    settings, home = installation()
    sys.stdout.write(record_here(conversation, channel, settings, home.endpoints))


@authoring.command()
def replay(
    file: Path,
    *,
    accept: Annotated[bool, typer.Option("--accept", help="Write into the file what comes out now.")] = False,
    online: Annotated[bool, typer.Option("--online", help="Let ops reach other machines.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say a recorded conversation to the code as it is now; exit status 1 when something comes out otherwise."""
    from orchestration.terminal.rehearsal import replay_here

    same = replay_here(file, installation()[0], accept=accept, online=online, as_json=as_json)
    raise typer.Exit(0 if same else FAILED)


@authoring.command()
def check(*, as_json: AsJson = False) -> None:
    """Look for what is wrong with commands, arguments and schedules of all code locations; exit status 1 for errors."""
    from orchestration.terminal.reports import at_work, show_complaints

    with at_work("Loading Dagster") as told:
        from orchestration.terminal.checking import check as look

        complaints = look(installation()[0], told)
    well = all(complaint.level != "error" for complaint in complaints)
    if as_json:
        print_json({"well": well, "complaints": [asdict(complaint) for complaint in complaints]})
    else:
        show_complaints(complaints)
    raise typer.Exit(0 if well else FAILED)


@authoring.command()
def new(
    name: str, *, in_yaml: Annotated[bool, typer.Option("--yaml", help="A workflow in YAML, without Python.")] = False
) -> None:
    """Write a code location to start from, with a workflow and its test, and enter it in workspace.yaml."""
    from integrations.gateway.installation import is_kept
    from orchestration.scaffold import TEMPLATES, WITHOUT_PYTHON, create
    from orchestration.terminal.reports import show_created

    settings, home = installation()
    written = create(name, settings.dagster.workspace, templates=WITHOUT_PYTHON if in_yaml else TEMPLATES)
    show_created(name, written, running=is_kept(home.path))
