"""Cutting long texts into passages that an embedder reads whole, at paragraphs, then sentences, then words."""

import re
from collections.abc import Iterator

MAX_WEIGHT = 220
"""Tokens, as `weight` estimates them: MiniLM reads 256 and ignores the rest."""

_PARAGRAPH = re.compile(r"(?<=\n)\s*\n+")
_LINE = re.compile(r"(?<=\n)")
_SENTENCE = re.compile(r"(?<=[。！？；…])|(?<=[.!?;])(?=\s)")
_WORD = re.compile(r"(?<=[\s,，、])")
_WIDE = re.compile(r"[⺀-鿿豈-﫿぀-ヿ가-힯！-｠]|[\U00010000-\U0010ffff]")


def split(text: str, max_weight: int = MAX_WEIGHT) -> list[str]:
    """Return the passages of a text in order, none heavier than `max_weight` nor blank.

    Nothing but white space at the seams is lost.
    """
    packed = list[str]()
    for piece in _pieces(text, max_weight, (_PARAGRAPH, _LINE, _SENTENCE, _WORD)):
        if packed and weight(packed[-1]) + weight(piece) <= max_weight:
            packed[-1] += piece
        else:
            packed.append(piece)
    return [passage.strip() for passage in packed if passage.strip()]


def weight(text: str) -> int:
    """Estimate the tokens of a text, rather too high: a Chinese character is one, other four characters one."""
    wide = len(_WIDE.findall(text))
    return wide + (len(text) - wide + 3) // 4


def _pieces(text: str, limit: int, borders: tuple[re.Pattern[str], ...]) -> Iterator[str]:
    if weight(text) <= limit:
        yield text
    elif not borders:
        # No border at all, as in base64 or a Chinese novel without a full stop: cut at the limit.
        yield from (text[start : start + limit] for start in range(0, len(text), limit))
    else:
        for part in borders[0].split(text):
            yield from _pieces(part, limit, borders[1:])
