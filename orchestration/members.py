"""Members of what came as JSON, by their path (`data`, `items`, `0`, `title`); nothing is evaluated."""

import json
from collections.abc import Mapping, Sequence
from typing import cast


def member(value: object, path: Sequence[str], *, in_texts: bool = False) -> object:
    """Return a member. Raises `KeyError` where there is none.

    With `in_texts` a text that is a JSON document has members, too: the body of an HTTP answer, a script's output.
    """
    for name in path:
        if in_texts and isinstance(value, str):
            value = _document(value)
        if isinstance(value, Mapping):
            value = cast("Mapping[str, object]", value)[name]
        elif isinstance(value, Sequence) and not isinstance(value, str) and name.isdecimal():
            items = cast("Sequence[object]", value)
            if int(name) >= len(items):
                raise KeyError(name)
            value = items[int(name)]
        else:
            raise KeyError(name)
    return value


def as_text(value: object) -> str:
    """Return a value as it is written in a text: nothing for null, JSON for what has members."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


def _document(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
