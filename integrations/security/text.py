"""Clean what people and machines send before it is stored: control characters and bidi overrides.

What happens to which character:
- NUL and lone surrogates are refused: no database or log can hold them, and no person types them.
- CR LF and CR become LF; the other C0 controls but LF and TAB, DEL and the C1 controls are removed.
- the bidi embeddings and overrides (U+202A to U+202E) are removed: they can show a text in another order than
  it is read by machines. Marks and isolates stay, Arabic and Hebrew need them, and they end with their line.
- everything else, emoji and their joiners included, stays as it is.
"""

import math
import re
from collections.abc import Iterable
from typing import cast

from integrations.errors import InvalidInput

_REFUSED = re.compile("[\x00\ud800-\udfff]")
_REMOVED = re.compile("[\x01-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e]")
_LINE_END = re.compile("\r\n?|\x85")
_NOT_IN_NAMES = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
MAX_DEPTH = 16


def clean(text: str, *, field: str = "text") -> str:
    """Return the text without harmful characters; raise InvalidInput for those that can't be removed."""
    if text.isascii() and text.isprintable():
        return text
    if _REFUSED.search(text):
        raise InvalidInput("NUL and lone surrogates are not allowed; send UTF-8 text.", field=field)
    return _REMOVED.sub("", _LINE_END.sub("\n", text))


def check_name(name: str, *, field: str) -> str:
    """Return an identifier that came from outside, unless it is blank or carries invisible characters."""
    if not name.strip():
        raise InvalidInput(f"{field} must not be blank.", field=field)
    if _NOT_IN_NAMES.search(name):
        raise InvalidInput(f"{field} must not hold control or direction characters.", field=field)
    return name


def check_value(value: object, *, field: str, depth: int = 0) -> None:
    """Refuse JSON values that a database can't keep: NUL, lone surrogates, NaN, infinity, endless depth."""
    if depth > MAX_DEPTH:
        raise InvalidInput(f"Values may be nested {MAX_DEPTH} deep at most.", field=field)
    if isinstance(value, str):
        if _REFUSED.search(value):
            raise InvalidInput("NUL and lone surrogates are not allowed; send UTF-8 text.", field=field)
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidInput("NaN and infinity are not JSON numbers.", field=field)
    else:
        for name, item in _members(value):
            check_value(name, field=field, depth=depth)
            check_value(item, field=f"{field}.{name}"[:200], depth=depth + 1)


def _members(value: object) -> Iterable[tuple[str, object]]:
    if isinstance(value, dict):
        return cast("dict[str, object]", value).items()
    if isinstance(value, list | tuple):
        return [(str(index), item) for index, item in enumerate(cast("list[object]", value))]
    return ()
