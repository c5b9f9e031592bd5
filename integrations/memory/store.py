"""Memory: what was said, found again by meaning and by words, within one scope.

Behind it: `connection` (the way to Chroma), `shelf` (the boundary of scopes), `ranking`, `chunking`.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from integrations.errors import InvalidInput, Unavailable
from integrations.memory import ranking
from integrations.memory.chunking import split
from integrations.memory.connection import PREFIX, Connection
from integrations.memory.shelf import Row, Shelf, drop_expired
from integrations.memory.values import Note, Recollection, Scope, check_name, digest
from integrations.settings import Memory as Settings
from integrations.telemetry import span

Embed = Callable[[Sequence[str]], list[list[float]]]
UnknownShare = Callable[[Sequence[str]], list[float]]

_EMBED_BATCH = 64
_SHELF_NAME = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one scope may hold. A note's further passages, and a scope's oldest, are dropped."""

    passages_per_note: int = 64
    passages_per_scope: int = 2000
    message_ids: int = 10_000


class Memory:
    """Long-term memory over a Chroma server. Thread-safe; every call blocks.

    All methods raise `Unavailable` within some seconds where Chroma does not answer, and pass on what `embed`
    raises. Recollections of different embedders lie apart: only those of the present one, which `embedder` names, are
    found again, but all are counted, forgotten and expired.
    """

    def __init__(
        self,
        settings: Settings,
        embed: Embed,
        unknown_share: UnknownShare | None = None,
        *,
        embedder: Callable[[], str] = lambda: "default",
        bounds: Bounds | None = None,
    ) -> None:
        self._chroma = Connection(settings.host, settings.port)
        self._embed, self._unknown_share = embed, unknown_share
        self._embedder, self._bounds = embedder, bounds or Bounds()

    def remember(self, scope: Scope, notes: Sequence[Note]) -> list[str]:
        """Store the notes and return their passages' ids; the same notes again change nothing.

        Notes of one message and source form one text; a new text of theirs replaces the old one.
        """
        parts = self._parts(scope, notes)
        if not parts:
            return []
        with span("memory.remember", notes=len(notes), passages=len(parts)):
            texts = [text for _, _, _, text in parts]
            vectors, unknown = self._vectors(texts), self._unknown(texts)
            rows = [
                Row(name, text, vector, note.source, note.at, note.message_id, part, share)
                for (name, note, part, text), vector, share in zip(parts, vectors, unknown, strict=True)
            ]
            self._chroma.run(lambda chroma: self._put(Shelf(self._own(chroma, vectors[0]), scope), rows))
        return [row.id for row in rows]

    def query(self, scope: Scope, text: str, limit: int = 8) -> list[Recollection]:
        """Return what of this scope is most like the text, best first; equal passages once.

        Only the beginning of a long text is looked for. `ranking` says what scores mean.
        """
        if not (passages := split(_clean(text))) or limit < 1:
            return []
        wanted = passages[0]
        with span("memory.query", limit=limit) as current:
            vector = self._vectors([wanted])[0]
            unknown = self._unknown([wanted])[0]
            rows = self._chroma.run(
                lambda chroma: _candidates(Shelf(self._own(chroma, vector), scope), wanted, vector, limit)
            )
            found = _ranked(rows, wanted, vector, unknown)[:limit]
            current.set_attribute("recollections.count", len(found))
        return found

    def forget(self, scope: Scope, *, message_ids: Sequence[str] | None = None) -> int:
        """Delete everything of this scope, or only what these messages left; return the number of passages."""
        if message_ids is not None:
            if isinstance(message_ids, str) or len(message_ids) > self._bounds.message_ids:
                raise InvalidInput(f"message_ids must be a list of at most {self._bounds.message_ids} ids")
            for each in message_ids:
                check_name("message_ids", each)
        return self._chroma.run(
            lambda chroma: sum(Shelf(each, scope).drop(message_ids) for each in chroma.collections())
        )

    def count(self, scope: Scope) -> int:
        """Return how many passages this scope holds."""
        return self._chroma.run(lambda chroma: sum(Shelf(each, scope).count() for each in chroma.collections()))

    def expire(self, older_than: datetime) -> int:
        """Delete what is older, in all scopes: the retention. Return the number of passages."""
        _check_aware(older_than)
        return self._chroma.run(lambda chroma: sum(drop_expired(each, older_than) for each in chroma.collections()))

    def healthy(self) -> bool:
        """Tell whether Chroma answers; a process calls it at its start, so that the first message need not wait."""
        try:
            self._chroma.run(lambda chroma: chroma.heartbeat())
        except Unavailable:
            return False
        return True

    def close(self) -> None:
        """Close the connections to Chroma."""
        self._chroma.close()

    def _parts(self, scope: Scope, notes: Iterable[Note]) -> list[tuple[str, Note, int, str]]:
        parts = list[tuple[str, Note, int, str]]()
        counts = dict[tuple[str, str], int]()
        for note in notes:
            check_name("source", note.source)
            check_name("message_id", note.message_id)
            _check_aware(note.at)
            for text in split(_clean(note.text)):
                part = counts.get((note.message_id, note.source), 0)
                if part == self._bounds.passages_per_note:
                    break
                counts[note.message_id, note.source] = part + 1
                name = digest(scope.key, note.message_id, note.source, str(part))[:32]
                parts.append((name, note, part, text))
        return parts

    def _put(self, shelf: Shelf, rows: Sequence[Row]) -> None:
        shelf.put(rows)
        lengths = dict[tuple[str, str], int]()
        for row in rows:
            lengths[row.message_id, row.source] = row.part + 1
        for (message_id, source), length in lengths.items():
            shelf.drop_parts(message_id, source, length)
        shelf.trim(self._bounds.passages_per_scope)

    def _own(self, chroma: Connection, vector: Sequence[float]):  # noqa: ANN202 - Chroma's type is named in `connection`
        name = _SHELF_NAME.sub("-", self._embedder()).strip("._-") or "default"
        return chroma.collection(f"{PREFIX}{name[:64]}-{len(vector)}")

    def _vectors(self, texts: Sequence[str]) -> list[list[float]]:
        vectors = list[list[float]]()
        for start in range(0, len(texts), _EMBED_BATCH):
            vectors += self._embed(texts[start : start + _EMBED_BATCH])
        return vectors

    def _unknown(self, texts: Sequence[str]) -> list[float]:
        return self._unknown_share(texts) if self._unknown_share else [0.0] * len(texts)


def _candidates(shelf: Shelf, text: str, vector: Sequence[float], limit: int) -> list[Row]:
    by_meaning = shelf.nearest(vector, max(32, 4 * limit))
    by_words = shelf.containing(_terms(text), 200)
    return list({row.id: row for row in (*by_meaning, *by_words)}.values())


def _terms(text: str) -> list[str]:
    """Return what to look up literally: the query's rarer words as they may be written, and Chinese pairs."""
    terms = list[str]()
    for feature in ranking.distinctive(text)[:12]:
        terms += dict.fromkeys((feature, feature.capitalize(), feature.upper()))
    return terms


def _ranked(rows: Sequence[Row], text: str, vector: Sequence[float], unknown: float) -> list[Recollection]:
    lexical = ranking.lexical(text, [row.text for row in rows])
    cosines = ranking.cosines(vector, [row.vector for row in rows])
    scores = ranking.fuse(cosines, lexical, [max(unknown, row.unknown) for row in rows])
    best = dict[str, Recollection]()
    for score, row in sorted(zip(scores, rows, strict=True), key=lambda pair: (-pair[0], -pair[1].at.timestamp())):
        if score > 0:
            best.setdefault(row.text, Recollection(row.id, row.text, row.source, score, row.at, row.message_id))
    return list(best.values())


def _clean(text: str) -> str:
    """Drop what can't be stored: NUL, and lone surrogates."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def _check_aware(at: datetime) -> None:
    if at.tzinfo is None:
        raise InvalidInput("an instant must say its time zone", field="at")
