"""Members of JSON objects that strangers wrote: of the kind that is wanted, or blank. Nothing here raises."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

MAX_ROWS = 200
Json = Mapping[str, Any]


def table(source: Json, name: str) -> Json:
    """Return a member that is an object; an empty one where it is missing."""
    found: object = source.get(name)
    return cast("Json", found) if isinstance(found, dict) else {}


def tables(source: Json, name: str) -> Sequence[Json]:
    """Return a member that is a list of objects; what comes after the first 200 is left out."""
    return rows(source.get(name))


def rows(value: object) -> Sequence[Json]:
    """Return the objects of a list, at most 200; none where it is no list."""
    members = cast("list[object]", value)[:MAX_ROWS] if isinstance(value, list) else []
    return [cast("Json", one) for one in members if isinstance(one, dict)]


def text(source: Json, name: str) -> str:
    """Return a member that is a text; a blank one where it is missing."""
    found: object = source.get(name)
    return found if isinstance(found, str) else ""
