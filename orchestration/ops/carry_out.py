"""Op `carry_out`: one action of a plan, once, if it still may be; what it gives is data for the next round.

Everything is looked at anew in this moment: who asks, what they may, what the action does now. What only reads goes at
once; anything else must be an action of the plan that this message is the yes to, with exactly its arguments.
"""

import time
from dataclasses import dataclass

import dagster as dg

from integrations.database import Database
from integrations.errors import Forbidden, RunbellError
from integrations.memory import Memory
from integrations.messages import Principal, run_id_for
from integrations.settings import Settings
from orchestration.actions import Occasion, Outcome, prepare
from orchestration.ops.answering.offers import Offers
from orchestration.ops.answering.plans import Intended, Result
from orchestration.ops.answering.scopes import scope_of
from orchestration.ops.answering.thinking import planner_for
from orchestration.ops.answering.values import Heard
from orchestration.waiting import await_approval
from serving.client import Models

LONGEST = 20_000
"""Characters of what an action gives that are kept for the model."""


@dataclass(frozen=True)
class Reached:
    """What actions may use."""

    settings: Settings
    database: Database
    models: Models
    memory: Memory


@dg.op(
    description="Carry out one action, if it still may be; what destroys waits for its approval, holding no worker.",
    tags={"runbell/acts": "true"},
)
def carry_out(  # noqa: PLR0913 - what Dagster passes
    context: dg.OpExecutionContext,
    heard: Heard,
    intended: Intended,
    models: dg.ResourceParam[Models],
    offers: dg.ResourceParam[Offers],
    database: dg.ResourceParam[Database],
    memory: dg.ResourceParam[Memory],
    settings: dg.ResourceParam[Settings],
) -> Result:
    """Return what became of it: a refusal or a failure is told, and does not end the run."""
    began = time.monotonic()
    outcome = "refused"
    try:
        principal = _still_may(context.run_id, heard, intended, offers, database, settings)
        if intended.approve:
            _approved(intended, settings)
        outcome = "failed"
        key = f"{context.run_id}:{context.op_handle}[{context.get_mapping_key()}]"
        occasion = Occasion(principal, heard.account, heard.address, scope_of(heard), key)
        text = _done(intended, Reached(settings, database, models, memory), occasion).text
        outcome = "done"
    except RunbellError as error:
        text = str(error)
    seconds = time.monotonic() - began
    context.add_output_metadata(
        {"action": intended.title, "effect": intended.effect, "outcome": outcome, "seconds": round(seconds, 3)}
    )
    return Result.model_validate(
        {
            "title": intended.title,
            "shown": intended.shown,
            "effect": intended.effect,
            "outcome": outcome,
            "text": text[:LONGEST],
            "seconds": seconds,
        }
    )


def _still_may(
    run_id: str, heard: Heard, intended: Intended, offers: Offers, database: Database, settings: Settings
) -> Principal:
    """Return for whom it is carried out. Raises `RunbellError` where it may not be, or is not what was agreed to."""
    planner = planner_for(heard, offers, database, settings)
    if planner is None:
        raise Forbidden("whoever asked for it may not use Runbell any more, or plans are switched off (plans.rounds)")
    agreed = heard.plan is not None and intended in heard.plan.waiting and run_id == run_id_for(heard.message_id)
    now = planner.again(intended, heard.language)
    if not (now.at_once or agreed):
        raise Forbidden("nobody has said yes to it")
    if now != intended:
        raise Forbidden("it has changed since it was planned; ask again")
    return planner.principal


def _approved(intended: Intended, settings: Settings) -> None:
    """Wait for the approval of exactly this. Raises `Denied`, `Expired`; the op leaves here and comes back later."""
    assert settings.plans.approval is not None  # else it was refused
    details: dict[str, object] = {"action": intended.action, "args": intended.args}
    await_approval(
        f"{intended.title} ({intended.effect}): {intended.preview}?", settings.plans.approval, details, intended.shown
    )


def _done(intended: Intended, reached: Reached, occasion: Occasion) -> Outcome:
    return prepare(intended.action, intended.args, reached.settings).carry_out(reached, occasion)
