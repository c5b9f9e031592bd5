"""Op `carry_out`: one action of a plan, once, if it still may be; what it gives is data for the next round.

Everything is looked at anew in this moment: who asks, what they may, what the action does now. What only reads goes at
once; anything else must be an action of the plan that this message is the yes to, with exactly its arguments.
A command is a message of its own: the op waits for its answer, which is the result, and holds nothing meanwhile.
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
from orchestration.ops.answering.command_results import result_of
from orchestration.ops.answering.offers import Offers
from orchestration.ops.answering.plans import START, Ended, Intended, Result
from orchestration.ops.answering.scopes import scope_of
from orchestration.ops.answering.thinking import planner_for
from orchestration.ops.answering.values import Heard
from orchestration.waiting import await_approval, await_message
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
    description="Carry out one action, if it still may be; approvals and commands are waited for, holding no worker.",
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
    attempt = _Attempt(context, heard, intended, offers, Reached(settings, database, models, memory))
    outcome, text = attempt.go()
    seconds = time.monotonic() - began
    context.add_output_metadata(
        {"action": intended.title, "effect": intended.effect, "outcome": outcome, "seconds": round(seconds, 3)}
    )
    return Result(
        title=intended.title,
        shown=intended.shown,
        effect=intended.effect,
        outcome=outcome,
        text=text[:LONGEST],
        seconds=seconds,
    )


@dataclass(frozen=True)
class _Attempt:
    """This attempt at an action. One that has to wait leaves, and the next begins here again."""

    context: dg.OpExecutionContext
    heard: Heard
    intended: Intended
    offers: Offers
    reached: Reached

    def go(self) -> tuple[Ended, str]:
        """Return how it ended, and what it gave or why it did not."""
        try:
            # What an earlier attempt has started is past all checks: it happened, whatever has changed since.
            started = self._started_before()
            principal = None if started else self._still_may()
        except RunbellError as error:
            return "refused", str(error)
        try:
            if principal is not None:
                given = self._carried_out(principal)
                started = given.data.get("message_id") if self.intended.action == START else None
                if started is None:
                    return "done", given.text
            return self._answer(str(started))
        except RunbellError as error:
            return "failed", str(error)

    @property
    def _key(self) -> str:
        context = self.context
        return f"{context.run_id}:{context.op_handle}[{context.get_mapping_key()}]"

    def _started_before(self) -> str | None:
        if self.intended.action != START:
            return None
        return self.reached.database.sent.find(self._key, self.heard.address)

    def _still_may(self) -> Principal:
        """Return for whom it is carried out, once it is approved where it must be.

        Raises `RunbellError` where it may not be, or is not what was agreed to.
        """
        heard, intended = self.heard, self.intended
        planner = planner_for(heard, self.offers, self.reached.database, self.reached.settings)
        if planner is None:
            raise Forbidden(
                "whoever asked for it may not use Runbell any more, or plans are switched off (plans.rounds)"
            )
        mine = self.context.run_id == run_id_for(heard.message_id)
        agreed = heard.plan is not None and intended in heard.plan.waiting and mine
        now = planner.again(intended, heard.language)
        if not (now.at_once or agreed):
            raise Forbidden("nobody has said yes to it")
        if now != intended:
            raise Forbidden("it has changed since it was planned; ask again")
        if intended.approve:
            self._approved()
        return planner.principal

    def _approved(self) -> None:
        """Wait for the approval of exactly this. Raises `Denied`, `Expired`."""
        intended, policy = self.intended, self.reached.settings.plans.approval
        assert policy is not None  # else it was refused
        details: dict[str, object] = {"action": intended.action, "args": intended.args}
        await_approval(f"{intended.title} ({intended.effect}): {intended.preview}?", policy, details, intended.shown)

    def _carried_out(self, principal: Principal) -> Outcome:
        heard, intended = self.heard, self.intended
        occasion = Occasion(principal, heard.account, heard.address, scope_of(heard), self._key)
        return prepare(intended.action, intended.args, self.reached.settings).carry_out(self.reached, occasion)

    def _answer(self, message_id: str) -> tuple[Ended, str]:
        """Wait for the answer of the command that was started."""
        settings, title = self.reached.settings, self.intended.title
        view = await_message(message_id, f"the answer of {title}", settings.plans.wait_for_commands)
        if view is None:
            return "done", f"{title} was started and answers for itself"
        if view.run_id is not None:
            self.context.add_output_metadata({"run": dg.MetadataValue.url(settings.run_url(view.run_id))})
        return result_of(view, self.heard, settings.plans.wait_for_commands)
