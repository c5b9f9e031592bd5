"""Arguments that a command misses: a form where the network has forms, else one question at a time."""

from collections.abc import Mapping, Sequence
from functools import cache

from integrations.channels.capabilities import Capabilities
from integrations.database import Pending
from integrations.messages import Choice, Form, OutboundMessage, Question
from orchestration.commands.asker import Asker
from orchestration.commands.language import Language, pick
from orchestration.commands.problems import Problem
from orchestration.commands.spec import Argument, CommandSpec
from orchestration.commands.values import without_null
from orchestration.commands.wording import expected

MOST_OPTIONS = 20
_SAME = {"terminal": "web"}
_KINDS = {"boolean": "boolean", "integer": "number", "number": "number"}


def wanting(spec: CommandSpec, args: Mapping[str, object], problems: Sequence[Problem]) -> list[Argument]:
    """Return the arguments to ask for; none where something else is wrong, or one is a secret that nobody may read."""
    if not all(problem.missing for problem in problems):
        return []
    missing = [argument for argument in spec.arguments if argument.required and argument.name not in args]
    return [] if any(argument.secret for argument in missing) else missing


def ask(
    spec: CommandSpec, args: Mapping[str, object], missing: Sequence[Argument], asker: Asker, complaint: str = ""
) -> tuple[OutboundMessage, Pending | None] | None:
    """Return what to ask, and what to remember where a typed answer is waited for.

    None where nobody can be asked: a program, or somebody who reads it tomorrow.
    """
    can = _shown_on(asker.address.channel)
    if can is None or not can_be_asked(asker):
        return None
    if can.forms:
        return _form(spec, args, missing, asker, complaint), None
    argument = missing[0]
    question = OutboundMessage(
        address=asker.address,
        text="\n\n".join(filter(None, [complaint, _question(spec, argument, len(missing), asker)])),
        choices=tuple(Choice(label=one, text=one) for one in _options(argument, asker.language)),
    )
    return question, Pending(spec.name, dict(args), argument.name, asker.language)


def can_be_asked(asker: Asker) -> bool:
    """Whether there is somebody who answers: not a program, nor somebody who reads it tomorrow."""
    can = _shown_on(asker.address.channel)
    return can is not None and can.dialogue


def _question(spec: CommandSpec, argument: Argument, left: int, asker: Asker) -> str:
    described = argument.described(asker.language)
    what = f": {described}" if described else ""
    form = expected(argument.json_schema, asker.language)
    more = asker.say(f" (then {left - 1} more)", f"（之后还有 {left - 1} 项）") if left > 1 else ""
    english, chinese = ("Just answer", "请直接回答") if asker.direct else ("Mention me and answer", "请@我并回答")
    return asker.say(
        f"**{argument.name}**{what}\n`/{spec.name}` needs it: {form}{more}. {english}, or `/stop`.",
        f"**{argument.name}**{what}\n`/{spec.name}` 需要{form}{more}。{chinese}，或输入 `/停止`。",
    )


def _form(
    spec: CommandSpec, args: Mapping[str, object], missing: Sequence[Argument], asker: Asker, complaint: str
) -> OutboundMessage:
    names = ", ".join(argument.name for argument in missing)
    text = asker.say(f"`/{spec.name}` still needs: {names}.", f"`/{spec.name}` 还需要：{names}。")
    form = Form(
        title=f"/{spec.name}",
        command=spec.name,
        args=dict(args),
        questions=tuple(_field(argument, asker.language) for argument in missing),
        submit=asker.say("Run", "运行"),
    )
    return OutboundMessage(address=asker.address, text="\n\n".join(filter(None, [complaint, text])), form=form)


def _field(argument: Argument, language: Language) -> Question:
    options = tuple(Choice(label=one, text=one) for one in argument.options[:MOST_OPTIONS])
    return Question.model_validate(
        {
            "name": argument.name,
            "label": argument.described(language) or argument.name,
            "kind": "choice" if options else _KINDS.get(argument.kind, "text"),
            "options": options,
            "hint": expected(argument.json_schema, language),
        }
    )


def _options(argument: Argument, language: Language) -> list[str]:
    if without_null(argument.json_schema).get("type") == "boolean":
        return [pick(language, "yes", "是"), pick(language, "no", "否")]
    return argument.options if len(argument.options) <= MOST_OPTIONS else []


def _shown_on(channel: str) -> Capabilities | None:
    return _capabilities().get(_SAME.get(channel, channel))


@cache
def _capabilities() -> dict[str, Capabilities]:
    from integrations.channels.table import capabilities

    return capabilities()
