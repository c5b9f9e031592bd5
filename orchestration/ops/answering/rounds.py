"""The rounds of one request: what a model's plan adds to it, and the bounds that end it."""

from collections.abc import Sequence

from integrations.settings_plans import Plans
from orchestration.commands.language import pick
from orchestration.ops.answering.planning import Planner
from orchestration.ops.answering.plans import Intended, Plan, Result
from orchestration.ops.answering.prompts import tokens_in
from orchestration.ops.answering.values import Spent
from serving.schema import ChatRequest

LEAST_TOKENS = 32
"""A shorter answer says nothing: it is not asked for."""


def planned(plan: Plan, wanted: Sequence[object], planner: Planner, spent: Spent) -> Plan:
    """Return the plan with one more round: what goes at once and what waits for a yes, or why all of it is refused."""
    checked = planner.check(wanted, plan.language)
    intended = tuple(one for one in checked if isinstance(one, Intended))
    return used(plan, spent).model_copy(
        update={
            "rounds": plan.rounds + 1,
            "results": (*plan.results, *(one for one in checked if isinstance(one, Result))),
            "now": tuple(one for one in intended if one.at_once),
            "waiting": tuple(one for one in intended if not one.at_once),
        }
    )


def used(plan: Plan, spent: Spent) -> Plan:
    """Return the plan with what one more call of a model took."""
    tokens = plan.tokens + spent.tokens_in + spent.tokens_out
    return plan.model_copy(update={"tokens": tokens, "seconds": plan.seconds + spent.total_ms / 1000})


def within(request: ChatRequest, plan: Plan, bounds: Plans) -> ChatRequest | None:
    """Return the request with at most as many tokens as are left besides its prompt; None where too few are."""
    left = bounds.tokens - plan.tokens - tokens_in(request.messages)
    if left < LEAST_TOKENS:
        return None
    return request.model_copy(update={"max_tokens": min(request.max_tokens, left)})


def exhausted(plan: Plan, bounds: Plans) -> str:
    """Return, for the asker, which bound the request has met; empty where it may go on."""
    if plan.tokens >= bounds.tokens:
        return out_of_tokens(plan, bounds)
    return _stopped(plan, bounds.seconds, "plans.seconds") if plan.seconds >= bounds.seconds else ""


def out_of_tokens(plan: Plan, bounds: Plans) -> str:
    """Say that the next call would take more tokens than are left."""
    return _stopped(plan, bounds.tokens, "plans.tokens")


def _stopped(plan: Plan, most: float, name: str) -> str:
    return pick(
        plan.language,
        f"I stopped here: one request may take {most:g} {name.removeprefix('plans.')} (setting {name}).",
        f"到此为止：一次请求的上限为 {most:g}（设置 {name}）。",
    )
