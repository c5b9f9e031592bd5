"""`runbell models`: what is served and what is here, pulling with progress, and changing who answers."""

import json
import sys
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import yaml
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from integrations.errors import InvalidInput, Unavailable
from integrations.gateway.listeners import stranger_at
from integrations.settings import Settings
from orchestration.supervise.home import Home
from orchestration.terminal.shared import print_json
from orchestration.terminal.store import opened
from serving import catalogue
from serving.models_edit import switch, switch_back
from serving.models_file import EXAMPLE, MODELS_FILE, SHORT_FORM, read_fleet
from serving.vllm import serve_config

LOOK_S = 0.5
CACHES_H = 24


class Hits(NamedTuple):
    """How often something was known, of how often it was asked for."""

    known: int
    asked: int


def show_models(settings: Settings, home: Path, *, as_json: bool) -> None:
    """Print the models that are served, those that are here, and the starters that are not."""
    served, here = _served(settings, home), catalogue.installed(home)
    names = {model.name for model in here}
    missing = [starter for starter in catalogue.starter() if starter.name not in names]
    caches = _caches(settings, home) if served else None
    if as_json:
        installed = [model.model_dump(mode="json", exclude={"files"}) | {"size": model.size} for model in here]
        starters = [{"name": starter.name, "kind": starter.kind, "engine": starter.engine} for starter in missing]
        told = {"caches": asdict(caches)} if caches else {}
        print_json({"served": served, "installed": installed, "can_be_pulled": starters, **told})
        return
    for model in served:
        print(_line(model))
    if caches:
        print(f"Caches of the last {CACHES_H} hours: {_hits(caches)}")
    if served:
        print()
    for model in here:
        print(f"{model.name:<28} {model.kind:<9} {model.engine:<10} {model.size / 1e6:7.0f} MB  {model.source}")
    for starter in missing:
        print(f"{starter.name:<28} {starter.kind:<9} {starter.engine:<10} not here: runbell models pull {starter.name}")


def _served(settings: Settings, home: Path) -> list[dict[str, Any]]:
    """Return how the models are doing; nothing where Runbell is not up."""
    token, serving = home / "token", settings.serving
    if not token.is_file():
        return []
    url = f"http://{serving.host}:{serving.port}/v1/status"
    if stranger_at(url, token):
        return []
    headers = {"Authorization": f"Bearer {token.read_text(encoding='utf-8').strip()}"}
    try:
        answer = httpx.get(url, headers=headers, timeout=10, trust_env=False).raise_for_status()
    except httpx.HTTPError:
        return []
    return list(answer.json()["models"])


@dataclass(frozen=True)
class Caches:
    """What caches saved in the last day. `prefixes` are tokens that a model had read before, by model."""

    answers: Hits
    vectors: Hits
    prefixes: dict[str, Hits]


def _caches(settings: Settings, home: Path) -> Caches | None:
    """Return what caches saved, None where the database is away; the vectors' are those of workers that live now."""
    since = datetime.now(UTC) - timedelta(hours=CACHES_H)
    try:
        with opened(settings, Home(home).endpoints) as database:
            saved, workers = database.usage.saved(since), database.workers.live()
    except Unavailable:
        return None
    hits, texts = sum(one.hits for one in saved), sum(worker.texts for worker in workers)
    return Caches(
        answers=Hits(hits, hits + sum(one.misses for one in saved)),
        vectors=Hits(sum(worker.texts_known for worker in workers), texts),
        prefixes={one.model: Hits(one.tokens_cached, one.tokens_in) for one in saved if one.tokens_in},
    )


def _hits(caches: Caches) -> str:
    """Say what was saved; a cache that nobody asked is left out."""
    told = [("answers", caches.answers), ("vectors", caches.vectors)]
    told += [(f"tokens read by {model}", hits) for model, hits in caches.prefixes.items()]
    shares = [f"{name} {100 * hits.known / hits.asked:.0f} % of {hits.asked}" for name, hits in told if hits.asked]
    return ", ".join(shares) or "nobody asked them"


def _line(model: dict[str, Any]) -> str:
    load: dict[str, Any] = model.get("load") or {}
    words = [f"{model['name']:<28} {model['engine']:<12} {model['state'].lower():<10} {model['replicas']} replica(s)"]
    if "memory_mb" in load:
        words.append(f"{load['memory_mb']} MB")
    if "busy" in load:
        words.append(
            f"{load['busy']} of {load['slots']} busy, {load['waiting']} waiting, {load['tokens_per_s']} tokens/s"
        )
    if model.get("problem"):
        words.append(f"problem: {model['problem']}")
    return "  ".join(words)


def write_first(settings: Settings) -> None:
    """Write models.yaml. Raises `InvalidInput` where there is one, or where [serving] would say it twice."""
    path = _path(settings)
    if path.exists():
        raise InvalidInput(f"{path} is there already.")
    said = settings.serving.model_dump(exclude_unset=True)
    both = [name for name in SHORT_FORM if name in said]
    if both:
        raise InvalidInput(
            f"Remove {', '.join(both)} from [serving] first (or from RUNBELL_SERVING__…): {path} says it."
        )
    path.write_text(EXAMPLE, encoding="utf-8")
    print(f"{path} says what is served now; what you change in it is taken over while requests go on (docs/models.md).")


def switch_route(settings: Settings, home: Path, route: str, model: str | None, *, back: bool) -> int:
    """Change models.yaml and wait until it is served; return 1, with the file as it was, where it can't be."""
    path, ready = _path(settings), home / "run" / "serving.ready"
    if back:
        switch_back(path)
    elif model is None:
        raise InvalidInput("Say which model: runbell models switch ROUTE MODEL", field="model")
    else:
        print(f"{route}: {', '.join(switch(path, route, model))}")
    fleet = read_fleet(settings.serving)
    if not ready.exists():
        print("Runbell is not up: the next `runbell up` serves it so.")
        return 0
    limit = time.monotonic() + max(spec.load_timeout_s for spec in fleet.models.values()) + 60
    while time.monotonic() < limit:
        told = _told(ready)
        if told.get("fleet") == fleet.digest:
            print("It is served.")
            return 0
        if told.get("refused") == fleet.digest:
            switch_back(path)
            print(f"Not switched: {told.get('problem')}", file=sys.stderr)
            return 1
        time.sleep(LOOK_S)
    print("It is still loading; see: runbell models list", file=sys.stderr)
    return 1


def show_vllm(settings: Settings, name: str, out: Path | None) -> None:
    """Print or write the configuration for `serve deploy`."""
    spec = read_fleet(settings.serving).models.get(name)
    if spec is None or spec.engine != "vllm":
        raise InvalidInput(f"{name!r} is no model with `engine: vllm` in models.yaml.", field="name")
    text = "# serve deploy FILE, where ray[llm] is installed\n" + yaml.safe_dump(serve_config(spec), sort_keys=False)
    if out is None:
        print(text, end="")
    else:
        out.write_text(text, encoding="utf-8")


def _path(settings: Settings) -> Path:
    return Path(settings.serving.models_file or MODELS_FILE)


def _told(ready: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(ready.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def pull_with_progress(home: Path, reference: str) -> None:
    """Get a model and show how far it is."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    console = Console(file=sys.stderr)
    # Elsewhere than in a terminal it would print nothing but an empty line.
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(reference, total=None)

        def on_progress(progress: catalogue.Progress) -> None:
            bar.update(
                task, description=f"{progress.stage} {progress.name}", completed=progress.done, total=progress.total
            )

        model = catalogue.pull(home, reference, on_progress)
    engine = "" if model.engine == "llama_cpp" else f"RUNBELL_SERVING__ENGINE={model.engine} "
    print(f"{model.name} is here ({model.size / 1e6:.0f} MB). Use it with: {engine}RUNBELL_SERVING__MODEL={model.name}")
