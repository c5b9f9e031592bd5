"""Bars as a PNG. Figures are drawn without pyplot, whose state all threads of a worker would share."""

import hashlib
from pathlib import Path

from examples.shop import Figures
from integrations.settings import Settings


def draw_bars(found: Figures, folder: Path | None = None) -> Path:
    """Draw the revenue of each group and return the picture's path, the same for the same figures."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    folder = folder or Settings().state / "charts"
    folder.mkdir(parents=True, exist_ok=True)
    key = hashlib.sha256(repr(found).encode()).hexdigest()[:12]
    path = folder / f"sales-{found.year}-by-{found.by}-{key}.png"
    figure = Figure(figsize=(7, 3.5), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    names = [row.name for row in found.rows]
    axes.bar(names, [row.revenue for row in found.rows], color="#3b6ea8")
    axes.set_title(f"Revenue of {found.year} by {found.by} (EUR)")
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(axis="x", labelrotation=45 if len(names) > 6 else 0)
    part = path.with_suffix(".part")
    figure.savefig(part, format="png")
    part.replace(path)
    return path
