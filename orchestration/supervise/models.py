"""The step that fetches what the settings ask models for, with progress; after the first start it only looks."""

import asyncio
from pathlib import Path

from integrations.settings import Settings
from orchestration.supervise.spec import Report


async def pull_starters(settings: Settings, home: Path, report: Report) -> None:
    """Fetch the embedder and, where the engine loads files, the chat model. Raises what `serving.catalogue` does."""
    wanted = [settings.serving.embedder]
    if settings.serving.engine == "llama_cpp":
        wanted.append(settings.serving.model)
    for name in wanted:
        await asyncio.to_thread(_pull, home, name, report)


def _pull(home: Path, name: str, report: Report) -> None:
    from serving.catalogue import Progress, pull

    def on_progress(progress: Progress) -> None:
        share = progress.done / progress.total if progress.total else None
        megabytes = f"{progress.done / 1e6:.0f}"
        if progress.total:
            megabytes += f" of {progress.total / 1e6:.0f}"
        report(f"{progress.stage} {progress.name}: {megabytes} MB", share)

    report(f"looking for {name}", None)
    pull(home, name, on_progress)
