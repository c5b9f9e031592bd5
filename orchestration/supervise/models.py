"""The step that fetches the models that the settings ask for, with progress; after the first start it only looks."""

import asyncio
from pathlib import Path
from typing import Literal

from integrations.settings import Settings
from orchestration.supervise.spec import Report


def wanted(settings: Settings) -> list[tuple[str, Literal["chat", "embedder"]]]:
    """Return the models that must be files here: an `openai` engine has its own elsewhere.

    Raises `Misconfigured` for an engine that there is not, and for what is wrong in models.yaml.
    """
    from serving.catalogue import check_engine
    from serving.models_file import read_fleet

    fleet = read_fleet(settings.serving)
    models: list[tuple[str, Literal["chat", "embedder"]]] = [(fleet.models[fleet.embedder].model, "embedder")]
    for spec in fleet.models.values():
        if not spec.embeds:
            check_engine(spec.engine)
        if spec.engine == "llama_cpp":
            models.append((spec.model, "chat"))
    return models


async def pull_wanted(settings: Settings, home: Path, report: Report) -> None:
    """Fetch what is missing or damaged. Raises what `serving.catalogue.pull` does."""
    for name, kind in wanted(settings):
        report(f"looking at {name}", None)
        await asyncio.to_thread(_pull, home, name, kind, report)


def _pull(home: Path, name: str, kind: Literal["chat", "embedder"], report: Report) -> None:
    from integrations.errors import Misconfigured
    from serving.catalogue import Progress, find, pull, starter

    def on_progress(progress: Progress) -> None:
        share = progress.done / progress.total if progress.total else None
        megabytes = f"{progress.done / 1e6:.0f}"
        if progress.total:
            megabytes += f" of {progress.total / 1e6:.0f}"
        report(f"{progress.stage} {progress.name}: {megabytes} MB", share)

    if name not in {known.name for known in starter()}:
        # The user's own: it is whole when it was pulled, and the engine checks it when it loads.
        try:
            find(home, name, kind=kind)
        except Misconfigured as error:
            raise Misconfigured(f"{error}, or name another in models.yaml or serving.model") from error
        return
    pull(home, name, on_progress)
