"""What a message is: a control command, a typed command with its arguments, or free text. Starts nothing.

Grammar: `/name` then words. `key=value`, `--key value`, `--flag`, `--no-flag`; bare words fill the arguments in
order, the required ones first; a text argument that comes last takes the rest of the line as it stands; after
`--` nothing is a key any more. Full-width `／ ＝ ： ， “ ”` mean what their half-width forms mean; `：` ends a key
only where the argument exists. Never raises, and takes time in proportion to the text.
"""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from orchestration.commands.binding import bind, bind_values
from orchestration.commands.catalogue import Catalogue
from orchestration.commands.language import Language, language_of, pick
from orchestration.commands.moments import Moment
from orchestration.commands.problems import Problem
from orchestration.commands.spec import CommandSpec, Frozen
from orchestration.commands.tokens import Tokens
from orchestration.commands.vocabulary import command_word_of

Kind = Literal["control", "command", "free"]


class Parsed(Frozen):
    """What the dispatcher does with a text. With `errors`, it explains them and does nothing else."""

    kind: Kind
    command: str | None = None
    args: dict[str, object] = Field(default_factory=dict[str, object])
    errors: tuple[Problem, ...] = ()
    language: Language = Field(default="en", exclude=True)
    secrets: tuple[tuple[int, int], ...] = Field(default=(), exclude=True)
    """Where secret values stand in the text."""


def parse(text: str, catalogue: Catalogue, moment: Moment | None = None) -> Parsed:
    """Return what `text`, said at this moment, asks for; values are checked as Dagster will check them."""
    language = language_of(text)
    head = command_word_of(text)
    if head is None:
        return Parsed(kind="free", language=language)
    word, start, end = head
    spec = catalogue.find(word)
    if spec is None:
        return unknown(word, catalogue, language, start=start, end=end)
    args, problems, secrets = bind(spec, text, Tokens(text).words(end), language, moment)
    return Parsed(
        kind=kind_of(spec),
        command=spec.name,
        args=args,
        errors=tuple(problems),
        language=language,
        secrets=tuple(secrets),
    )


def parse_structured(
    command: str,
    args: Mapping[str, object],
    catalogue: Catalogue,
    language: Language = "en",
    moment: Moment | None = None,
) -> Parsed:
    """Return what a structured command (a card, a form, `POST /v1/runs`) asks for, checked like a typed one."""
    spec = catalogue.find(command)
    if spec is None:
        return unknown(command, catalogue, language)
    checked, problems = bind_values(spec, args, language, moment)
    return Parsed(kind=kind_of(spec), command=spec.name, args=checked, errors=tuple(problems), language=language)


def kind_of(spec: CommandSpec) -> Kind:
    """Tell control commands, which no code location has, from typed ones."""
    return "command" if spec.location else "control"


def unknown(word: str, catalogue: Catalogue, language: Language, *, start: int = 0, end: int = 0) -> Parsed:
    """Return what to say to a command that there is not."""
    shown, near = word[:64], catalogue.nearest(word)
    hint = pick(language, f" Did you mean /{near}?", f"你是想输入 /{near} 吗？") if near else ""
    problem = Problem(
        message=pick(language, f"There is no command /{shown}.{hint}", f"没有命令 /{shown}。{hint}"),
        word=shown,
        start=start,
        end=end,
        suggestion=near,
        expected=pick(language, "a command from /help", "/帮助 中列出的命令"),
    )
    return Parsed(kind="command", command=word, errors=(problem,), language=language)
