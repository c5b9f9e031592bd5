"""Op `think`: decide what to say, to propose or to do. How: `answering/deciding.py`."""

from collections.abc import Iterator

import dagster as dg

from integrations.database import Database
from integrations.settings import Settings
from orchestration.ops.answering.deciding import think_about
from orchestration.ops.answering.offers import Offers
from orchestration.ops.answering.plans import Plan
from orchestration.ops.answering.thinking import put_out, think_with
from orchestration.ops.answering.values import Heard, Recalled, Thought
from serving.client import Models


@dg.op(
    description="Answer, quote from memory, propose one command, or plan; tokens stream to the conversation.",
    out={"thought": dg.Out(Thought, is_required=False), "plan": dg.Out(Plan, is_required=False)},
)
def think(
    context: dg.OpExecutionContext,
    heard: Heard,
    recalled: Recalled,
    models: dg.ResourceParam[Models],
    offers: dg.ResourceParam[Offers],
    database: dg.ResourceParam[Database],
    settings: dg.ResourceParam[Settings],
) -> Iterator[dg.Output[Thought] | dg.Output[Plan]]:
    """Put out the thought, or a plan to carry out; after a yes that is what was agreed to, and no model is asked."""
    if heard.plan is not None:
        yield dg.Output(heard.plan.agreed(), "plan")
        return
    yield from put_out(
        think_with(context, heard, lambda mind: think_about(heard, recalled, mind), models, offers, database, settings)
    )
