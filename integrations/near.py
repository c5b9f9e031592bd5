"""What was perhaps meant: "did you mean", wherever a name is mistyped."""

from collections.abc import Iterable

from rapidfuzz import fuzz

ENOUGH = 60.0
ENOUGH_IF_SHORT = 50.0
"""Of a Chinese word, one of two characters is half."""
SHORT = 3
BEGINNING = 3
"""So many letters that begin a longer name are near to it."""
MOST_LETTERS = 64


def near(word: str, names: Iterable[str], *, most: int = 1) -> list[str]:
    """Return the names that look like the word, the most like it first; a name of one letter looks like nothing."""
    word = word[:MOST_LETTERS]
    enough = ENOUGH if len(word) > SHORT or word.isascii() else ENOUGH_IF_SHORT
    scores = {name: _likeness(word, name) for name in names if len(name) > 1}
    best = sorted((name for name, score in scores.items() if score >= enough), key=lambda name: -scores[name])
    return best[:most]


def _likeness(word: str, name: str) -> float:
    begins = len(word) >= BEGINNING and name.startswith(word)
    return max(fuzz.ratio(word, name), ENOUGH if begins else 0.0)
