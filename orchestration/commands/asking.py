"""Arguments that a command misses: a form where the network has forms, else one question at a time."""

from collections.abc import Mapping, Sequence
from functools import cache

from integrations.channels.capabilities import Capabilities
from integrations.database import Pending
from integrations.messages import Choice, Form, OutboundMessage, Question
from orchestration.commands.asker import Asker
from orchestration.commands.help import command_line
from orchestration.commands.language import Language, pick
from orchestration.commands.problems import Problem
from orchestration.commands.spec import Argument, CommandSpec
from orchestration.commands.values import without_null
from orchestration.commands.wording import expected

MOST_OPTIONS = 20
_SAME = {"terminal": "web"}
OURS = frozenset({"web", "terminal"})
"""Channels whose transcript is ours alone, where what was said is shown as it is kept."""
_KINDS = {"boolean": "boolean", "integer": "number", "number": "number"}


def wanting(spec: CommandSpec, args: Mapping[str, object], problems: Sequence[Problem]) -> list[Argument]:
    """Return the arguments to ask for; none where something else is wrong."""
    if not all(problem.missing for problem in problems):
        return []
    return [argument for argument in spec.arguments if argument.required and argument.name not in args]


def ask(
    spec: CommandSpec, args: Mapping[str, object], missing: Sequence[Argument], asker: Asker, complaint: str = ""
) -> tuple[OutboundMessage, Pending | None] | None:
    """Return what to ask, and what to remember where a typed answer is waited for.

    None where nobody can be asked: a program, or somebody who reads it tomorrow. A secret is asked for by a form, which
    its sender alone sees filled in, or where nobody else reads; elsewhere it is told how to give it.
    """
    can = _shown_on(asker.address.channel)
    if can is None or not can_be_asked(asker):
        return None
    if can.forms:
        return _form(spec, args, missing, asker, complaint), None
    if not asker.direct and any(argument.secret for argument in missing):
        return OutboundMessage(address=asker.address, text=_elsewhere(spec, args, missing, asker)), None
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
    ) + (_sealing(asker) if argument.secret else "")


def _sealing(asker: Asker) -> str:
    """Tell what becomes of a secret; what a network keeps of the message is not in our hands."""
    delete = asker.address.channel not in OURS
    return asker.say(
        "\n🔒 I keep it sealed and show it nowhere." + (" Delete your message here afterwards." if delete else ""),
        "\n🔒 我会加密保存，不会显示。" + ("之后请删除你在此处的消息。" if delete else ""),
    )


def _elsewhere(spec: CommandSpec, args: Mapping[str, object], missing: Sequence[Argument], asker: Asker) -> str:
    """Tell how to give a secret where others don't read it."""
    names = ", ".join(argument.name for argument in missing if argument.secret)
    line = command_line(spec, {name: value for name, value in args.items() if not spec.by_name[name].secret})
    return asker.say(
        f"🔒 `/{spec.name}` needs a secret ({names}), and others read here. Write to me directly, and I ask for it "
        f"there: `{line}`",
        f"🔒 `/{spec.name}` 需要机密参数（{names}），而这里有其他人。请与我单聊，我会在那里询问：`{line}`",
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
            "kind": "secret" if argument.secret else "choice" if options else _KINDS.get(argument.kind, "text"),
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
