"""Cut a long Markdown text into parts that a network takes: at sensible places, never through a character.

Preferred are ends of paragraphs, then of lines, of sentences, of words; a grapheme (an emoji with its joiners, a
letter with its accents) is never cut. A code fence that must be cut is closed in one part and opened again, with its
language, in the next. Parts together hold every line of the text, in order.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from wcwidth import iter_graphemes

Size = Callable[[str], int]
MIN_LIMIT = 40
_FENCE = re.compile(r" {0,3}(`{3,8}|~{3,8})([^`]*)")
_LANGUAGE = re.compile(r"\s*([A-Za-z0-9+#.-]{1,16})(?![A-Za-z0-9+#.-])")
_BREAKS = (
    re.compile(r"(?<=[。！？；…])|(?<=[.!?;])(?=\s)"),
    re.compile(r"(?<=\s)(?=\S)|(?<=[，、：])"),
)


@dataclass(frozen=True, slots=True)
class _Fence:
    """An open code fence: how it opened, and what closes it."""

    opening: str
    mark: str

    def closed_by(self, line: str) -> bool:
        found = _FENCE.fullmatch(line.rstrip())
        return bool(found and found[1][0] == self.mark[0] and len(found[1]) >= len(self.mark) and not found[2])


def split(text: str, limit: int, size: Size = len) -> list[str]:
    """Return parts of at most `limit` as `size` measures them, none blank; one blank part for a blank text."""
    limit = max(limit, MIN_LIMIT)
    if size(text) <= limit:
        return [text]
    return _Parts(limit, size).fill(text)


class _Parts:
    """Fills one part after the other."""

    def __init__(self, limit: int, size: Size) -> None:
        self._limit = limit
        self._size = size
        self._done: list[str] = []
        self._lines: list[str] = []
        self._fence: _Fence | None = None
        self._begun_in: _Fence | None = None

    def fill(self, text: str) -> list[str]:
        for line in text.split("\n"):
            self._add(line)
        self._close(self._lines)
        return self._done or [text[:0]]

    def _add(self, line: str) -> None:
        if not self._fits([*self._lines, line], self._after(line)):
            self._cut()
        for index, piece in enumerate(self._pieces(line)):
            if index or (self._lines and not self._fits([*self._lines, piece], self._after(piece))):
                self._cut()
            self._lines.append(piece)
        self._fence = self._after(line)

    def _after(self, line: str) -> _Fence | None:
        """Return the fence that is open after this line."""
        if self._fence is not None:
            return None if self._fence.closed_by(line) else self._fence
        found = _FENCE.fullmatch(line)
        if not found:
            return None
        language = _LANGUAGE.match(found[2])
        return _Fence(found[1] + (language[1] if language else ""), found[1])

    def _cut(self) -> None:
        """End the part: outside of code at its last blank line, if that leaves a decent part."""
        lines, rest = self._lines, list[str]()
        if self._fence is None and self._begun_in is None and not any(_FENCE.match(line) for line in lines):
            blank = max((index for index, line in enumerate(lines) if not line.strip()), default=0)
            if self._size("\n".join(lines[:blank])) * 2 > self._limit:
                lines, rest = lines[:blank], lines[blank + 1 :]
        self._close(lines)
        self._lines = rest
        self._begun_in = self._fence

    def _close(self, lines: Sequence[str]) -> None:
        content = self._framed(lines, self._fence)
        if "\n".join(lines).strip():
            self._done.append(content)

    def _framed(self, lines: Sequence[str], fence: _Fence | None) -> str:
        text = "\n".join(lines).strip("\n") if not (fence or self._begun_in) else "\n".join(lines)
        before = f"{self._begun_in.opening}\n" if self._begun_in else ""
        return before + text + (f"\n{fence.mark}" if fence else "")

    def _fits(self, lines: Sequence[str], fence: _Fence | None) -> bool:
        return self._size(self._framed(lines, fence)) <= self._limit

    def _pieces(self, line: str) -> list[str]:
        """Return a line, cut where it alone is too long for a part."""
        room = self._limit - (self._size(self._framed([""], self._fence)) if self._fence else 0)
        if self._size(line) <= room:
            return [line]
        pieces = _cut_line(line, max(room, 1), self._size, code=self._fence is not None)
        return [piece for piece in pieces if piece.strip()] or [line[:0]]


def _cut_line(line: str, room: int, size: Size, *, code: bool) -> list[str]:
    pieces: list[str] = []
    while size(line) > room:
        at = _place(line, _longest(line, room, size), code=code)
        pieces.append(line[:at])
        line = line[at:]
    return [*pieces, line]


def _longest(line: str, room: int, size: Size) -> int:
    """Return how many characters fit without cutting a grapheme, unless one alone is too large."""
    taken = index = 0
    for grapheme in iter_graphemes(line):
        taken += size(grapheme)
        if taken > room:
            return index or _code_points(grapheme, room, size)
        index += len(grapheme)
    return index


def _code_points(text: str, room: int, size: Size) -> int:
    count = 1
    while size(text[: count + 1]) <= room:
        count += 1
    return count


def _place(line: str, longest: int, *, code: bool) -> int:
    if code:
        return longest
    for pattern in _BREAKS:
        places = [found.start() for found in pattern.finditer(line, 0, longest + 1) if longest // 3 < found.start()]
        if fitting := [place for place in places if place <= longest]:
            return fitting[-1]
    return longest
