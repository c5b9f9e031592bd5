"""Small models fall into loops; find where one begins, and end a text at a sentence."""

import re

_LOOP = re.compile(r"(.{4,120}?)\1\1$", re.DOTALL)
_WINDOW = 400
_SENTENCE = re.compile(r"[^.!?。！？\n]+[.!?。！？]+")
_END = re.compile(r"[.!?。！？:：][\"')\]”’*_`]*(?=\s|$)|[。！？](?=.)")


def loop_start(text: str) -> int | None:
    """Return where the text begins to say again what it has just said, or None.

    A phrase three times in a row is a loop, and so is a whole sentence said a second time.
    """
    tail = text[-_WINDOW:]
    if found := _LOOP.search(tail):
        if found[1].strip(" .-_=*#|\n"):
            return len(text) - len(tail) + found.start() + len(found[1])
        return None
    return _second_time(text)


def end_at_sentence(text: str) -> str:
    """Cut what follows the last whole sentence; a text without one ends in an ellipsis."""
    text = text.rstrip()
    ends = [found.end() for found in _END.finditer(text)]
    if ends and ends[-1] >= min(20, len(text)):
        return text[: ends[-1]]
    return text.rstrip(",;:，；：、-") + "…" if text else text


def _second_time(text: str) -> int | None:
    seen: set[str] = set()
    for found in _SENTENCE.finditer(text):
        said = " ".join(found[0].casefold().split())
        if len(said) < 12:
            continue
        if said in seen:
            return found.start()
        seen.add(said)
    return None
