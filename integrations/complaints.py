"""What pydantic finds wrong with a value, in plain words.

Never in its own terms, and never with the value, which may be a secret.
"""

from collections.abc import Mapping
from typing import Any

_WORDS = {
    "missing": "this is needed",
    "extra_forbidden": "there is no such field",
    "string_type": "a text is needed",
    "string_sub_type": "a text is needed",
    "string_unicode": "a text is needed",
    "string_too_short": "at least {min_length} characters are needed",
    "string_too_long": "{max_length} characters at most",
    "string_pattern_mismatch": "it must match {pattern}",
    "int_type": "a whole number is needed",
    "int_parsing": "a whole number is needed",
    "int_from_float": "a whole number is needed",
    "int_parsing_size": "a smaller number is needed",
    "float_type": "a number is needed",
    "float_parsing": "a number is needed",
    "finite_number": "a finite number is needed",
    "bool_type": "true or false is needed",
    "bool_parsing": "true or false is needed",
    "dict_type": "an object of names and values is needed",
    "model_type": "an object of names and values is needed",
    "model_attributes_type": "an object of names and values is needed",
    "list_type": "a list is needed",
    "tuple_type": "a list is needed",
    "set_type": "a list is needed",
    "too_short": "at least {min_length} are needed",
    "too_long": "{max_length} at most",
    "literal_error": "it must be {expected}",
    "enum": "it must be {expected}",
    "greater_than": "it must be more than {gt}",
    "greater_than_equal": "it must be {ge} or more",
    "less_than": "it must be less than {lt}",
    "less_than_equal": "it must be {le} or less",
    "json_invalid": "it is not valid JSON",
    "union_tag_invalid": "its {discriminator} must be one of {expected_tags}",
    "union_tag_not_found": "its {discriminator} is needed",
}


def in_words(found: Mapping[str, Any]) -> str:
    """Return what is wrong, to stand behind the value's name and a colon; a validator's own words as they are.

    `found` is one of pydantic's `ValidationError.errors()`.
    """
    words = _WORDS.get(found["type"])
    if words is None:
        return str(found["msg"]).removeprefix("Value error, ").removeprefix("Assertion failed, ")
    context: Mapping[str, object] = found.get("ctx", {})
    return words.format_map({name: str(value).replace("'", "") for name, value in context.items()})


def named(found: Mapping[str, Any], *, inside: int = 0) -> str:
    """Return the dotted name of what is wrong, without its first parts; empty for the whole."""
    return ".".join(map(str, found["loc"][inside:]))
