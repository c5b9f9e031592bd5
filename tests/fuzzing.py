"""Contents that an authentic network could never send: documents with a member spoilt, and bytes that are broken."""

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from integrations.messages import InboundMessage
from tests.requests import Mutation

Json = dict[str, Any]
DEEP: list[Any] = []
for _ in range(60):
    DEEP = [DEEP]
WEIRD: tuple[object, ...] = (
    None, True, False, -1, 0, 2**63, 10**40, 1.5, -0.0, 1e308, "", " ", "\x00", "a\x00b", "\ud800", "٣", "x" * 300,
    "長" * 5000, "\u202e", "../../etc/passwd", "http://127.0.0.1:1/x", "<@", "<@U|", "@_user_1", "/", "//", "a/b/c",
    "-", "{", "[]", "null", '{"a":1}', [], {}, [None], [[]], [{}], [1, "2", {"3": 4}], {"": ""}, {"\x00": 1}, DEEP,
    [{"type": None}] * 300, {"id": {"id": {}}}, "1" * 5000, "9" * 25, "-9" * 9, "1e999",
)  # fmt: skip
BREAKS = 5


def spoilt(document: Json, mutation: Mutation) -> Json:
    """Return a copy with one member replaced by something else, doubled elsewhere, or left out."""
    changed = copy.deepcopy(document)
    where, how, at, what = mutation
    places = list(_places(changed))
    holder, key = places[(where * 131 + at) % len(places)]
    if how < 2:
        del holder[key]
    elif how < 4:
        donor, name = places[what % len(places)]
        holder[key] = copy.deepcopy(donor[name])
    else:
        holder[key] = WEIRD[what % len(WEIRD)]
    return changed


def broken(data: bytes, mutation: Mutation) -> bytes:
    """Return bytes with one of them changed, cut off, put in or put first."""
    _, how, where, what = mutation
    if not data:
        return bytes([what % 256])
    at = where % len(data)
    return (
        data[:at] + bytes([data[at] ^ (1 << what % 8)]) + data[at + 1 :],
        data[:at],
        data[:at] + bytes([what % 256]) + data[at:],
        data[:at] + data[at:] * 2,
        b"[" * (what % 2000) + data,
    )[how % BREAKS]


def spoilt_bytes(documents: Sequence[Json], mutation: Mutation, body: str = "") -> bytes:
    """Return one of the documents as bytes, spoilt or broken; with `body`, only what is in that member is spoilt."""
    where, how, at, what = mutation
    document = documents[(where + at + what) % len(documents)]
    if how % 4 == 0:
        return broken(written(document), (where, at, what, where))
    if body:
        return written({**document, body: spoilt(document[body], mutation)})
    return written(spoilt(document, mutation))


def written(document: Mapping[str, object]) -> bytes:
    return json.dumps(document).encode()


def storable(message: InboundMessage) -> None:
    """Fail unless the database keeps this message and a worker reads it back."""
    kept = message.model_dump_json()
    for field in (message.event_id, message.account, message.address.conversation, kept):
        assert "\x00" not in field
        assert "\\u0000" not in field
        field.encode()
    assert InboundMessage.model_validate_json(kept).text == message.text


def _places(value: object) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, dict | list):
        for key in value.keys() if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from _places(value[key])
