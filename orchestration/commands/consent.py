"""Commands that need an approval before they run: what is asked for, and whether it still holds when it is given."""

from collections.abc import Mapping

from integrations.approvals import words
from integrations.approvals.policy import Policy
from integrations.approvals.values import Approval, NewApproval
from integrations.database import AskedCommand, NewRun
from orchestration.commands.binding import bind_values
from orchestration.commands.help import command_line, visible
from orchestration.commands.spec import CommandSpec
from orchestration.commands.turn import Turn

RETRY = "retry_of"
"""Stands among the arguments where a failed run goes on: with a run id instead of arguments."""


def wanted(turn: Turn, spec: CommandSpec, args: Mapping[str, object]) -> NewApproval | None:
    """Return the approval that a command with exactly these arguments needs; None where it needs none."""
    if spec.approval is None:
        return None
    retried = args.get(RETRY)
    shown = f"/retry {str(retried)[:13]}  # {spec.name}" if retried else visible(command_line(spec, dict(args)))
    return NewApproval(
        subject=spec.name,
        args=dict(args),
        shown=shown,
        policy=Policy.model_validate(spec.approval),
        requester_id=turn.principal.id,
        requester_name=turn.principal.name,
        tenant=turn.principal.tenant,
        origin=turn.message.address,
        language=turn.asker.language,
        effect=spec.effect,
        message_id=turn.claimed.message_id,
    )


def approved_run(turn: Turn, found: Approval | None, spec: CommandSpec | None) -> NewRun | None:
    """Return the run with exactly what was approved; None where that is no longer what would run."""
    if found is None or spec is None or found.state != "approved" or found.args is None:
        return None
    if spec.approval is None or not _as_approved(turn, found, spec, found.args):
        return None
    tags = {**turn.tags(spec.name), **_tags(found)}
    if retried := found.args.get(RETRY):
        return NewRun(spec.location, spec.job, {}, tags, retry_of=str(retried))
    asked = AskedCommand(spec.name, found.args, turn.asker.language, spec.progress)
    return NewRun(
        spec.location, spec.job, spec.run_config_for(found.args), tags, asked=asked, at_once=spec.at_once(found.args)
    )


def _as_approved(turn: Turn, found: Approval, spec: CommandSpec, args: dict[str, object]) -> bool:
    checked, problems = (args, []) if RETRY in args else bind_values(spec, args, turn.asker.language)
    now = wanted(turn, spec, checked)
    return not problems and now is not None and now.digest == found.digest


def _tags(found: Approval) -> dict[str, str]:
    """Return who decided, when and why, for the run's page."""
    said = found.said_yes
    tags = {
        "runbell/approval": found.id,
        "runbell/approved_by": ", ".join(f"{one.name} ({one.principal_id})" for one in said),
        "runbell/approved_at": ", ".join(words.instant(one.at) for one in said),
    }
    reasons = "; ".join(one.reason for one in said if one.reason)
    return {**tags, "runbell/approval_reason": reasons} if reasons else tags
