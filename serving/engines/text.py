"""Text on its way in and out of a model: special tokens in what people write, stop words, tokens into characters."""

import re
from collections.abc import Iterable, Sequence
from typing import Protocol

_SPECIAL = re.compile(r"<\|[^|<>\s]{1,40}\|>|<(?:/?s|bos|eos|pad|unk|start_of_turn|end_of_turn)>|\[/?INST\]|<</?SYS>>")
JOINER = "\u2060"
"""Word joiner: invisible, and takes no room."""


def disarm(text: str, specials: Iterable[str] = ()) -> str:
    """Return text in which nothing reads as a special token: a template is filled in with it.

    Otherwise a message could close its own turn and speak as the system.
    """
    for special in specials:
        if len(special) > 1 and special in text:
            text = text.replace(special, special[0] + JOINER + special[1:])
    return _SPECIAL.sub(lambda found: found[0][0] + JOINER + found[0][1:], text)


class StopWords:
    """Cuts a stream at the first of some words; what may become one is held back."""

    def __init__(self, words: Sequence[str]) -> None:
        self._words = [word for word in words if word]
        self._held = ""
        self.met = False

    def feed(self, text: str) -> str:
        """Return what may be shown."""
        self._held += text
        found = [self._held.find(word) for word in self._words]
        ends = [at for at in found if at >= 0]
        if ends:
            self.met = True
            shown, self._held = self._held[: min(ends)], ""
            return shown
        keep = max((self._overlap(word) for word in self._words), default=0)
        shown, self._held = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
        return shown

    def rest(self) -> str:
        """Return what was held back when the stream ended."""
        shown, self._held = self._held, ""
        return shown

    def _overlap(self, word: str) -> int:
        longest = min(len(word) - 1, len(self._held))
        return next((size for size in range(longest, 0, -1) if self._held.endswith(word[:size])), 0)


class Decoder(Protocol):
    """A tokenizer, as far as it is needed here."""

    def decode(self, token_ids: list[int], *, skip_special_tokens: bool) -> object:
        """Return the text of tokens."""
        ...


class Detokenizer:
    """Tokens into text; a character that is not whole yet waits for its last token."""

    def __init__(self, tokenizer: Decoder) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        self._start = self._shown = 0

    def feed(self, tokens: Sequence[int]) -> str:
        """Return the text that has become certain."""
        self._ids.extend(tokens)
        before, text = self._decode(self._shown), self._decode(len(self._ids))
        if len(text) <= len(before) or text.endswith("\ufffd"):
            return ""
        self._start, self._shown = self._shown, len(self._ids)
        return text[len(before) :]

    def rest(self) -> str:
        """Return what has not become a whole character when no token comes any more: nothing of a broken one."""
        text = self._decode(len(self._ids))[len(self._decode(self._shown)) :]
        return text.rstrip("\ufffd")

    def _decode(self, end: int) -> str:
        return str(self._tokenizer.decode(self._ids[self._start : end], skip_special_tokens=True))
