"""The boundary of scopes, against a store that does not keep it."""

from typing import Any, cast

import pytest

from integrations.errors import InvalidInput
from integrations.memory import Scope
from integrations.memory.shelf import Shelf

ANNA, BOB = Scope.principal("default", "anna"), Scope.principal("default", "bob")


class Leaking:
    """A collection that ignores every condition and returns what another scope owns."""

    def __init__(self, owner: Scope) -> None:
        metadata = {"tenant": owner.tenant, "owner": owner.owner, "source": "s", "at": 0.0, "message_id": "m"}
        self.metadata = metadata | {"part": 0, "unknown": 0.0}
        self.conditions: list[Any] = []

    def query(self, *, where: Any, **_: Any) -> dict[str, Any]:
        self.conditions.append(where)
        return {"ids": [["1"]], "documents": [["secret"]], "metadatas": [[self.metadata]], "embeddings": [[[1.0]]]}

    def get(self, *, where: Any, **_: Any) -> dict[str, Any]:
        self.conditions.append(where)
        return {"ids": ["1"], "documents": ["secret"], "metadatas": [self.metadata], "embeddings": [[1.0]]}


def test_rows_of_another_scope_are_withheld_even_when_the_server_returns_them(caplog: pytest.LogCaptureFixture):
    shelf = Shelf(cast("Any", Leaking(BOB)), ANNA)

    assert shelf.nearest([1.0], 8) == []
    assert shelf.containing(["secret"], 8) == []
    assert "secret" not in caplog.text
    assert "another scope" in caplog.text


def test_rows_of_the_same_owner_in_another_tenant_are_withheld():
    other = Leaking(Scope.principal("other", "anna"))

    assert Shelf(cast("Any", other), ANNA).nearest([1.0], 8) == []


def test_every_request_is_bound_to_the_scope():
    collection = Leaking(ANNA)
    shelf = Shelf(cast("Any", collection), ANNA)

    shelf.nearest([1.0], 8)
    shelf.containing(["a", '{"$or": []}'], 8)
    shelf.count()

    assert collection.conditions == [{"scope": {"$eq": ANNA.key}}] * 3


def test_a_tampered_scope_sends_nothing():
    tampered, collection = Scope.principal("default", "anna"), Leaking(BOB)
    object.__setattr__(tampered, "owner", {"$ne": ""})

    with pytest.raises(InvalidInput):
        Shelf(cast("Any", collection), tampered).nearest([1.0], 8)
    assert collection.conditions == []
