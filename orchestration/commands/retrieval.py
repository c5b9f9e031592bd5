"""Which command a sentence means, on models that must not choose: nearest example, words and vectors fused.

It only proposes. Arguments are taken from the sentence where there is no doubt (an address, a number, quoted
text, a word of a choice); what is required and not found is asked for.
"""

import re
import threading
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from integrations.memory.ranking import ASK_BACK, FREE_TEXT, cosines, fuse, lexical
from orchestration.commands.language import Language, language_of, pick
from orchestration.commands.spec import Argument, CommandSpec
from orchestration.commands.values import Piece, Schema, Unreadable, coerce, read, without_null
from orchestration.commands.wording import expected

MOST_VECTORS = 10_000
MAX_SENTENCE = 500
"""Characters beyond which a message is no request for a command."""

SHORT_SENTENCE = 5
INCOMPLETE = 0.8
"""What a sentence must score if it misses a required argument: "where is the server?" is near to "check our
servers" (0.72 with the starter embedder), but whoever means that says which."""

Embed = Callable[[Sequence[str]], list[list[float]]]
UnknownShare = Callable[[Sequence[str]], list[float]]

_URL = re.compile(r"https?://[^\s\"'“”‘’「」<>，。；、！？)）]+", re.IGNORECASE)
_NAME = r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,24}"
_IPV4 = r"(?:\d{1,3}\.){3}\d{1,3}(?::\d{1,5})?"
# ASCII, so that Chinese text may touch an address.
_HOST = re.compile(rf"(?<![\w@/.-])(?:{_IPV4}|{_NAME})(?![\w@-])", re.IGNORECASE | re.ASCII)
_QUOTED = re.compile(r"\"([^\"\n]+)\"|“([^”\n]+)”|「([^」\n]+)」|『([^』\n]+)』|(?<!\w)'([^'\n]+)'(?!\w)")
_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?![\w%]|\.\d)", re.ASCII)


@dataclass(frozen=True)
class Found:
    """The command that a sentence seems to mean. Unless `sure`, ask whether it does.

    `questions` ask for required arguments that were not found; while there are any, it can't be proposed.
    """

    command: CommandSpec
    score: float
    sure: bool
    args: dict[str, object] = field(default_factory=dict[str, object])
    questions: tuple[str, ...] = ()


class Retrieval:
    """Finds commands by their descriptions and examples, whose vectors are made once per embedder. Thread-safe."""

    def __init__(self, embed: Embed, unknown_share: UnknownShare, embedder: Callable[[], str]) -> None:
        self._embed = embed
        self._unknown_share = unknown_share
        self._embedder = embedder
        self._by = ""
        self._lock = threading.Lock()
        self._vectors: dict[str, tuple[list[float], float]] = {}

    def find(self, text: str, commands: Sequence[CommandSpec]) -> Found | None:
        """Return the command that is meant, or None where the sentence is free text. Raises what embedding raises."""
        sentence = text.strip()
        visible = [spec for spec in commands if not spec.hidden and _texts(spec)]
        if not sentence or len(sentence) > MAX_SENTENCE or not visible:
            return None
        score, spec = self._best(sentence, visible)
        # Few characters have much in common with anything: "你好" with every sentence that ends in 好.
        if score < (ASK_BACK if len(sentence) < SHORT_SENTENCE else FREE_TEXT):
            return None
        args = arguments_in(sentence, spec)
        questions = questions_for(spec, args, sentence)
        enough = INCOMPLETE if questions else ASK_BACK
        return Found(spec, score, sure=score >= enough, args=args, questions=questions)

    def _best(self, sentence: str, commands: Sequence[CommandSpec]) -> tuple[float, CommandSpec]:
        owners = [spec for spec in commands for _ in _texts(spec)]
        texts = [text for spec in commands for text in _texts(spec)]
        (vector, unknown), *known = self._vectors_of([sentence, *texts])
        shares = [max(unknown, share) for _, share in known]
        scores = fuse(cosines(vector, [other for other, _ in known]), lexical(sentence, texts), shares)
        return max(zip(scores, owners, strict=True), key=lambda pair: pair[0])

    def _vectors_of(self, texts: Sequence[str]) -> list[tuple[list[float], float]]:
        by = self._embedder()
        with self._lock:
            cached = dict(self._vectors) if by == self._by else {}
        missing = list(dict.fromkeys(text for text in texts if text not in cached))
        if missing:
            fresh = zip(self._embed(missing), self._unknown_share(missing), strict=True)
            cached.update(zip(missing, fresh, strict=True))
        with self._lock:
            # Examples are kept, sentences are not: they come once. Askers differ in what they may run.
            known = {text: vector for text, vector in cached.items() if text != texts[0]}
            self._by = by
            self._vectors = known if len(known) <= MOST_VECTORS else {text: cached[text] for text in texts[1:]}
        return [cached[text] for text in texts]


def arguments_in(sentence: str, spec: CommandSpec) -> dict[str, object]:
    """Return the arguments that the sentence gives without doubt. Each part of it is used once."""
    args: dict[str, object] = {}
    rest = sentence
    for argument in spec.arguments:
        if argument.secret:
            continue
        for finder in (_named, _option, _addresses, _quotation, _number):
            value, rest_after = finder(argument, rest, spec)
            if value is not None:
                args[argument.name] = value
                rest = rest_after
                break
    return args


def questions_for(spec: CommandSpec, args: dict[str, object], sentence: str) -> tuple[str, ...]:
    """Ask, in the language of the sentence, for every required argument that is not there.

    Secrets are asked for after the yes, where nobody else reads.
    """
    language = language_of(sentence)
    missing = [one for one in spec.arguments if one.required and not one.secret and one.name not in args]
    return tuple(_question(argument, language) for argument in missing)


def _question(argument: Argument, language: Language) -> str:
    what = argument.described(language) or argument.name
    form = expected(argument.json_schema, language)
    return pick(language, f"{what}? (`{argument.name}`: {form})", f"{what}？（`{argument.name}`：{form}）")


def _texts(spec: CommandSpec) -> list[str]:
    said = [spec.description.split("\n")[0], spec.description_zh, *spec.examples]
    return [text for text in said if text.strip()]


def _value(argument: Argument, text: str) -> object | None:
    """Return the text as the argument's value, or None where it does not fit."""
    pieces: list[Piece] = [(text, True)]
    try:
        return read(pieces, argument.json_schema) if argument.kind != "array" else coerce([text], argument.json_schema)
    except Unreadable:
        return None


def _named(argument: Argument, sentence: str, _spec: CommandSpec) -> tuple[object | None, str]:
    """`days=7`, as typed in a command."""
    name = re.escape(argument.name)
    match = re.search(rf"(?<!\w){name}\s*[=＝]\s*(\"[^\"]*\"|“[^”]*”|[^\s，。；]+)", sentence, re.IGNORECASE)
    if match is None:
        return None, sentence
    return _value(argument, match[1].strip('"“”')), _without(sentence, match)


def _option(argument: Argument, sentence: str, _spec: CommandSpec) -> tuple[object | None, str]:
    """A word of a choice, as long as only one of them is said."""
    said = [option for option in argument.options if _says(sentence, option)]
    return (_value(argument, said[0]) if len(said) == 1 else None), sentence


def _says(sentence: str, option: str) -> bool:
    plain = unicodedata.normalize("NFKC", sentence).casefold()
    word = re.escape(option.casefold())
    return bool(re.search(word if language_of(option) == "zh" else rf"(?<!\w){word}(?!\w)", plain, re.ASCII))


def _addresses(argument: Argument, sentence: str, spec: CommandSpec) -> tuple[object | None, str]:
    """Web addresses and host names, for an argument that is about them."""
    if not _is_about_addresses(argument, spec):
        return None, sentence
    matches = list(_URL.finditer(sentence))
    bare = _URL.sub(lambda match: " " * len(match[0]), sentence)
    matches = sorted([*matches, *_HOST.finditer(bare)], key=lambda match: match.start())
    words = [match[0].rstrip(".,;:!?") for match in matches]
    if not words or (argument.kind != "array" and len(words) > 1):
        return None, sentence
    try:
        value = coerce(words if argument.kind == "array" else words[0], argument.json_schema)
    except Unreadable:
        return None, sentence
    for match in reversed(matches):
        sentence = _without(sentence, match)
    return value, sentence


def _quotation(argument: Argument, sentence: str, spec: CommandSpec) -> tuple[object | None, str]:
    """Quoted text, for the only argument that any text fits."""
    texts = [other for other in spec.arguments if other.is_text or _items_are_text(other)]
    matches = list(_QUOTED.finditer(sentence))
    if len(texts) != 1 or texts[0] is not argument or len(matches) != 1:
        return None, sentence
    quoted = next(group for group in matches[0].groups() if group)
    return _value(argument, quoted), _without(sentence, matches[0])


def _number(argument: Argument, sentence: str, spec: CommandSpec) -> tuple[object | None, str]:
    """The only number, for the only argument that is one."""
    numeric = [other for other in spec.arguments if other.kind in {"integer", "number"}]
    matches = list(_NUMBER.finditer(unicodedata.normalize("NFKC", sentence)))
    if len(numeric) != 1 or numeric[0] is not argument or len(matches) != 1:
        return None, sentence
    return _value(argument, matches[0][0]), sentence


def _is_about_addresses(argument: Argument, spec: CommandSpec) -> bool:
    about = f"{argument.name} {argument.description} {argument.description_zh} {spec.description}".casefold()
    return (argument.is_text or _items_are_text(argument)) and any(word in about for word in ("url", "host", "address"))


def _items_are_text(argument: Argument) -> bool:
    items = without_null(argument.json_schema).get("items")
    return isinstance(items, dict) and Argument(name="", path=(), json_schema=_schema(items)).is_text


def _schema(items: object) -> Schema:
    return items if isinstance(items, dict) else {}


def _without(sentence: str, match: re.Match[str]) -> str:
    return sentence[: match.start()] + " " + sentence[match.end() :]
