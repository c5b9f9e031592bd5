"""The rounds of one request: what a model's plan adds to it, and the bounds that end it."""

from collections.abc import Sequence

from integrations.settings_plans import Plans
from orchestration.commands.language import pick
from orchestration.ops.answering.planning import Planner
from orchestration.ops.answering.plans import Intended, Plan, Result
from orchestration.ops.answering.values import Spent


def planned(plan: Plan, wanted: Sequence[object], planner: Planner, spent: Spent) -> Plan:
    """Return the plan with one more round: what goes at once and what waits for a yes, or why all of it is refused."""
    checked = planner.check(wanted, plan.language)
    intended = tuple(one for one in checked if isinstance(one, Intended))
    return plan.model_copy(
        update={
            "rounds": plan.rounds + 1,
            "tokens": plan.tokens + spent.tokens_in + spent.tokens_out,
            "seconds": plan.seconds + spent.total_ms / 1000,
            "results": (*plan.results, *(one for one in checked if isinstance(one, Result))),
            "now": tuple(one for one in intended if one.at_once),
            "waiting": tuple(one for one in intended if not one.at_once),
        }
    )


def exhausted(plan: Plan, bounds: Plans) -> str:
    """Return, for the asker, which bound the request has met; empty where it may go on."""
    for spent, most, name in (
        (plan.tokens, bounds.tokens, "plans.tokens"),
        (plan.seconds, bounds.seconds, "plans.seconds"),
    ):
        if spent >= most:
            return pick(
                plan.language,
                f"I stopped here: one request may take {most:g} {name.removeprefix('plans.')} (setting {name}).",
                f"到此为止：一次请求的上限为 {most:g}（设置 {name}）。",
            )
    return ""
