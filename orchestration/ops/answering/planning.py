"""What this principal may have planned now, and the check of every action that a model wants.

A plan is refused as a whole: where one action of it is wrong, none of it is carried out, and the reason goes back to
the model. What is checked here when a plan is made is checked again, by the same code, when it is carried out.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from integrations.access import Guard, may
from integrations.errors import Forbidden, InvalidInput, NotFound, RunbellError
from integrations.messages import Principal
from integrations.settings import Settings
from integrations.telemetry.redaction import redact_value
from orchestration.actions import Action, find, names, prepare
from orchestration.actions.ask_model import Prompt
from orchestration.commands.binding import bind_values
from orchestration.commands.help import command_line, visible
from orchestration.commands.language import Language, pick
from orchestration.commands.secrecy import SECRETS_ARE_PEOPLES, lacks_secret, secrets_in
from orchestration.commands.spec import CommandSpec
from orchestration.ops.answering.plans import START, Intended, Result
from serving.models_file import read_fleet
from serving.prompt_size import estimate
from serving.schema import ChatMessage

LONGEST_SHOWN = 4_000
"""Characters of arguments: what is longer could not be shown whole, and nobody agrees to what they have not seen."""
_NO_APPROVER = (
    "it destroys, and nobody is named who may approve that: an administrator sets plans.approval.approvers in"
    " runbell.toml"
)


@dataclass(frozen=True)
class Planner:
    """Knows one principal's rights at this moment: `commands` are those that they may run."""

    principal: Principal
    settings: Settings
    commands: Sequence[CommandSpec]

    @property
    def limit(self) -> int:
        """How many actions one round may have."""
        return self.settings.plans.actions

    def actions(self) -> list[Action]:
        """Return the actions that may be planned; commands are planned by their own names."""
        return [find(name) for name in names() if name != START and self._may_plan(name)]

    def check(self, wanted: Sequence[object], language: Language) -> tuple[Intended, ...] | tuple[Result, ...]:
        """Return what would be carried out, all of it; or, where anything is wrong, why it is refused."""
        if len(wanted) > self.limit:
            why = f"{len(wanted)} actions; a round may have {self.limit} (setting plans.actions)"
            return (refusal("the plan", why),)
        intended: list[Intended] = []
        refused: list[Result] = []
        for one in wanted:
            try:
                intended.append(self.intended(one, language))
            except RunbellError as error:
                refused.append(refusal(_title(one), str(error)))
        return tuple(refused) or tuple(intended)

    def intended(self, wanted: object, language: Language) -> Intended:
        """Check one action or command, as the model writes it. Raises `RunbellError` with the reason."""
        said = cast("Mapping[str, object]", wanted) if isinstance(wanted, Mapping) else {}
        args = said.get("args")
        if not isinstance(args, Mapping):
            raise InvalidInput("each entry is an action or a command, and args")
        given = {str(name): value for name, value in cast("Mapping[object, object]", args).items()}
        if "command" in said:
            return self._command(str(said["command"]), given, language)
        return self._action(str(said.get("action")), given)

    def again(self, intended: Intended, language: Language) -> Intended:
        """Check once more, now, what was checked when it was planned. Raises `RunbellError`."""
        if intended.action == START:
            return self._command(
                str(intended.args["command"]), cast("dict[str, object]", intended.args["args"]), language
            )
        return self._action(intended.action, intended.args)

    def _action(self, name: str, args: dict[str, object]) -> Intended:
        if name == START or name not in names():
            raise NotFound("there is no such action")
        if not self._may_plan(name):
            raise Forbidden("the asker may not have this action planned (setting plans.allow)")
        prepared = prepare(name, args, self.settings)
        quote = self._quote(args) if name == "ask_model" else ""
        return self._bounded(
            Intended(
                action=name,
                args=args,
                effect=prepared.effect,
                preview=prepared.preview,
                shown=_exact(args),
                # A call tells its address whatever stands in it. Where no hosts are named, whoever wrote the page that
                # the model has read would choose who hears that.
                at_once=prepared.effect == "read"
                and (name != "http_request" or bool(self.settings.actions.http.hosts)),
                approve=prepared.effect == "destructive",
                quote=quote,
            )
        )

    def _command(self, name: str, args: dict[str, object], language: Language) -> Intended:
        spec = next((spec for spec in self.commands if spec.name == name.lstrip("/")), None)
        if spec is None:
            raise NotFound("there is no such command, or the asker may not run it")
        bound, problems = bind_values(spec, args, language)
        if secrets_in(spec, args) or any(lacks_secret(spec, problem) for problem in problems):
            raise Forbidden(pick(language, *SECRETS_ARE_PEOPLES))
        if problems:
            raise InvalidInput(" ".join(problem.message for problem in problems))
        prepared = prepare(START, {"command": spec.name, "args": bound}, self.settings)
        return self._bounded(
            Intended(
                action=START,
                args={"command": spec.name, "args": bound},
                effect=spec.effect,
                preview=prepared.preview,
                shown=visible(command_line(spec, bound)),
                at_once=spec.effect == "read",
                # A command with an approval of its own waits for that one.
                approve=spec.effect == "destructive" and spec.approval is None,
            )
        )

    def _bounded(self, intended: Intended) -> Intended:
        if len(intended.shown) > LONGEST_SHOWN:
            raise InvalidInput(f"the arguments have more than {LONGEST_SHOWN} characters, which nobody could look over")
        if intended.approve and self.settings.plans.approval is None:
            raise Forbidden(_NO_APPROVER)
        return intended

    def _may_plan(self, name: str) -> bool:
        allowed = self.settings.actions.allow
        rules = tuple(self.settings.plans.allow.get(name, ()))
        return (name in allowed or "*" in allowed) and bool(
            may(self.principal, Guard(name, rules), self.settings.access)
        )

    def _quote(self, args: Mapping[str, object]) -> str:
        """Return what asking the model costs at its most; nothing where the model has no price."""
        fleet = read_fleet(self.settings.serving)
        price = fleet.models[fleet.all_routes()["default"].candidates[0]].price
        asked = Prompt.model_validate(args)
        said = ChatMessage(role="user", content=asked.system + asked.prompt)
        longest = price.of(estimate((said,)), asked.max_tokens)
        return f"{longest:.4f} {price.currency}" if longest else ""


def refusal(title: str, why: str) -> Result:
    """Say that something was not carried out, and why."""
    return Result(title=title, shown="", effect=None, outcome="refused", text=why)


def _title(wanted: object) -> str:
    said = cast("Mapping[str, object]", wanted) if isinstance(wanted, Mapping) else {}
    name = f"/{said['command']}" if "command" in said else str(said.get("action", "an entry"))
    return name[:60]


def _exact(args: Mapping[str, object]) -> str:
    masked = {name: redact_value(name, value) for name, value in args.items()}
    return visible(json.dumps(masked, ensure_ascii=False, sort_keys=True))
