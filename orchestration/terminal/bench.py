"""`runbell models bench`: a model's pace as a table that grows while it is measured, as JSON, and as a picture."""

import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from integrations.settings import Settings
from orchestration import benching
from orchestration.supervise.home import Home
from orchestration.terminal.acting import Installed
from orchestration.terminal.answers import print_json
from serving.models_file import read_fleet


@dataclass(frozen=True)
class Wanted:
    """What was asked for on the command line."""

    model: str | None
    concurrent: Sequence[int]
    prompts: Sequence[int]
    max_tokens: int
    seconds: float
    chart: Path | None


def bench(settings: Settings, home: Home, wanted: Wanted, *, as_json: bool) -> None:
    """Measure through the running installation. Raises `NotUp` where there is none."""
    plan = benching.plan(
        read_fleet(settings.serving),
        wanted.model,
        concurrent=wanted.concurrent,
        prompts=wanted.prompts,
        max_tokens=wanted.max_tokens,
        seconds=wanted.seconds,
    )
    models = Installed(settings, home).models
    cells = list[benching.Cell]()
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with (
        Progress(*columns, console=Console(file=sys.stderr), transient=True) as bar,
        closing(benching.measure(models, plan)) as measured,  # pyright: ignore[reportArgumentType] - it is a generator
    ):
        task = bar.add_task(f"{plan.model}: loading", total=len(plan.cells))
        for many, length in plan.cells:
            bar.update(task, description=f"{plan.model}: {many} at once, {length} tokens")
            if (cell := next(measured, None)) is None:
                break
            cells.append(cell)
            bar.advance(task)
    missed = len(plan.cells) - len(cells)
    cells.sort(key=lambda cell: (cell.prompt_tokens, cell.concurrent))
    chart = wanted.chart or home.path / "charts" / f"bench-{Path(plan.model).name}.png"
    draw(plan.model, cells, chart)
    if as_json:
        told = [asdict(cell) for cell in cells]
        print_json({"model": plan.model, "cells": told, "left_out": missed, "chart": str(chart)})
    else:
        Console().print(table(plan.model, cells))
        if missed:
            print(f"{missed} combination(s) were left out, since the time was up: give it more with --seconds.")
        print(f"Picture: {chart}")


def table(model: str, cells: Sequence[benching.Cell]) -> Table:
    """Return the figures for people."""
    shown = Table(title=f"{model}, through Ray Serve, as ops ask it")
    for name in ("prompt", "at once", "tokens/s", "first token p50", "p95", "answered", "cut", "refused"):
        shown.add_column(name, justify="right")
    for cell in cells:
        shown.add_row(
            str(cell.prompt_tokens),
            str(cell.concurrent),
            f"{cell.tokens_per_s:.1f}",
            _ms(cell.first_ms_p50),
            _ms(cell.first_ms_p95),
            *(str(count) for count in (cell.answered, cell.cut, cell.refused)),
            end_section=cell is cells[-1] or cells[cells.index(cell) + 1].prompt_tokens != cell.prompt_tokens,
        )
    return shown


def draw(model: str, cells: Sequence[benching.Cell], path: Path) -> None:
    """Draw tokens per second and time to the first token over concurrency, a line for each length of prompt."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.8), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    pace, first = figure.subplots(1, 2)
    for length in sorted({cell.prompt_tokens for cell in cells}):
        of_length = [cell for cell in cells if cell.prompt_tokens == length]
        many = [cell.concurrent for cell in of_length]
        pace.plot(many, [cell.tokens_per_s for cell in of_length], marker="o", label=f"{length} tokens")
        told = [(cell.concurrent, cell.first_ms_p50) for cell in of_length if cell.first_ms_p50 is not None]
        first.plot([x for x, _ in told], [ms for _, ms in told], marker="o", label=f"{length} tokens")
    for axes, title in ((pace, "tokens/s"), (first, "ms to the first token (p50)")):
        axes.set_title(title)
        axes.set_xlabel("requests at once")
        axes.set_xscale("log", base=2)
        axes.set_xticks(sorted({cell.concurrent for cell in cells}), labels=None)
        axes.xaxis.set_major_formatter("{x:.0f}")
        axes.set_ylim(bottom=0)
        axes.spines[["top", "right"]].set_visible(False)
    pace.legend(title="prompt")
    figure.suptitle(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    figure.savefig(part, format="png")
    part.replace(path)


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f} ms"
