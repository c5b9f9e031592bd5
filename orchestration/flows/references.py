"""References in a workflow's texts: `{{ args.order }}`, `{{ steps.fetch.body.items.0.total }}`, and nothing else.

There are no expressions, filters or functions, so nothing of it is evaluated; what a reference leads to is put in as it
is and never read as a template again. A text that is one reference gets the value itself: a number stays a number.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias, cast

from orchestration.members import as_text

Where: TypeAlias = tuple[str | int, ...]
_HOLE = re.compile(r"\{\{(.*?)(\}\}|$)", re.DOTALL)
_PATH = re.compile(r"(args|steps)((?:\.[\w-]{1,100}){1,16})")


@dataclass(frozen=True)
class Reference:
    """Where a value comes from: an argument of the command, or a member of an earlier step's result."""

    root: str
    path: tuple[str, ...]

    @property
    def name(self) -> str:
        """The argument or step that it names."""
        return self.path[0]

    def __str__(self) -> str:
        return ".".join((self.root, *self.path))


def read_path(path: str) -> Reference:
    """Return the reference that a path is, without braces. Raises ValueError, saying what it may be."""
    found = _PATH.fullmatch(path)
    if found is None:
        told = " Secrets come from [actions.credentials], or an argument of the type secret."
        raise ValueError(
            f"{path[:100]!r} leads nowhere: write args.NAME or steps.NAME.MEMBER."
            + (told if path.startswith("env") else "")
        )
    return Reference(found[1], tuple(found[2][1:].split(".")))


def pieces(text: str) -> list[str | Reference]:
    """Cut a text at its references. Raises ValueError for braces that hold anything else."""
    found: list[str | Reference] = []
    end = 0
    for hole in _HOLE.finditer(text):
        if not hole[2]:
            raise ValueError("{{ has no }}")
        found += [*([text[end : hole.start()]] if hole.start() > end else []), read_path(hole[1].strip())]
        end = hole.end()
    return [*found, *([text[end:]] if end < len(text) else [])]


def references(value: object, at: Where = ()) -> Iterator[tuple[Where, Reference | str]]:
    """Yield each reference in a value and where it stands, or in its place what is wrong with it."""
    if isinstance(value, str):
        try:
            yield from ((at, piece) for piece in pieces(value) if isinstance(piece, Reference))
        except ValueError as error:
            yield at, str(error)
    elif isinstance(value, Mapping):
        for name, item in cast("Mapping[str, object]", value).items():
            if "{{" in name:
                yield (*at, name), "a name can't hold a reference"
            yield from references(item, (*at, name))
    elif isinstance(value, list):
        for number, item in enumerate(cast("list[object]", value)):
            yield from references(item, (*at, number))


def fill(value: object, look: Callable[[Reference], object], quote: Callable[[str], str] = str) -> object:
    """Return the value with what its references lead to; inside a text that goes through `quote`."""
    if isinstance(value, str):
        found = pieces(value)
        if len(found) == 1 and isinstance(found[0], Reference):
            return look(found[0])
        return "".join(piece if isinstance(piece, str) else quote(as_text(look(piece))) for piece in found)
    if isinstance(value, Mapping):
        return {name: fill(item, look, quote) for name, item in cast("Mapping[str, object]", value).items()}
    if isinstance(value, list):
        return [fill(item, look, quote) for item in cast("list[object]", value)]
    return value
