"""The boundary: every read and write of recollections names a scope, and touches or returns that scope only.

The scope goes into each request as a condition on a digest, which no text of a caller can widen, and each row
that comes back is checked against it again. Nothing else in this package builds conditions.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from integrations.memory.connection import SYNC_THRESHOLD
from integrations.memory.values import Scope, check_name

if TYPE_CHECKING:
    from chromadb.api.models.Collection import Collection

PAGE = 100
"""Rows per request: a delete takes 2 ms per row, and a request must end well within its time-out."""
_ROW = ["documents", "metadatas", "embeddings"]
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Row:
    """One stored passage; `unknown` is the share of its tokens that the embedder does not know."""

    id: str
    text: str
    vector: Sequence[float]
    source: str
    at: datetime
    message_id: str
    part: int
    unknown: float


class Shelf:
    """The rows of one scope in one collection."""

    def __init__(self, collection: "Collection", scope: Scope) -> None:
        self._rows, self._scope = collection, scope

    def put(self, rows: Sequence[Row]) -> None:
        """Write the rows; one with the same id is replaced. Ids derive from the scope, see `Memory`."""
        for start in range(0, len(rows), PAGE):
            page = rows[start : start + PAGE]
            self._rows.upsert(
                ids=[row.id for row in page],
                embeddings=[list(row.vector) for row in page],
                documents=[row.text for row in page],
                metadatas=[self._metadata(row) for row in page],
            )

    def nearest(self, vector: Sequence[float], limit: int) -> list[Row]:
        """Return the rows whose vectors are nearest."""
        found = cast(
            "Mapping[str, Any]",
            self._rows.query(
                query_embeddings=[list(vector)], n_results=limit, where=self._within(), include=cast("Any", _ROW)
            ),
        )
        return list(self._checked({name: (found[name] or [[]])[0] for name in ("ids", *_ROW)}))

    def containing(self, terms: Sequence[str], limit: int) -> list[Row]:
        """Return some rows whose text contains one of the terms literally."""
        if not terms:
            return []
        each = [{"$contains": term} for term in terms]
        found = self._rows.get(
            where=self._within(),
            where_document=cast("Any", each[0] if len(each) == 1 else {"$or": each}),
            limit=limit,
            include=cast("Any", _ROW),
        )
        return list(self._checked(cast("Mapping[str, Any]", found)))

    def count(self) -> int:
        """Return the number of rows."""
        return len(self._rows.get(where=self._within(), include=[])["ids"])

    def drop(self, message_ids: Sequence[str] | None = None) -> int:
        """Delete the rows of these messages, or all; return how many."""
        if message_ids is None:
            return _drop(self._rows, self._within())
        dropped = 0
        for start in range(0, len(message_ids), PAGE):
            page = list(message_ids[start : start + PAGE])
            dropped += _drop(self._rows, self._within({"message_id": {"$in": page}}))
        return dropped

    def drop_parts(self, message_id: str, source: str, since: int) -> int:
        """Delete what an earlier, longer text of the same message left."""
        return _drop(
            self._rows,
            self._within({"message_id": {"$eq": message_id}}, {"source": {"$eq": source}}, {"part": {"$gte": since}}),
        )

    def trim(self, keep: int) -> int:
        """Delete the oldest rows beyond `keep`."""
        if self.count() <= keep:
            return 0
        found = self._rows.get(where=self._within(), include=["metadatas"])
        ages = sorted(
            (cast("float", one["at"]), name) for name, one in zip(found["ids"], found["metadatas"] or [], strict=True)
        )
        old = [name for _, name in ages[: max(0, len(ages) - keep)]]
        for start in range(0, len(old), PAGE):
            self._rows.delete(ids=old[start : start + PAGE], where=self._within())
        return len(old)

    def _within(self, *conditions: Mapping[str, Mapping[str, object]]) -> Any:  # noqa: ANN401 - Chroma's own type is unusable
        """Return the condition that holds for rows of this scope only."""
        # A frozen value can be tampered with; what is checked here is what is sent.
        check_name("tenant", self._scope.tenant)
        check_name("owner", self._scope.owner)
        own = {"scope": {"$eq": self._scope.key}}
        return {"$and": [own, *conditions]} if conditions else own

    def _metadata(self, row: Row) -> dict[str, str | int | float | bool]:
        return {
            "scope": self._scope.key,
            "tenant": self._scope.tenant,
            "owner": self._scope.owner,
            "source": row.source,
            "at": row.at.timestamp(),
            "message_id": row.message_id,
            "part": row.part,
            "unknown": row.unknown,
        }

    def _checked(self, found: Mapping[str, Any]) -> Iterator[Row]:
        columns = (found["ids"], found["documents"], found["metadatas"], found["embeddings"])
        for name, text, stored, vector in zip(*columns, strict=True):
            if (stored.get("tenant"), stored.get("owner")) != (self._scope.tenant, self._scope.owner):
                _log.error("Chroma returned a row of another scope; it is withheld", extra={"row_id": name})
                continue
            at = datetime.fromtimestamp(stored["at"], UTC)
            yield Row(name, text, vector, stored["source"], at, stored["message_id"], stored["part"], stored["unknown"])


def drop_expired(collection: "Collection", older_than: datetime) -> int:
    """Delete the rows of all scopes that are older; return how many."""
    return _drop(collection, {"at": {"$lt": older_than.timestamp()}})


def _drop(collection: "Collection", where: Any) -> int:  # noqa: ANN401 - see `_within`
    dropped = 0
    while ids := collection.get(where=where, limit=PAGE, include=[])["ids"]:
        collection.delete(ids=ids, where=where)
        dropped += len(ids)
    if dropped:
        _scrub(collection)
    return dropped


def _scrub(collection: "Collection") -> None:
    """Make Chroma purge its write-ahead log, which still holds the text of deleted rows.

    It does so after every SYNC_THRESHOLD entries; updates of rows that don't exist are entries without effect.
    """
    nobody = [f"nobody-{number}" for number in range(SYNC_THRESHOLD)]
    collection.update(ids=nobody, metadatas=[{"scope": ""} for _ in nobody])
