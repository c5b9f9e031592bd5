"""`runbell models`: what is here, what can be pulled, and pulling with progress."""

import sys
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from orchestration.terminal.answers import print_json
from serving import catalogue


def show_models(home: Path, *, as_json: bool) -> None:
    """Print the models that are here, and the starters that are not."""
    here = catalogue.installed(home)
    names = {model.name for model in here}
    missing = [starter for starter in catalogue.starter() if starter.name not in names]
    if as_json:
        installed = [model.model_dump(mode="json", exclude={"files"}) | {"size": model.size} for model in here]
        starters = [{"name": starter.name, "kind": starter.kind, "engine": starter.engine} for starter in missing]
        print_json({"installed": installed, "can_be_pulled": starters})
        return
    for model in here:
        print(f"{model.name:<28} {model.kind:<9} {model.engine:<10} {model.size / 1e6:7.0f} MB  {model.source}")
    for starter in missing:
        print(f"{starter.name:<28} {starter.kind:<9} {starter.engine:<10} not here: runbell models pull {starter.name}")


def pull_with_progress(home: Path, reference: str) -> None:
    """Get a model and show how far it is."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(file=sys.stderr), transient=True) as bar:
        task = bar.add_task(reference, total=None)

        def on_progress(progress: catalogue.Progress) -> None:
            bar.update(
                task, description=f"{progress.stage} {progress.name}", completed=progress.done, total=progress.total
            )

        model = catalogue.pull(home, reference, on_progress)
    print(f"{model.name} is here ({model.size / 1e6:.0f} MB). Use it with: RUNBELL_SERVING__MODEL={model.name}")
