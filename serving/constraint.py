"""JSON Schemas that constrain an answer: checked before the model starts, and after it ended.

llama.cpp generates freely, without an error, under a schema that it can't compile. So nothing that is not the
asked JSON leaves here as if it were.
"""

import json
import re
from typing import cast

from jsonschema import Draft202012Validator, exceptions
from jsonschema.validators import extend
from referencing import Registry
from referencing.exceptions import Unresolvable

from integrations.errors import InvalidInput

MAX_SCHEMA_BYTES = 65_536
_FOREIGN_REFERENCE = re.compile(r'"\$(ref|dynamicRef)": "(?!#)')


def _ignore(*_: object) -> None:
    """Patterns come from outside, and Python's `re` can be made to run for ever: the engine's own holds them."""


# A registry of its own: the default one would fetch `$ref` addresses from the network.
_Validator = extend(Draft202012Validator, {"pattern": _ignore, "patternProperties": _ignore})


def check_schema(schema: dict[str, object]) -> None:
    """Raise `InvalidInput` when this is no JSON Schema, too large, or refers to others by address."""
    text = json.dumps(schema)
    if len(text) > MAX_SCHEMA_BYTES:
        raise InvalidInput(f"The JSON Schema is larger than {MAX_SCHEMA_BYTES} bytes.", field="json_schema")
    try:
        Draft202012Validator.check_schema(schema)
    except exceptions.SchemaError as error:
        raise InvalidInput(f"That is no JSON Schema: {error.message}", field="json_schema") from error
    if _FOREIGN_REFERENCE.search(text):
        raise InvalidInput("$ref may only point into the same schema (#/…).", field="json_schema")


def check_answer(schema: dict[str, object], answer: str) -> None:
    """Raise `InvalidInput` when a finished answer is not the JSON that was asked for."""
    try:
        value = cast("object", json.loads(answer))
        _Validator(schema, registry=Registry()).validate(value)
    except (ValueError, exceptions.ValidationError, Unresolvable, RecursionError) as error:
        raise InvalidInput(
            "The model did not keep to the JSON Schema that it was given. Where it never does, its server does not"
            " hold it to one (`response_format`): it can't be `strong`. Otherwise use a simpler schema.",
            field="json_schema",
        ) from error
