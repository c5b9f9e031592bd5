"""`key=value` words of `runbell run`: typed as the command's JSON Schema wants them; the gateway checks them."""

import json
from collections.abc import Mapping, Sequence
from typing import cast

from integrations.errors import InvalidInput
from integrations.gateway.installation import program
from integrations.near import near
from orchestration.terminal.usage import options, usage

Json = Mapping[str, object]


def typed(command: str, words: Sequence[str], commands: Sequence[Json]) -> dict[str, object]:
    """Return the arguments. Raises InvalidInput for a word that is no `key=value`."""
    known = next((found for found in commands if command in _names(found)), {})
    properties = cast("Json", cast("Json", known.get("schema") or {}).get("properties") or {})
    arguments: dict[str, object] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise InvalidInput(f"{word!r} is not of the form key=value.")
        if key in arguments:
            raise InvalidInput(f"{key} is given twice.")
        arguments[key] = _value(key, value, cast("Json", properties.get(key) or {}))
    return arguments


def refused(command: str, commands: Sequence[Json], error: InvalidInput) -> InvalidInput:
    """Return what to tell of the gateway's refusal, in the terminal's words instead of REST's."""
    if error.field != "command":
        key = (error.field or "").removeprefix("args.")
        told = str(error) if key in str(error) else f"{key}: {error}"
        known = next((found for found in commands if command in _names(found)), None)
        return InvalidInput(told if known is None else f"{told}\n{usage(known)}", field=error.field)
    meant = near(command, [name for known in commands for name in _names(known)], most=3)
    hint = f"Did you mean {' or '.join(meant)}?" if meant else f"`{program()} commands` lists them."
    return InvalidInput(f"There is no command {command!r}. {hint}", field="command")


def _names(command: Json) -> set[str]:
    return {str(command.get("name")), *(str(alias) for alias in cast("Sequence[object]", command.get("aliases") or ()))}


def _value(key: str, text: str, schema: Json) -> object:
    """Return JSON where the schema wants something other than text and the word is JSON; else the text itself."""
    kinds = {str(option.get("type")) for option in options(schema)}
    if "string" in kinds and not (text == "null" and "null" in kinds):
        return text
    if not text and schema:
        raise InvalidInput(f"{key}: nothing stands behind the =.", field=f"args.{key}")
    try:
        return json.loads(text)
    except ValueError:
        # One bare word for a list of words is what people write.
        return [part for part in text.split(",") if part] if "array" in kinds else text
