"""Whether a passage answers a question, by meaning and by words; and whether a sentence says no more than it.

The weights come from thirty questions against eleven notes: cosine alone puts "capital of Germany" on a note
about the capital of France, words alone miss "what time is the deployment".
"""

import re
from collections.abc import Iterable, Sequence

from integrations.memory.values import Recollection

_WORD = re.compile(r"[^\W_]+(?:[-.:/][^\W_]+)*")
_HAN = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]+")
_STOP = frozenset(
    """a an the and or but if then of in on at to from for with by about as is are was were be been being am do
    does did done have has had having can could may might must shall should will would what when where who whom
    whose which why how much many often long far i me my mine we us our ours you your yours he him his she her it
    its they them their this that these those there here not no so too very just please tell know remember note
    again say said still any some let s t re ve ll d m""".split()  # noqa: SIM905 - read as prose
)
_ASKING = re.compile(
    r"是?什么名字|什么时候|什么时间|什么地方|为什么|怎么样?|怎样|如何|哪里|哪儿|哪个|哪些|哪天|哪|什么|多少|几点|几|谁|吗|呢|吧|啊"
    r"|请问|告诉我|你?还?记得|知道|是不是|有没有"
)
_FILLERS = re.compile(r"[是的了在有]")
_TO_ME = re.compile(r"\b(?:you|your|yours|yourself)\b|你|您", re.IGNORECASE)
_OF_US = re.compile(r"\b(?:i|me|my|mine|we|us|our|ours)\b|我|咱", re.IGNORECASE)
_DEFINITION = re.compile(r"^\W*(?:what|who)(?:'s|\s+is|\s+are)\s+an?\s", re.IGNORECASE)
_OURS = re.compile(
    r"^\W*(?:(?:and|so|but)\s+)?(?:what|when|where|who|which|how (?:much|many|long|often|old))\b.*"
    r"\b(?:my|mine|our|ours|(?:do|did|am|was|are|were|have) (?:i|we))\b|我们?的?.*(?:什么|哪|谁|多少|几[点个天岁号])",
    re.IGNORECASE | re.DOTALL,
)
ENOUGH = 0.55
_LONGEST = 64
"""Letters of a word that has endings; what is longer is no word of a language."""
_COSINE_FLOOR = 0.2


def best(question: str, passages: Sequence[Recollection]) -> Recollection | None:
    """Return the passage that answers the question, or None: the surest, and of equals the latest."""
    rated = [(support(question, passage), passage) for passage in passages]
    good = [(mark, passage.at, passage) for mark, passage in rated if mark >= ENOUGH]
    if not good:
        return None
    top = max(mark for mark, _, _ in good)
    return max((item for item in good if item[0] >= top - 0.05), key=lambda item: (item[1], item[0]))[2]


def only_memory_knows(question: str) -> bool:
    """Whether the question is about the asker or their own things, which no model can know."""
    return len(question) < 300 and bool(_OURS.match(question)) and not re.search(r"\bshould\b|应该", question)


def support(question: str, passage: Recollection) -> float:
    """Return 0 to 1: how well the passage answers the question."""
    if _DEFINITION.match(question) or (_TO_ME.search(question) and not _OF_US.search(question)):
        return 0.0
    shared = coverage(question, passage.text)
    if _HAN.search(question):
        return shared
    if shared < 0.5 or passage.score < _COSINE_FLOOR:
        return 0.0
    return (shared + min(max(passage.score, 0.0), 1.0)) / 2


def coverage(question: str, text: str) -> float:
    """Return the share of the question's content words that the text has, too; Chinese by pairs of characters."""
    pairs, words = han_pairs(question), content_words(question)
    if not pairs and not words:
        return 0.0
    bare = _FILLERS.sub("", "".join(_HAN.findall(text)))
    held = {*bare, *(bare[i : i + 2] for i in range(len(bare) - 1))}
    others = _Words(content_words(text))
    found = sum(pair in held for pair in pairs) + sum(map(others.have, words))
    return found / (len(pairs) + len(words))


def han_pairs(question: str) -> list[str]:
    """Return the overlapping pairs of Chinese characters that are left without question words."""
    pieces = [_FILLERS.sub("", piece) for piece in _HAN.findall(_ASKING.sub("", question))]
    whole = "".join(pieces)
    return [whole[i : i + 2] for i in range(len(whole) - 1)] or ([whole] if whole else [])


def content_words(text: str) -> list[str]:
    """Return the words that carry the meaning, folded."""
    words = [found[0].casefold() for found in _WORD.finditer(text)]
    return [word for word in words if word not in _STOP and not _HAN.search(word)]


def says_no_more(sentence: str, *sources: str) -> bool:
    """Whether every word and number of the sentence stands in the sources, or carries no meaning."""
    known = _Words(word for source in sources for word in content_words(source))
    said = content_words(sentence)
    return bool(said) and all(map(known.have, said))


class _Words:
    """The words of a text, indexed by their beginnings: pastes of thousands of words are looked up in them.

    Two words are alike where the shorter one, but for an ending of two letters, begins the other one, which is
    longer by four letters at most. Numbers and what has digits must be the same.
    """

    def __init__(self, words: Iterable[str]) -> None:
        self._words = set(words)
        inflected = [word for word in self._words if _is_inflected(word)]
        self._stems = {(_stem(word, len(word)), len(word)) for word in inflected}
        self._beginnings = {(word[:end], len(word)) for word in inflected for end in range(4, len(word) + 1)}

    def have(self, word: str) -> bool:
        """Tell whether a word of the text is alike."""
        if word in self._words or not _is_inflected(word):
            return word in self._words
        size = len(word)
        return any((_stem(word, size), longer) in self._beginnings for longer in range(size, size + 5)) or any(
            (_stem(word, shorter), shorter) in self._stems for shorter in range(max(4, size - 4), size)
        )


def _is_inflected(word: str) -> bool:
    return 4 <= len(word) <= _LONGEST and not any(char.isdigit() for char in word)


def _stem(word: str, length: int) -> str:
    return word[: max(4, length - 2)]
