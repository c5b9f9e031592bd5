"""`python -m integrations.channels.table [--write]`: the capability table of docs/channels.md, made from the code."""

import importlib
import inspect
import pkgutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from integrations import channels
from integrations.channels.capabilities import Capabilities, Rate

DOCUMENT = Path(__file__).parents[2] / "docs" / "channels.md"
HOMES = ("channel", "app", "robot")
"""Modules of a network's folder in which its channels live, where that is not the folder itself."""
BEGIN, END = "<!-- capabilities: made by python -m integrations.channels.table --write -->", "<!-- end -->"
HEAD = (
    "channel", "without public address", "edit", "buttons", "cards", "forms", "files", "threads", "streaming",
    "longest text", "own limits", "repeats harmlessly",
)  # fmt: skip


def capabilities() -> dict[str, Capabilities]:
    """Return what each channel of the package can do, whether it is set up or not."""
    found: dict[str, Capabilities] = {}
    for info in pkgutil.iter_modules(channels.__path__):
        for module in _modules(info):
            for _, kind in inspect.getmembers(module, inspect.isclass):
                can, name = getattr(kind, "capabilities", None), getattr(kind, "name", info.name)
                if isinstance(can, Capabilities):
                    found.setdefault(name if isinstance(name, str) else info.name, can)
    return dict(sorted(found.items()))


def table() -> str:
    """Return the table as Markdown."""
    rows = [HEAD, tuple("---" for _ in HEAD)]
    rows += [_row(name, can) for name, can in capabilities().items()]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def renewed(document: str) -> str:
    """Return the document with the table as it is now."""
    before, _, rest = document.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{table()}\n\n{END}{after}"


def _modules(info: pkgutil.ModuleInfo) -> Iterator[ModuleType]:
    module = importlib.import_module(f"{channels.__name__}.{info.name}")
    if not hasattr(module, "connect"):
        return
    yield module
    for inner in pkgutil.iter_modules(getattr(module, "__path__", ()), f"{module.__name__}."):
        if inner.name.rpartition(".")[2] in HOMES:
            yield importlib.import_module(inner.name)


def _row(name: str, can: Capabilities) -> tuple[str, ...]:
    files = "files" if can.files else "pictures" if can.pictures else "names only"
    unit = {"characters": "characters", "utf16": "UTF-16 units", "bytes": "bytes"}[can.unit]
    return (
        name,
        can.push or "–",
        "yes" if can.edit else "new message",
        _buttons(can),
        "yes" if can.cards else "text",
        _forms(can),
        files,
        "yes" if can.threads else "–",
        {"native": "own", "edits": "edits", "none": "–"}[can.streaming],
        f"{can.max_text:,} {unit}",
        "; ".join(_rate(rate) for rate in can.rates) or "–",
        "yes" if can.idempotent else "no",
    )


def _forms(can: Capabilities) -> str:
    return "text" if not can.forms else "yes" if can.secret_fields else "yes, without secrets"


def _buttons(can: Capabilities) -> str:
    if isinstance(can.buttons, bool):
        return "yes" if can.buttons else "numbers"
    return f"up to {can.buttons}"


def _rate(rate: Rate) -> str:
    return f"{rate.count} in {rate.seconds:g} s per {rate.per}"


def main() -> int:
    """Print the document with a current table, or write it."""
    document = renewed(DOCUMENT.read_text(encoding="utf-8"))
    if "--write" in sys.argv:
        DOCUMENT.write_text(document, encoding="utf-8")
    else:
        sys.stdout.write(document)
    return 0


if __name__ == "__main__":
    sys.exit(main())
