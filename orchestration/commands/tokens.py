"""Words of a command line: quotes, full-width punctuation, and where each word stands in the text.

Quotes count only where a value may begin (at a word's start, after `=` or a list separator), so that an
apostrophe stays an apostrophe. A quote that is never closed is an ordinary character. One pass, linear time.
"""

import re
from dataclasses import dataclass

from orchestration.commands.values import SEPARATORS, Piece

CLOSERS = {'"': '"', "'": "'", "“": "”", "‘": "’", "「": "」", "『": "』", "＂": "＂", "”": "”"}
_MAY_OPEN_AFTER = frozenset("=＝：[" + SEPARATORS)
_INTERESTING = re.compile(r"[\s" + "".join(CLOSERS) + "]")
_ESCAPED = re.compile(r'\\(["\\])')


@dataclass(frozen=True)
class Word:
    """One word: `text[start:end]` as typed, and its pieces without quotes."""

    start: int
    end: int
    pieces: tuple[Piece, ...]

    @property
    def text(self) -> str:
        """The word without its quotes."""
        return "".join(text for text, _ in self.pieces)

    @property
    def quoted(self) -> bool:
        """Whether the whole word stands in one pair of quotes."""
        return len(self.pieces) == 1 and self.pieces[0][1]


class Tokens:
    """Splits one text. `lonely` are opening quotes known to have no closing one, so none is sought twice."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._lonely: set[str] = set()

    def words(self, start: int) -> list[Word]:
        """Return the words from `start` on."""
        found: list[Word] = []
        at = start
        while (at := self._skip_space(at)) < len(self._text):
            word = self._word(at)
            found.append(word)
            at = word.end
        return found

    def _skip_space(self, at: int) -> int:
        while at < len(self._text) and self._text[at].isspace():
            at += 1
        return at

    def _word(self, start: int) -> Word:
        pieces: list[Piece] = []
        plain_from = at = start
        while match := _INTERESTING.search(self._text, at):
            at = match.start()
            if self._text[at].isspace():
                return self._finished(start, at, plain_from, pieces)
            closed = self._closing(at) if self._may_open(at, start) else None
            if closed is None:
                at += 1
                continue
            if plain_from < at:
                pieces.append((self._text[plain_from:at], False))
            pieces.append((_unescaped(self._text[at + 1 : closed], self._text[at]), True))
            at = plain_from = closed + 1
        return self._finished(start, len(self._text), plain_from, pieces)

    def _finished(self, start: int, end: int, plain_from: int, pieces: list[Piece]) -> Word:
        if plain_from < end:
            pieces.append((self._text[plain_from:end], False))
        return Word(start, end, tuple(pieces))

    def _may_open(self, at: int, start: int) -> bool:
        return at == start or self._text[at - 1] in _MAY_OPEN_AFTER

    def _closing(self, at: int) -> int | None:
        opener = self._text[at]
        closer = CLOSERS[opener]
        if closer in self._lonely:
            return None
        found = self._text.find(closer, at + 1)
        while found != -1 and closer == '"' and _escaped_at(self._text, found, at):
            found = self._text.find(closer, found + 1)
        if found == -1:
            self._lonely.add(closer)
            return None
        return found


def _escaped_at(text: str, at: int, opened: int) -> bool:
    slashes = 0
    while at - slashes - 1 > opened and text[at - slashes - 1] == "\\":
        slashes += 1
    return slashes % 2 == 1


def _unescaped(text: str, opener: str) -> str:
    return _ESCAPED.sub(r"\1", text) if opener == '"' else text
