"""Values of arguments: read from typed text, checked against their JSON Schema, put in the form of Dagster.

Reading is led by the schema and never guesses: `3` is text where text is wanted and a number where a number
is. `wording.py` says in words what a schema wants.
"""

import json
import math
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, cast

from jsonschema import Draft202012Validator

from orchestration.commands.formats import is_known, read_format
from orchestration.commands.moments import Moment

Schema: TypeAlias = dict[str, object]
Piece: TypeAlias = tuple[str, bool]
"""Some characters of a word, and whether they stood in quotes."""

NAMES = "x-names"
SEPARATORS = ",，、；"
MAX_DIGITS = 40
MAX_ITEMS = 1000
_TRUE = frozenset({"true", "yes", "y", "on", "1", "是", "对", "真", "开", "要"})
_FALSE = frozenset({"false", "no", "n", "off", "0", "否", "不", "假", "关", "不要"})
_NULL = frozenset({"null", "none", "无", "空"})
_SPLIT = re.compile(f"[{SEPARATORS}]")
_SCHEME = re.compile(r"^(https?)[:：][/／]{2}", re.IGNORECASE)
_UNSTORABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


class Unreadable(Exception):
    """This is not what the schema expects; its text may say why, as one of `wording.REASONS`."""


def read(pieces: Sequence[Piece], schema: Schema, moment: Moment | None = None) -> object:
    """Turn typed text into a value of the schema. Raises `Unreadable`; never anything else."""
    text = "".join(part for part, _ in pieces)
    if _UNSTORABLE.search(text):
        raise Unreadable
    choices = cast("list[Schema]", schema.get("anyOf", []))
    if any(choice.get("type") == "null" for choice in choices) and _is_null(text, schema):
        return None
    value = _read(pieces, text, without_null(schema), moment)
    check(value, schema)
    return value


def readable(pieces: Sequence[Piece], schema: Schema, moment: Moment) -> bool:
    """Whether a value of the schema can be made of typed text."""
    try:
        read(pieces, schema, moment)
    except Unreadable:
        return False
    return True


def check(value: object, schema: Schema) -> None:
    """Raise `Unreadable` unless the value is exactly what Dagster and pydantic will accept."""
    if not _fits(value, schema):
        raise Unreadable


def coerce(value: object, schema: Schema, moment: Moment | None = None) -> object:
    """Take a structured value (JSON, a form): text is read as if typed, where text isn't what is wanted."""
    plain = without_null(schema)
    if isinstance(value, str):
        return read([(value, plain.get("type") == "string")], schema, moment)
    if isinstance(value, list) and plain.get("type") == "array":
        if len(cast("list[object]", value)) > MAX_ITEMS:
            raise Unreadable
        items = cast("Schema", plain.get("items", {}))
        value = [coerce(item, items, moment) for item in cast("list[object]", value)]
    value = _as_json_number(value, plain)
    check(value, schema)
    return value


def default_of(schema: Schema, moment: Moment | None = None) -> object:
    """Return the default of a text with a form, read as if it were said now; None where there is none of the kind.

    Dagster itself would hand on `tomorrow 9am` as it stands. Raises `Unreadable`.
    """
    default = schema.get("default")
    return coerce(default, schema, moment) if isinstance(default, str) and is_known(without_null(schema)) else None


def goes_on(value: Sequence[Piece]) -> bool:
    """Whether a list goes on behind this word, which ends in a separator."""
    text, quoted = value[-1]
    return not quoted and text.endswith(tuple(SEPARATORS))


def split_list(pieces: Sequence[Piece]) -> list[list[Piece]]:
    """Cut at separators that stand outside quotes; empty items fall away."""
    items: list[list[Piece]] = [[]]
    for text, quoted in pieces:
        if quoted:
            items[-1].append((text, True))
            continue
        first, *others = _SPLIT.split(text)
        items[-1].append((first, False))
        items.extend([(other, False)] for other in others)
    stripped = [[(t if q else t.strip(), q) for t, q in item] for item in items]
    return [item for item in stripped if any(text or quoted for text, quoted in item)]


def without_null(schema: Mapping[str, object]) -> Schema:
    """Return what a value may be when it is not null: `int | None` is an integer."""
    choices = cast("list[Schema] | None", schema.get("anyOf"))
    if choices is None:
        return dict(schema)
    kept = [choice for choice in choices if choice.get("type") != "null"]
    rest = {key: value for key, value in schema.items() if key != "anyOf"}
    return {**rest, **kept[0]} if len(kept) == 1 else {**rest, "anyOf": kept}


def in_config_form(value: object, schema: Mapping[str, object]) -> object:
    """Return a checked value as Dagster's run config wants it: members of enums by name."""
    if NAMES in schema:
        values = cast("list[object]", schema.get("enum", []))
        return cast("list[str]", schema[NAMES])[values.index(value)]
    if "anyOf" in schema:
        choices = cast("list[Schema]", schema["anyOf"])
        fitting = next(choice for choice in choices if _fits(value, choice))
        return in_config_form(value, fitting)
    if isinstance(value, list):
        items = cast("Schema", schema.get("items", {}))
        return [in_config_form(item, items) for item in cast("list[object]", value)]
    if isinstance(value, dict):
        inner = cast("Mapping[str, Schema]", schema.get("properties", {}))
        other = schema.get("additionalProperties")
        default = cast("Schema", other) if isinstance(other, dict) else {}
        pairs = cast("dict[str, object]", value).items()
        return {key: in_config_form(item, inner.get(key, default)) for key, item in pairs}
    return value


def _read(pieces: Sequence[Piece], text: str, schema: Schema, moment: Moment | None) -> object:
    if "enum" in schema or "const" in schema:
        return _read_choice(text, schema)
    if "anyOf" in schema:
        return _read_any(pieces, text, cast("list[Schema]", schema["anyOf"]), moment)
    if schema.get("type") == "array":
        return _read_list(pieces, text, schema, moment)
    if is_known(schema):
        return _read_formatted(text, schema, moment)
    if schema.get("type") == "string":
        return text if any(quoted for _, quoted in pieces) else _SCHEME.sub(r"\1://", text)
    return _READERS.get(str(schema.get("type")), _read_anything)(text)


def _read_formatted(text: str, schema: Schema, moment: Moment | None) -> str:
    try:
        return read_format(text, schema, moment or Moment())
    except (ValueError, OverflowError) as error:
        raise Unreadable(str(error)) from error


def _read_any(pieces: Sequence[Piece], text: str, choices: Sequence[Schema], moment: Moment | None) -> object:
    for choice in choices:
        try:
            value = _read(pieces, text, choice, moment)
            check(value, choice)
        except Unreadable:
            continue
        return value
    raise Unreadable


def _read_choice(text: str, schema: Schema) -> object:
    options = cast("list[object]", schema.get("enum") or [schema.get("const")])
    names = cast("list[str]", schema.get(NAMES, []))
    wanted = _plain(text)
    exact = [option for option in options if str(option) == text]
    alike = [option for option in options if _plain(str(option)) == wanted]
    named = [option for name, option in zip(names, options, strict=False) if _plain(name) == wanted]
    if not (found := exact or alike or named):
        raise Unreadable
    return found[0]


def _read_boolean(text: str) -> bool:
    word = _plain(text)
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise Unreadable


def _read_integer(text: str) -> int:
    word = unicodedata.normalize("NFKC", text[: MAX_DIGITS + 1]).strip()
    if len(text) > MAX_DIGITS or not re.fullmatch(r"[+-]?[0-9]+", word):
        raise Unreadable
    return int(word)


def _read_number(text: str) -> float:
    word = unicodedata.normalize("NFKC", text[: MAX_DIGITS + 1]).strip()
    if len(text) > MAX_DIGITS or not re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", word):
        raise Unreadable
    value = float(word)
    if not math.isfinite(value):
        raise Unreadable
    return value


def _read_list(pieces: Sequence[Piece], text: str, schema: Schema, moment: Moment | None) -> list[object]:
    items = cast("Schema", schema.get("items", {}))
    if text.startswith("[") and text.endswith("]"):
        value = _parsed_json(text)
        if isinstance(value, list):
            if len(cast("list[object]", value)) > MAX_ITEMS:
                raise Unreadable
            return [coerce(item, items, moment) for item in cast("list[object]", value)]
        pieces = _without_brackets(pieces)
    found = split_list(pieces)
    if len(found) > MAX_ITEMS:
        raise Unreadable
    return [read(item, items, moment) for item in found]


def _read_json(text: str) -> object:
    value = _parsed_json(text)
    if not isinstance(value, dict):
        raise Unreadable
    return cast("object", value)


def _read_anything(text: str) -> object:
    value = _parsed_json(text)
    return text if value is None and text != "null" else value


def _parsed_json(text: str) -> object:
    """Return the JSON value, or None where it is none; a value of unlike depth must not exhaust the stack."""
    try:
        value = cast("object", json.loads(text))
        json.dumps(value, allow_nan=False).encode()
    except (ValueError, RecursionError):
        return None
    return None if _UNSTORABLE.search(text) or "\\u0000" in text else value


def _is_null(text: str, schema: Schema) -> bool:
    plain = without_null(schema)
    return _plain(text) in _NULL and (plain.get("type") != "string" or is_known(plain))


def _without_brackets(pieces: Sequence[Piece]) -> list[Piece]:
    trimmed = list(pieces)
    if not trimmed[0][1]:
        trimmed[0] = (trimmed[0][0][1:], False)
    if not trimmed[-1][1]:
        trimmed[-1] = (trimmed[-1][0][:-1], False)
    return trimmed


def _plain(text: str) -> str:
    return unicodedata.normalize("NFKC", text[:200]).strip().casefold()


def _as_json_number(value: object, schema: Schema) -> object:
    """Make 3.0 an integer and 3 a number where the schema says so: JSON has one kind of number, Dagster two."""
    if isinstance(value, bool):
        return value
    if schema.get("type") == "integer" and isinstance(value, float) and value.is_integer():
        return int(value)
    if schema.get("type") == "number" and isinstance(value, int) and abs(value) < 1e300:
        return float(value)
    return value


def _fits(value: object, schema: Schema) -> bool:
    return Draft202012Validator(schema).is_valid(cast("Any", value))


_READERS: dict[str, Callable[[str], object]] = {
    "boolean": _read_boolean,
    "integer": _read_integer,
    "number": _read_number,
    "object": _read_json,
}
