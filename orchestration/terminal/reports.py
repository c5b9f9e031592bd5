"""What `runbell status`, `doctor`, `check` and `new` print."""

import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from integrations.gateway.client import NotUp
from integrations.gateway.installation import program
from integrations.gateway.run_card import duration
from orchestration.supervise.doctor import Finding
from orchestration.supervise.status import Status

if TYPE_CHECKING:
    from orchestration.terminal.checking import Complaint  # it loads Dagster, which `status` need not wait for


def show_status(found: Status) -> None:
    """Print the table of `runbell status`."""
    console = Console(highlight=False)
    words = {
        "down": str(NotUp()),
        "ready": "Runbell is up and well.",
        "starting": "Runbell is starting.",
        "stopping": "Runbell is being stopped.",
        "degraded": "Runbell is up, but not all is well.",
        "abandoned": "Runbell is not supervised.",
    }
    console.print(words[found.overall], style="green" if found.well else "yellow", markup=False, soft_wrap=True)
    for problem in found.problems:
        console.print(f"! {problem}", style="yellow", markup=False)
    if not found.rows:
        return
    table = Table(box=None, padding=(0, 1))
    for title in ("", "process", "pid", "port", "memory", "up for", "restarts", "health"):
        table.add_column(title, justify="right" if title in ("pid", "port", "memory", "restarts") else "left")
    for row in found.rows:
        table.add_row(
            Text("✓", style="green") if row.healthy else Text("✗", style="red"),
            row.name,
            str(row.pid or ""),
            str(row.port or ""),
            f"{row.memory_mb:.0f} MB" if row.memory_mb is not None else "",
            "" if row.uptime_s is None else duration(row.uptime_s),
            str(row.restarts or ""),
            Text(row.state if row.healthy else f"{row.state}: {row.detail}"),
        )
    console.print(table)
    for row in found.rows:
        if row.died:
            console.print(f"  {row.name} was started again ({row.died})", style="dim", markup=False, soft_wrap=True)
    _show_workers(console, found)
    for name, link in found.channels.items():
        well = link.get("state") in ("up", "called")
        mark = Text("✓", style="green") if well else Text("✗", style="red")
        console.print(Text.assemble(" ", mark, f"  {name}: {link_text(link)}"), soft_wrap=True)


def _show_workers(console: Console, found: Status) -> None:
    if not found.workers:
        return
    table = Table(box=None, padding=(0, 1))
    for title in ("", "workers of", "ready", "version", "work"):
        table.add_column(title, justify="right" if title == "ready" else "left")
    for crew in found.workers:
        well = crew.ready > 0 and not crew.problem
        mark = Text("✓", style="green") if well else Text("✗", style="red")
        table.add_row(mark, crew.location, str(crew.ready), crew.version, crew.text)
    console.print(table)


def show_complaints(complaints: "Sequence[Complaint]") -> None:
    """Print what `runbell check` found, a line each, the place first."""
    for complaint in complaints:
        print(f"{complaint.place}: {complaint.level}: {complaint.text}")
    errors = sum(complaint.level == "error" for complaint in complaints)
    found = f"{_counted(errors, 'error')}, {_counted(len(complaints) - errors, 'warning')}"
    print(found if complaints else "All is well.")


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


@contextmanager
def at_work(what: str) -> Generator[Callable[[str], None]]:
    """Show in a terminal, and nowhere else, what goes on in this block; what is called tells what it is now."""
    console = Console(file=sys.stderr, highlight=False)
    if not console.is_terminal:
        yield lambda _: None
        return
    with console.status(what) as status:
        yield status.update


def show_created(name: str, written: Sequence[Path], *, running: bool) -> None:
    """Say what `runbell new` wrote, and what to do next; what is `running` knows nothing of it yet."""
    for path in written:
        print(f"✓ {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}")
    start = "make down && make up" if running else "make up"
    print(f"Next: make test-{name} · {program()} check · {start}, then /{name} Ada in the chat. More: {name}/README.md")


def link_text(link: Mapping[str, object]) -> str:
    """Say in words how a channel is connected."""
    words = {"up": "connected", "called": "called by the network", "connecting": "connecting", "down": "not connected"}
    state = str(link.get("state"))
    attempts = f" after {link['attempts']} attempts" if link.get("attempts") else ""
    detail = f": {link['detail']}" if link.get("detail") else ""
    return f"{words.get(state, state)}{attempts}{detail}"


def show_finding(finding: Finding) -> None:
    """Print one line of `runbell doctor`."""
    marks = {"ok": ("✓", "green"), "warn": ("!", "yellow"), "fail": ("✗", "red")}
    mark, style = marks[finding.verdict]
    line = Text.assemble((mark, style), f" {finding.what:<20} {finding.found}")
    if finding.remedy:
        line.append(f"\n    → {finding.remedy}", style=style)
    Console(highlight=False).print(line, soft_wrap=True)
