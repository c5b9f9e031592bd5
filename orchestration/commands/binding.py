"""Gives the words of a line, or the values of a form, to a command's arguments, and says what is wrong with them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from integrations.database.sealed import REFERENCE
from integrations.near import near
from integrations.security.secrets import DOTS
from orchestration.commands.formats import SPACED
from orchestration.commands.language import Language, pick
from orchestration.commands.moments import Moment
from orchestration.commands.problems import Problem, nearest_option
from orchestration.commands.spec import Argument, CommandSpec
from orchestration.commands.tokens import Word
from orchestration.commands.values import SEPARATORS, Piece, Unreadable, coerce, goes_on, read, readable
from orchestration.commands.vocabulary import same_name
from orchestration.commands.wording import because, expected

_KEY = re.compile(r"(?P<dashes>--|－－|—)?(?P<key>[^\W\d][\w.-]{0,63})(?P<sign>[=＝：])")
_OPTION = re.compile(r"(?:--|－－|—)(?P<key>[^\W\d][\w.-]{0,63})")
MAX_PROBLEMS = 5
MOST_WORDS = 5  # of a value that may have several, such as a day


class Bound(NamedTuple):
    """What the words of a line give to a command; `secrets` are the places of secret values in it."""

    args: dict[str, object]
    problems: list[Problem]
    secrets: list[tuple[int, int]]


def bind(
    spec: CommandSpec, text: str, words: Sequence[Word], language: Language, moment: Moment | None = None
) -> Bound:
    """Return the arguments that the words of `text` give to the command, and every problem with them."""
    binder = _Binder(spec, text, language, moment or Moment())
    binder.take(words)
    return Bound(binder.args, binder.problems[:MAX_PROBLEMS], binder.secrets)


def bind_values(
    spec: CommandSpec, values: Mapping[str, object], language: Language, moment: Moment | None = None
) -> tuple[dict[str, object], list[Problem]]:
    """Check structured arguments (`POST /v1/runs`, a form, a proposal) the same way."""
    moment = moment or Moment()
    binder = _Binder(spec, "", language, moment)
    for name, value in values.items():
        argument = binder.known(name)
        if argument is None:
            binder.unknown_key(name, 0, 0)
            continue
        if argument.secret and isinstance(value, str) and REFERENCE.fullmatch(value):
            binder.args[argument.name] = value
            continue
        try:
            binder.args[argument.name] = coerce(value, argument.json_schema, moment)
        except Unreadable as error:
            binder.unfit(argument, str(value), 0, 0, why=str(error))
    binder.take_files()
    binder.report_missing()
    return binder.args, binder.problems[:MAX_PROBLEMS]


class _Binder:
    """One line on its way into arguments. Keys first, wherever they stand; then bare words, in order."""

    def __init__(self, spec: CommandSpec, text: str, language: Language, moment: Moment) -> None:
        self.args: dict[str, object] = {}
        self.problems: list[Problem] = []
        self.secrets: list[tuple[int, int]] = []
        self._spec = spec
        self._text = text
        self._language: Language = language
        self._moment = moment
        self._keys = {same_name(name): argument for name, argument in spec.by_name.items()}
        self._given: dict[str, list[tuple[Word, list[Piece]]]] = {}

    def take(self, words: Sequence[Word]) -> None:
        """Give every word to an argument."""
        bare = self._take_keys(words)
        for name, values in self._given.items():
            self._assign(self._spec.by_name[name], values)
        self._take_bare(bare)
        self.take_files()
        self.report_missing()

    def take_files(self) -> None:
        """Give the files that came with the message to the arguments that want one, in order."""
        left = [file.id for file in self._moment.files if file.id not in self.args.values()]
        for argument in self._spec.arguments:
            if left and argument.form == "file" and argument.name not in self.args:
                self.args[argument.name] = left.pop(0)

    def known(self, key: str) -> Argument | None:
        """Return the argument of this name, however its case and dashes were typed."""
        return self._keys.get(same_name(key))

    def unknown_key(self, key: str, start: int, end: int) -> None:
        """Report a key that is no argument."""
        if self._enough:
            return
        meant = next(iter(near(same_name(key), self._keys)), None)
        names = ", ".join(self._spec.by_name) or pick(self._language, "none", "无")
        hint = pick(self._language, f" Did you mean {meant}?", f"你是想输入 {meant} 吗？") if meant else ""
        english = f"{self._shown} has no argument {key[:64]!r}.{hint} Its arguments: {names}."
        chinese = f"{self._shown} 没有参数“{key[:64]}”。{hint}可用参数：{names}。"
        self._report(english, chinese, word=key[:64], start=start, end=end, suggestion=meant)

    def unfit(self, argument: Argument, value: str, start: int, end: int, *, why: str = "") -> None:
        """Report a value that is not what the argument wants."""
        if self._enough:
            return
        form = expected(argument.json_schema, self._language)
        shown = DOTS if argument.secret else value[:64]
        meant = None if argument.secret else nearest_option(argument, value)
        hint = pick(self._language, f" Did you mean {meant}?", f"你是想输入 {meant} 吗？") if meant else ""
        reason = because(why, self._language)
        english = f"{argument.name}: expected {form}, not {shown!r}{reason}.{hint}"
        chinese = f"{argument.name}：应为{form}，而不是“{shown}”{reason}。{hint}"
        self._report(
            english, chinese, word=shown, start=start, end=end, argument=argument.name, expected=form, suggestion=meant
        )

    def report_missing(self) -> None:
        """Report every required argument that nothing was said about."""
        reported = {problem.argument for problem in self.problems}
        for argument in self._spec.arguments:
            if not argument.required or argument.name in self.args or argument.name in reported:
                continue
            form = expected(argument.json_schema, self._language)
            what = f" ({said})" if (said := argument.described(self._language)) else ""
            english = f"{argument.name} is missing{what}: expected {form}, as in {self._shown} {argument.name}=…"
            chinese = f"缺少参数 {argument.name}{what}：应为{form}，例如 {self._shown} {argument.name}=…"
            end = len(self._text)
            self._report(english, chinese, start=end, end=end, argument=argument.name, expected=form, missing=True)

    @property
    def _enough(self) -> bool:
        """Whether there are more problems than anybody reads; looking for the nearest words takes time."""
        return len(self.problems) >= MAX_PROBLEMS

    @property
    def _shown(self) -> str:
        return f"/{self._spec.name}"

    def _take_keys(self, words: Sequence[Word]) -> list[Word]:
        bare: list[Word] = []
        at = 0
        while at < len(words):
            if words[at].text == "--" and not words[at].quoted:
                return [*bare, *words[at + 1 :]]
            used = self._take_key(words, at, in_text=bool(bare and self._spec.rest))
            if used == 0:
                bare.append(words[at])
            at += max(used, 1)
        return bare

    def _take_key(self, words: Sequence[Word], at: int, *, in_text: bool) -> int:
        """Return how many words a key with its value takes; 0 where the word is a bare one.

        `in_text`: free text has begun, in which an unknown `--word` is just a word.
        """
        word = words[at]
        first, quoted = word.pieces[0]
        if quoted:
            return 0
        if match := _KEY.match(first):
            return self._take_pair(words, at, match, in_text=in_text)
        if match := _OPTION.fullmatch(word.text):
            return self._take_option(words, at, match["key"], in_text=in_text)
        return 0

    def _take_pair(self, words: Sequence[Word], at: int, match: re.Match[str], *, in_text: bool) -> int:
        word = words[at]
        argument = self.known(match["key"])
        if argument is None:
            if match["sign"] == "：" or in_text or (self._spec.rest and not match["dashes"]):
                return 0
            self.unknown_key(match["key"], word.start, word.start + match.end("key"))
            return 1
        value: list[Piece] = [(word.pieces[0][0][match.end() :], False), *word.pieces[1:]]
        used = 1
        # "urls=a, b" is one list that goes on behind its comma.
        while argument.kind == "array" and goes_on(value) and at + used < len(words):
            value.extend(words[at + used].pieces)
            used += 1
        if argument.form in SPACED and (length := self._spaced(argument, words[at:], match.end())) > 1:
            value, used = [(self._text[word.start + match.end() : words[at + length - 1].end], False)], length
        value = [piece for piece in value if any(piece)]
        behind = replace(word, start=word.start + match.end(), end=words[at + used - 1].end, pieces=tuple(value))
        self._given.setdefault(argument.name, []).append((behind, value))
        return used

    def _take_option(self, words: Sequence[Word], at: int, key: str, *, in_text: bool) -> int:
        word = words[at]
        argument = self.known(key)
        off = self.known(key[3:]) if argument is None and key.lower().startswith("no-") else None
        if off is not None and off.kind == "boolean":
            self._given.setdefault(off.name, []).append((word, [("false", False)]))
            return 1
        if argument is None:
            if in_text:
                return 0
            self.unknown_key(key, word.start, word.end)
            return 1
        following = words[at + 1] if at + 1 < len(words) else None
        if argument.kind == "boolean" and not (
            following and readable(following.pieces, argument.json_schema, self._moment)
        ):
            self._given.setdefault(argument.name, []).append((word, [("true", False)]))
            return 1
        if following is None:
            self.unfit(argument, "", word.start, word.end)
            return 1
        self._given.setdefault(argument.name, []).append((following, list(following.pieces)))
        return 2

    def _take_bare(self, words: list[Word]) -> None:
        free = [argument for argument in self._spec.positional if argument.name not in self._given]
        while words and free:
            argument = free.pop(0)
            if argument.name == self._spec.rest:
                self._assign(argument, [(words[0], self._rest_of(words))])
                return
            count = len(words) if argument.kind == "array" and not any(other.required for other in free) else 1
            if argument.form in SPACED and (count := self._spaced(argument, words)) > 1:
                self._assign(argument, [(words[0], [(self._raw(words[0], words[count - 1]), False)])])
                words = words[count:]
                continue
            self._assign(argument, [(word, list(word.pieces)) for word in words[:count]])
            words = words[count:]
        if words:
            word = words[0]
            shown = word.text[:64]
            english = f"I don't know what {shown!r} belongs to. Write key=value; {self._shown} takes: {self._usage}."
            chinese = f"不知道“{shown}”属于哪个参数。请写成 key=value；{self._shown} 的参数：{self._usage}。"
            self._report(english, chinese, word=shown, start=word.start, end=word.end)

    def _spaced(self, argument: Argument, words: Sequence[Word], behind: int = 0) -> int:
        """Return how many of these words are one value, such as `tomorrow 9am`: as many as can be read together."""
        most = next((at for at, word in enumerate(words) if at and self._stands_alone(word)), len(words))
        for count in range(min(most, MOST_WORDS), 1, -1):
            said = self._text[words[0].start + behind : words[count - 1].end]
            if readable([(said, False)], argument.json_schema, self._moment):
                return count
        return 1

    def _stands_alone(self, word: Word) -> bool:
        return word.quoted or bool(_OPTION.match(word.text) or _KEY.match(word.text))

    @property
    def _usage(self) -> str:
        return ", ".join(self._spec.by_name) or pick(self._language, "nothing", "无")

    def _rest_of(self, words: Sequence[Word]) -> list[Piece]:
        """Return the text of these words as it stands; where keys stood between them, without those."""
        if len(words) == 1:
            return list(words[0].pieces) if words[0].quoted else [(self._raw(words[0], words[0]), False)]
        parts: list[str] = []
        run = [words[0]]
        for word in words[1:]:
            if self._text[run[-1].end : word.start].strip():
                parts.append(self._raw(run[0], run[-1]))
                run = []
            run.append(word)
        parts.append(self._raw(run[0], run[-1]))
        return [(" ".join(parts), True)]

    def _raw(self, first: Word, last: Word) -> str:
        return self._text[first.start : last.end]

    def _assign(self, argument: Argument, values: Sequence[tuple[Word, list[Piece]]]) -> None:
        word, pieces = values[0]
        if argument.secret:
            self.secrets += [(given.start, given.end) for given, _ in values]
        if len(values) > 1 and argument.kind != "array":
            again = values[1][0]
            english = f"{argument.name} is given twice; keep one."
            chinese = f"参数 {argument.name} 给了两次，请只保留一个。"
            shown = DOTS if argument.secret else again.text[:64]
            self._report(english, chinese, word=shown, start=again.start, end=again.end, argument=argument.name)
            return
        if len(values) > 1:
            pieces = [piece for _, more in values for piece in ((SEPARATORS[0], False), *more)][1:]
        try:
            self.args[argument.name] = read(pieces, argument.json_schema, self._moment)
        except Unreadable as error:
            said = "".join(text for text, _ in pieces)
            self.unfit(argument, said, word.start, values[-1][0].end, why=str(error))

    def _report(self, english: str, chinese: str, **details: object) -> None:
        message = pick(self._language, english, chinese)
        self.problems.append(Problem.model_validate({"message": message, **details}))
