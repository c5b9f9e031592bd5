"""How alike a query and some texts are: words and characters, fused with vectors. Pure; knows no Chroma.

Memory ranks recollections with it, and the dispatcher finds commands with it: compare the sentence with every
example of every command (`lexical`, and the dot product of the unit vectors), `fuse` both, and take a command's
best example. Calibration: see FREE_TEXT and ASK_BACK.
"""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

TRUST_LIMIT = 0.3
"""Above this share of unknown tokens an embedder's vector says nothing (MiniLM on Chinese)."""
DOUBT_FROM = 0.15
"""From this share of unknown tokens on the vector counts less and less; an emoji or two stay below."""
LEXICAL_BONUS = 0.2
"""What a perfect lexical match adds to a cosine."""
FREE_TEXT = 0.30
"""A best fused score below this means that no command is meant."""
ASK_BACK = 0.40
"""A best fused score from FREE_TEXT to here means: ask whether this command is meant."""

_HAN = re.compile(r"[㐀-鿿豈-﫿぀-ヿ가-힯]+")
_WORD = re.compile(r"[^\W_]+")
_STEM = re.compile(r"(\w{3,}?)(?:ing|ed|ly|e)?(?:(?<!s)s)?")
_COMMON_WORDS = """
a an the is are was were be been am do does did have has had i you he she it we they me him her us them my your
his its our their this that these those of in on at to for from by with and or but not no as if so can could would
will shall should may might must please what which who whom how when where why there
的 了 是 我 你 他 她 它 们 在 有 和 与 就 都 也 吗 呢 吧 啊 把 被 给 这 那 个 一 不 要 想 请 帮 哪
帮我 给我 一下 什么 怎么 哪里 哪些 我们 你们 这个 那个 一个 可以 能
"""
_COMMON = frozenset(_COMMON_WORDS.split())


def lexical(query: str, texts: Sequence[str]) -> list[float]:
    """Return per text, 0 to 1, how much of the query's words or Chinese character n-grams it has in common.

    What many of the texts contain counts less. Case, full width and English endings don't matter.
    """
    wanted = features(query)
    found = [features(text) for text in texts]
    spread = Counter(feature for each in found for feature in each)
    rarity = {feature: math.log(1 + (len(texts) + 1) / (spread[feature] + 0.5)) for feature in {*wanted, *spread}}
    return [_likeness(wanted, each, rarity) for each in found]


def fuse(
    vector_scores: Sequence[float], lexical_scores: Sequence[float], unknown_share: float | Sequence[float]
) -> list[float]:
    """Return per text one score, 0 to 1, from its cosine and its lexical score.

    `unknown_share` is the query's, or per text the larger of the query's and the text's (better: a vector of
    a text that the embedder can't read is worth as little). Up to DOUBT_FROM the vector counts fully, above
    TRUST_LIMIT not at all.
    """
    shares = [unknown_share] * len(lexical_scores) if isinstance(unknown_share, float | int) else unknown_share
    return [
        _fused(vector, lexical, min(1.0, max(0.0, (TRUST_LIMIT - share) / (TRUST_LIMIT - DOUBT_FROM))))
        for vector, lexical, share in zip(vector_scores, lexical_scores, shares, strict=True)
    ]


def features(text: str) -> dict[str, float]:
    """Return the words of a text, and of Chinese runs the n-grams of 1 to 3 characters, each with its weight."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    found = dict[str, float]()
    for run in _HAN.findall(plain):
        for size, weight in ((1, 0.5), (2, 1.0), (3, 1.0)):
            for start in range(len(run) - size + 1):
                gram = run[start : start + size]
                found[gram] = 0.1 if gram in _COMMON else weight
    for word in _WORD.findall(_HAN.sub(" ", plain)):
        found[_stem(word)] = 0.1 if word in _COMMON else 1.0
    return found


def distinctive(text: str) -> list[str]:
    """Return the words, and Chinese pairs, that say most about a text, longest first: for a literal search."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    pairs = [run[start : start + 2] for run in _HAN.findall(plain) for start in range(max(1, len(run) - 1))]
    words = [word for word in _WORD.findall(_HAN.sub(" ", plain)) if len(word) > 2]
    return sorted(
        {_stem(each) for each in (*pairs, *words) if each not in _COMMON}, key=lambda each: (-len(each), each)
    )


def cosines(vector: Sequence[float], others: Sequence[Sequence[float]]) -> list[float]:
    """Return the cosine of the angle between a vector and each of the others; 0 where one has no length."""
    import numpy as np

    if not others:
        return []
    one, many = np.asarray(vector, np.float64), np.asarray(others, np.float64)
    lengths = np.linalg.norm(many, axis=1) * np.linalg.norm(one)
    return np.divide(many @ one, lengths, out=np.zeros(len(others)), where=lengths > 0).tolist()


def _fused(vector: float, lexical: float, trust: float) -> float:
    return trust * min(1.0, max(0.0, vector) + LEXICAL_BONUS * lexical) + (1 - trust) * lexical


def _likeness(wanted: dict[str, float], found: dict[str, float], rarity: dict[str, float]) -> float:
    # Sørensen–Dice by weight; a long text counts as three times the query, or no passage would ever match.
    sought = sum(weight * rarity[feature] for feature, weight in wanted.items())
    if not sought:
        return 0.0
    held = sum(weight * rarity[feature] for feature, weight in found.items())
    shared = sum(
        min(weight, found[feature]) * rarity[feature] for feature, weight in wanted.items() if feature in found
    )
    # The root brings right Chinese sentences to where right vectors lie, so that one threshold serves both.
    return math.sqrt(2 * shared / (sought + min(held, 3 * sought)))


def _stem(word: str) -> str:
    # expenses, expense; meetings, meeting; sales, sale. What is left need be no word.
    match = _STEM.fullmatch(word)
    return match[1] if match else word
