"""What people see of a start or a stop: a live table in a terminal, plain lines elsewhere."""

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from orchestration.supervise.board import Row, Snapshot

_MARKS = {
    "waiting": ("·", "dim"),
    "starting": ("…", "yellow"),
    "ready": ("✓", "green"),
    "done": ("✓", "green"),
    "restarting": ("↻", "red"),
    "stopping": ("…", "yellow"),
    "stopped": ("·", "dim"),
}


class Screen:
    """Shows snapshots as they come; use it as a context manager."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(file=sys.stderr, highlight=False)
        self._live: Live | None = None
        self._told: dict[str, str] = {}

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live = Live(console=self._console, refresh_per_second=8, transient=True)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, board: Snapshot) -> None:
        """Show the present state; `watch` of `launch.up` and `down`."""
        if self._live is not None:
            self._live.update(_table(board))
            return
        for row in board.rows.values():
            self._tell(row)

    def _tell(self, row: Row) -> None:
        """Print a line for each change; what is downloaded, only every tenth. A step is told once it does something."""
        if row.state == "waiting" or (row.kind == "step" and row.state == "starting" and not row.detail):
            return
        key = row.state
        if row.state == "restarting" or (row.progress is not None and row.state == "starting"):
            key = f"{row.state}: {row.detail}" if row.progress is None else f"starting {int(row.progress * 10)}"
        if self._told.get(row.name) != key:
            self._told[row.name] = key
            self._console.print(
                f"{row.name:<14} {row.state} {_took(row)}{_detail(row)}".rstrip(), markup=False, soft_wrap=True
            )


def _table(board: Snapshot) -> Table:
    table = Table(box=None, padding=(0, 1), show_header=False)
    for problem in board.problems:
        table.add_row("!", Text(problem, style="yellow"))
    for row in board.rows.values():
        mark, style = _MARKS[row.state]
        line = Text(f"{_took(row)}{_detail(row)}", style="dim" if row.state in ("ready", "done", "waiting") else "")
        table.add_row(Text(mark, style=style), Text(row.name), line)
    return table


def _took(row: Row) -> str:
    if row.began_at is None or row.state in ("waiting", "stopped", "stopping", "restarting"):
        return ""
    return f"{(row.ready_at or time.time()) - row.began_at:.1f} s  "


def _detail(row: Row) -> str:
    if row.progress is None or row.state != "starting":
        return row.detail
    filled = round(row.progress * 20)
    return f"{'━' * filled}{'─' * (20 - filled)} {row.detail}"
