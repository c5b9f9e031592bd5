"""Read JSON and XML from strangers: bounded in size and depth, no entities, no doubled members, no surprises.

Raises InvalidInput for everything that is not a plain document; the caller turns that into its own refusal where
the document is part of an authentication.
"""

import json
from typing import cast
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from integrations.errors import InvalidInput
from integrations.security.text import MAX_DEPTH, check_value

MAX_BYTES = 1_048_576
MAX_ELEMENTS = 1000
DEPTH = 40
Document = dict[str, object]


def read_json(body: bytes | str, *, limit: int = MAX_BYTES) -> Document:
    """Return a JSON object whose values a database can keep."""
    text = _text(body, limit)
    try:
        found = json.loads(text, object_pairs_hook=_members, parse_constant=_constant)
    except (ValueError, RecursionError) as error:
        raise InvalidInput("The body is not valid JSON.") from error
    if not isinstance(found, dict):
        raise InvalidInput("The body must be a JSON object.")
    document = cast("Document", found)
    check_value(document, field="body", depth=MAX_DEPTH - DEPTH)
    return document


def read_xml(body: bytes | str, *, limit: int = MAX_BYTES) -> dict[str, str]:
    """Return the texts of the root's children by their names; of several with one name none can be trusted."""
    found: dict[str, str] = {}
    for index, child in enumerate(xml_root(body, limit=limit)):
        if index >= MAX_ELEMENTS or child.tag in found:
            raise InvalidInput("The body has doubled or too many elements.")
        found[child.tag] = child.text or ""
    return found


def xml_root(body: bytes | str, *, limit: int = MAX_BYTES) -> Element:
    """Return the root element, for documents with more than one level."""
    try:
        return fromstring(_text(body, limit), forbid_dtd=True, forbid_entities=True, forbid_external=True)
    except (ParseError, DefusedXmlException, ValueError, RecursionError) as error:
        raise InvalidInput("The body is not plain XML.") from error


def _text(body: bytes | str, limit: int) -> str:
    if len(body) > limit:
        raise InvalidInput(f"The body may have {limit} bytes at most.")
    try:
        return body.decode() if isinstance(body, bytes) else body
    except UnicodeDecodeError as error:
        raise InvalidInput("The body is not UTF-8.") from error


def _members(pairs: list[tuple[str, object]]) -> Document:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("doubled member")
    return found


def _constant(name: str) -> object:
    raise ValueError(name)
