"""From a workflow in YAML to a plain Dagster job: the op `arguments`, one op per step, the op `reply`."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from integrations.database import Database
from integrations.memory import Memory
from integrations.settings import Settings
from orchestration.authoring import command
from orchestration.commands.policy import Traits
from orchestration.flows.arguments import config_of
from orchestration.flows.carrying import Given, Parts, reply, take
from orchestration.flows.checking import only_before, used_by
from orchestration.flows.form import Form
from orchestration.warm.executor import ACTS_TAG
from serving.client import Models

FIRST, LAST = "arguments", "reply"


def job_of(form: Form) -> dg.JobDefinition:
    """Return the job. Raises ValueError where its command can't be what it says."""
    last = _reply_op(form)
    ops = {FIRST: _arguments_op(form), **{name: _step_op(form, name) for name in form.steps}, LAST: last}
    graph = dg.GraphDefinition(
        name=form.job_name,
        description=form.description or None,
        node_defs=list(ops.values()),
        dependencies={dg.NodeInvocation(op.name, alias=name): _inputs(form, name) for name, op in ops.items()},
    )
    said = {name: getattr(form, name) for name in Traits.model_fields}
    return command(form.command, **said)(graph.to_job(description=form.description or None))


def _inputs(form: Form, name: str) -> dict[str, Any]:
    if name == FIRST:
        return {}
    before = [FIRST, *(form.steps if name == LAST else only_before(form, name))]
    # What was left out is missing in this list; but Dagster skips an op that lacks another input.
    uses = {} if name == LAST else {f"of_{other}": dg.DependencyDefinition(other) for other in used_by(form, name)}
    return {"before": dg.MultiDependencyDefinition([dg.DependencyDefinition(one) for one in before]), **uses}


def _arguments_op(form: Form) -> dg.OpDefinition:
    config_class = config_of(form)

    @dg.op(name=f"{form.job_name}__{FIRST}", description="Take the command's arguments.", out=dg.Out(dict))
    def arguments(config: config_class) -> dict[str, Any]:  # type: ignore[valid-type] # made for this command
        return {"at": datetime.now(UTC).isoformat(), "args": config.model_dump(mode="json")}

    return arguments


def _step_op(form: Form, name: str) -> dg.OpDefinition:
    step = form.steps[name]
    uses = [f"of_{other}" for other in used_by(form, name)]
    waits = {"approval": "approval", "wait": "event" if step.kind == "wait" and step.wait.event else "timer"}
    tags = {"runbell/waits": waits[step.kind]} if step.kind in waits else {ACTS_TAG: "true"}

    @dg.op(
        name=f"{form.job_name}__{name}",
        description=step.description or step.kind.replace("_", " "),
        ins={"before": dg.In(list), **{use: dg.In(dict) for use in uses}},
        out=dg.Out(dict, is_required=not step.when),
        tags=tags,
        retry_policy=None if step.retries is None else step.retries.policy,
    )
    def carry(
        context: dg.OpExecutionContext,
        settings: dg.ResourceParam[Settings],
        database: dg.ResourceParam[Database],
        models: dg.ResourceParam[Models],
        memory: dg.ResourceParam[Memory],
        before: list[dict[str, Any]],
        **used: dict[str, Any],
    ) -> Iterator[dg.Output[Any]]:
        given = Given.of([*before, *(used[use] for use in uses)])
        yield from take(form, name, given, context, Parts(settings, database, models, memory))

    return carry


def _reply_op(form: Form) -> dg.OpDefinition:
    @dg.op(name=f"{form.job_name}__{LAST}", description="Word the answer.", ins={"before": dg.In(list)})
    def answer(before: list[dict[str, Any]]) -> str:
        return reply(form, Given.of(before))

    return answer
