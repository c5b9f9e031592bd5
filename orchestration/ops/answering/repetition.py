"""Small models fall into loops; find where one begins, and end a text at a sentence."""

import re

_SHORTEST, _LONGEST = 4, 120
_BLANK = " .-_=*#|\n"
_ENDS = ".!?。！？"
_SENTENCE = re.compile(r"[^.!?。！？\n]+[.!?。！？]+")
_END = re.compile(r"[.!?。！？:：][\"')\]”’*_`]*(?=\s|$)|[。！？](?=.)")


def loop_start(text: str, fresh: int | None = None) -> int | None:
    """Return where the text begins to say again what it has just said, or None.

    A phrase three times in a row is a loop, and so is a whole sentence said a second time. `fresh` is how many of its
    characters were not looked at before; it is called for every token, so it looks at no more than it must.
    """
    told = text.removesuffix("\n")
    for length in range(min(_LONGEST, len(told) // 3), _SHORTEST - 1, -1):
        if told[-1] != told[-1 - length]:
            continue
        phrase = told[-length:]
        if phrase == told[-2 * length : -length] == told[-3 * length : -2 * length]:
            return len(told) - 2 * length if phrase.strip(_BLANK) else None
    if fresh is not None and not any(end in text[-fresh:] for end in _ENDS):
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
    # What follows the last end is no sentence yet; to look for its end at each of its characters takes long.
    for found in _SENTENCE.finditer(text, 0, max(text.rfind(end) for end in _ENDS) + 1):
        said = " ".join(found[0].casefold().split())
        if len(said) < 12:
            continue
        if said in seen:
            return found.start()
        seen.add(said)
    return None
