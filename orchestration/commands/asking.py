"""Arguments that a command misses: a form where the network has forms, else one question at a time.

Our own page has both at once: a form, beside which the next free text still answers the first question.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
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
MOST_OF_A_SELECT = 100
OURS = frozenset({"web", "terminal"})
"""Channels whose transcript is ours alone, where what was said is shown as it is kept."""
_KINDS = {"boolean": "boolean", "integer": "number", "number": "number"}
_PICKED = {"date": "date", "date-time": "datetime"}
"""Formats that our own page lets people pick; elsewhere they are typed, since `tomorrow` counts, too."""


@dataclass(frozen=True)
class Lacking:
    """What a command still needs: `args` are known, `missing` is asked for.

    `tried` is what was said for the missing ones, and `wrong` what is wrong with it; `form` is the key of the form that
    was sent, and is asked for once more.
    """

    spec: CommandSpec
    args: Mapping[str, object]
    missing: Sequence[Argument]
    tried: Mapping[str, object] = field(default_factory=dict[str, object])
    wrong: Sequence[Problem] = ()
    form: str | None = None

    @property
    def complaint(self) -> str:
        """What is wrong, in one text; blank where nothing is."""
        return "\n".join(f"⚠️ {problem.message}" for problem in self.wrong if not problem.missing)


def wanting(spec: CommandSpec, args: Mapping[str, object], problems: Sequence[Problem]) -> Lacking | None:
    """Return what to ask for; None where something else is wrong."""
    if not all(problem.missing for problem in problems):
        return None
    return Lacking(spec, args, required(spec, args))


def required(spec: CommandSpec, args: Mapping[str, object]) -> list[Argument]:
    """Return the arguments that the command can't do without, besides those that are known."""
    return [argument for argument in spec.arguments if argument.required and argument.name not in args]


def ask(lacking: Lacking, asker: Asker) -> tuple[OutboundMessage, Pending | None] | None:
    """Return what to ask, and what to remember where a typed answer is waited for.

    None where nobody can be asked: a program, or somebody who reads it tomorrow. A secret is asked for by a form that
    hides it, or, once all else is known, where nobody else reads; elsewhere it is told how to give it.
    """
    can = _shown_on(asker.address.channel)
    if can is None or not can_be_asked(asker):
        return None
    open_ones = [argument for argument in lacking.missing if can.secret_fields or not argument.secret]
    if not asker.direct and open_ones != lacking.missing:
        return OutboundMessage(address=asker.address, text=_elsewhere(lacking, asker)), None
    if can.forms and open_ones and asker.address.channel not in OURS:
        return _form_message(replace(lacking, missing=open_ones), asker), None
    argument = lacking.missing[0]
    question = OutboundMessage(
        address=asker.address,
        text="\n\n".join(filter(None, [lacking.complaint, _question(lacking, asker)])),
        choices=tuple(Choice(label=one, text=one) for one in _options(argument, asker.language)),
        form=_form(lacking, asker) if can.forms and asker.address.channel in OURS else None,
    )
    return question, Pending(lacking.spec.name, dict(lacking.args), argument.name, asker.language, lacking.form)


def can_be_asked(asker: Asker) -> bool:
    """Whether there is somebody who answers: not a program, nor somebody who reads it tomorrow."""
    can = _shown_on(asker.address.channel)
    return can is not None and can.dialogue


def _question(lacking: Lacking, asker: Asker) -> str:
    name, argument, left = lacking.spec.name, lacking.missing[0], len(lacking.missing)
    described = argument.described(asker.language)
    what = f": {described}" if described else ""
    form = expected(argument.json_schema, asker.language)
    more = asker.say(f" (then {left - 1} more)", f"（之后还有 {left - 1} 项）") if left > 1 else ""
    english, chinese = ("Just answer", "请直接回答") if asker.direct else ("Mention me and answer", "请@我并回答")
    return asker.say(
        f"**{argument.name}**{what}\n`/{name}` needs it: {form}{more}. {english}, or `/stop`.",
        f"**{argument.name}**{what}\n`/{name}` 需要{form}{more}。{chinese}，或输入 `/停止`。",
    ) + (_sealing(asker) if argument.secret else "")


def _sealing(asker: Asker) -> str:
    """Tell what becomes of a secret; what a network keeps of the message is not in our hands."""
    delete = asker.address.channel not in OURS
    return asker.say(
        "\n🔒 I keep it sealed and show it nowhere."
        + (" This network shows and keeps what you type: delete your message here afterwards." if delete else ""),
        "\n🔒 我会加密保存，不会显示。"
        + ("此网络会显示并保留你输入的内容，之后请删除你在此处的消息。" if delete else ""),
    )


def _elsewhere(lacking: Lacking, asker: Asker) -> str:
    """Tell how to give a secret where others don't read it."""
    spec = lacking.spec
    names = ", ".join(argument.name for argument in lacking.missing if argument.secret)
    line = command_line(spec, {name: value for name, value in lacking.args.items() if not spec.by_name[name].secret})
    return asker.say(
        f"🔒 `/{spec.name}` needs a secret ({names}), and others read here. Write to me directly, and I ask for it "
        f"there: `{line}`",
        f"🔒 `/{spec.name}` 需要机密参数（{names}），而这里有其他人。请与我单聊，我会在那里询问：`{line}`",
    )


def _form_message(lacking: Lacking, asker: Asker) -> OutboundMessage:
    names = ", ".join(argument.name for argument in lacking.missing)
    text = asker.say(f"`/{lacking.spec.name}` still needs: {names}.", f"`/{lacking.spec.name}` 还需要：{names}。")
    told = "\n\n".join(filter(None, [lacking.complaint, text]))
    return OutboundMessage(address=asker.address, text=told, form=_form(lacking, asker))


def _form(lacking: Lacking, asker: Asker) -> Form:
    return Form(
        title=f"/{lacking.spec.name}",
        command=lacking.spec.name,
        args=dict(lacking.args),
        questions=tuple(_field(argument, lacking, asker) for argument in lacking.missing),
        submit=asker.say("Run", "运行"),
    )


def _field(argument: Argument, lacking: Lacking, asker: Asker) -> Question:
    options = argument.options if len(argument.options) <= MOST_OF_A_SELECT else []
    picked = _PICKED.get(argument.form) if asker.address.channel in OURS else None
    kind = picked or _KINDS.get(argument.kind, "text")
    tried, wanted = lacking.tried.get(argument.name), expected(argument.json_schema, asker.language)
    return Question.model_validate(
        {
            "name": argument.name,
            "label": argument.described(asker.language) or argument.name,
            "kind": "secret" if argument.secret else "choice" if options else kind,
            "options": tuple(Choice(label=one, text=one) for one in options),
            "hint": "" if wanted == expected({"type": "string"}, asker.language) else wanted,
            "value": "" if argument.secret or tried is None else str(tried),
            "error": _error(argument, lacking, asker),
        }
    )


def _error(argument: Argument, lacking: Lacking, asker: Asker) -> str:
    """Say what is wrong with a field of a form that was sent."""
    problem = next((one for one in lacking.wrong if one.argument == argument.name), None)
    if problem is not None and not problem.missing:
        told = problem.message.removeprefix(f"{argument.name}: ").removeprefix(f"{argument.name}：")
        return told[:1].upper() + told[1:]
    is_blank = lacking.form is not None and argument.name not in lacking.tried
    return asker.say("Please fill this in.", "请填写此项。") if is_blank else ""


def _options(argument: Argument, language: Language) -> list[str]:
    if without_null(argument.json_schema).get("type") == "boolean":
        return [pick(language, "yes", "是"), pick(language, "no", "否")]
    return argument.options if len(argument.options) <= MOST_OPTIONS else []


def _shown_on(channel: str) -> Capabilities | None:
    return _capabilities().get(channel)


@cache
def _capabilities() -> dict[str, Capabilities]:
    from integrations.channels.table import capabilities

    found = capabilities()
    # A terminal shows the page's conversations and has no forms of its own.
    return {**found, "terminal": replace(found["web"], forms=False, secret_fields=False)}
