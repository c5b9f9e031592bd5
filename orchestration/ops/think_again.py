"""Ops `lay_out` and `think_again`: the rounds of a plan. Where somebody has to be asked first, no model is."""

import re
from collections.abc import Iterator

import dagster as dg

from integrations.database import Database
from integrations.settings import Settings
from orchestration.ops.answering import deciding
from orchestration.ops.answering.offers import Offers
from orchestration.ops.answering.plans import Intended, Plan, Result
from orchestration.ops.answering.thinking import put_out, think_with
from orchestration.ops.answering.values import Heard, Recalled, Thought
from serving.client import Models

Put = dg.Output[Thought] | dg.Output[Plan] | dg.DynamicOutput[Intended]


@dg.op(
    description="Lay out the actions that are carried out now: those that were agreed to, or that only read.",
    out={"actions": dg.DynamicOut(Intended)},
)
def lay_out(plan: Plan) -> Iterator[dg.DynamicOutput[Intended]]:
    """Put out each action of the first round."""
    yield from each(plan)


@dg.op(
    description="Go by the results: answer, or plan another round.",
    out={
        "thought": dg.Out(Thought, is_required=False),
        "plan": dg.Out(Plan, is_required=False),
        "actions": dg.DynamicOut(Intended),
    },
)
def think_again(  # noqa: PLR0913 - what Dagster passes
    context: dg.OpExecutionContext,
    heard: Heard,
    recalled: Recalled,
    plan: Plan,
    results: list[Result],
    models: dg.ResourceParam[Models],
    offers: dg.ResourceParam[Offers],
    database: dg.ResourceParam[Database],
    settings: dg.ResourceParam[Settings],
) -> Iterator[Put]:
    """Put out the thought that ends the request for now, or the plan of another round and its actions."""
    so_far = plan.after(tuple(results))
    thought = think_with(
        context,
        heard,
        lambda mind: deciding.think_again(heard, recalled, so_far, mind),
        models,
        offers,
        database,
        settings,
    )
    for output in put_out(thought):
        yield output
        if output.output_name == "plan" and thought.plan is not None:
            yield from each(thought.plan)


def each(plan: Plan) -> Iterator[dg.DynamicOutput[Intended]]:
    """Yield the actions to carry out now, named by their places and titles."""
    for place, one in enumerate(plan.now, 1):
        name = re.sub(r"\W+", "_", one.title, flags=re.ASCII).strip("_")
        yield dg.DynamicOutput(one, mapping_key=f"{place}_{name}", output_name="actions")
