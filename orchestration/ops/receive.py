"""Op `receive`: fetch the message that this run answers."""

from dataclasses import replace

import dagster as dg

from integrations.database import Database, MessageView, Proposal
from integrations.errors import NotFound
from integrations.messages import utc_now
from integrations.settings import Settings
from orchestration.commands.language import language_of, pick
from orchestration.commands.model_choice import still_allowed
from orchestration.commands.proposals import PLAN, digest
from orchestration.ops.answering.plans import Plan
from orchestration.ops.answering.scopes import conversation_url
from orchestration.ops.answering.values import Heard

MOST_CHARACTERS = 12_000
"""Of a longer message only the beginning is considered: no context holds more, and the answer says so."""


class ReceiveConfig(dg.Config):
    """Which message to answer; `plan` is the proposal that it is the yes to, `digest` what the yes is bound to."""

    message_id: str
    plan: str | None = None
    digest: str = ""


@dg.op(description="Fetch the message.")
def receive(
    context: dg.OpExecutionContext,
    config: ReceiveConfig,
    database: dg.ResourceParam[Database],
    settings: dg.ResourceParam[Settings],
) -> Heard:
    """Return the message, cut to what can be considered."""
    view = database.inbox.get(config.message_id)
    if view is None:
        raise NotFound(f"there is no message {config.message_id}; it may have been removed by the retention")
    known = database.transcript.known(view.address)
    model = still_allowed(known.model if known else None, settings, view.address.tenant)
    heard = replace(heard_of(view, direct=known is None or known.direct), model=model)
    if config.plan is not None:
        plan = agreed_plan(database.proposals.get(config.plan), heard, config.digest)
        heard = replace(heard, text=plan.request, characters=len(plan.request), language=plan.language, plan=plan)
    context.add_output_metadata(
        {
            "message_id": heard.message_id,
            "channel": heard.address.channel,
            "characters": heard.characters,
            "language": heard.language,
            "conversation": dg.MetadataValue.url(conversation_url(settings, heard.address)),
        }
    )
    return heard


def agreed_plan(proposal: Proposal | None, heard: Heard, bound: str) -> Plan:
    """Return the plan that was agreed to. Raises `dg.Failure` where it is no longer what was shown."""
    mine = proposal and (proposal.command, proposal.principal_id, proposal.address)
    if proposal is None or mine != (PLAN, heard.principal_id, heard.address) or digest(proposal.args) != bound:
        raise dg.Failure(
            pick(
                heard.language,
                "What you agreed to has changed since, so nothing was done. Ask for it again.",
                "你同意的内容已被更改，没有执行任何操作。请重新提出。",
            ),
            allow_retries=False,
        )
    return Plan.model_validate(proposal.args)


def heard_of(view: MessageView, *, direct: bool) -> Heard:
    """Return what the assistant needs of a message."""
    return Heard(
        message_id=view.message_id,
        address=view.address,
        principal_id=view.principal_id or "",
        direct=direct,
        text=view.text[:MOST_CHARACTERS],
        characters=len(view.text),
        language=language_of(view.text),
        accepted_at=view.receipt.accepted_at or utc_now(),
        traceparent=view.traceparent,
        account=view.account,
    )
