"""The answer of a plain job, composed from what its ops put out, or from how it failed."""

import pickle
import re
from collections.abc import Sequence
from typing import cast

from integrations import errors
from integrations.database import Database, RunClaim
from integrations.messages import Address, Attachment, Choice, OutboundMessage, Reply
from orchestration.warm.internals import DagsterEvent, ExecutionPlan, StepInput
from orchestration.warm.outputs import Outputs

LIMIT = 20_000
"""Characters of an answer; more is cut, with a note."""
_DYNAMIC = re.compile(r"\[[^\]]*\]")
_OURS = {name for name, value in vars(errors).items() if isinstance(value, type)}


def leaves(plan: ExecutionPlan) -> list[tuple[str, str]]:
    """Return the outputs (step key, name) that no op consumes, in topological order; mapped steps count once."""
    consumed: set[tuple[str, str]] = set()
    for step in plan.step_dict.values():
        for step_input in step.step_inputs:
            if isinstance(step_input, StepInput):  # a mapped step has such ones, too
                handles = step_input.get_step_output_handle_dependencies()
            else:
                handles = step_input.get_step_output_handle_deps_with_placeholders()
            consumed |= {(_base(handle.step_key), handle.output_name) for handle in handles}
    return [
        (_base(step.key), output.name)
        for step in plan.get_all_steps_in_topo_order()
        for output in step.step_outputs
        if (_base(step.key), output.name) not in consumed
    ]


def success(
    database: Database, outputs: Outputs, plan: ExecutionPlan, run_id: str, address: Address, title: str
) -> OutboundMessage:
    """Return the answer of a job that has ended well; `title` is said where its ops put out no text."""
    texts: list[str] = []
    files: list[Attachment] = []
    choices: list[object] = []
    for value in _values(outputs, leaves(plan), run_id):
        reply = Reply(text=value) if isinstance(value, str) else value
        if isinstance(reply, Reply):
            texts.append(reply.text)
            files += [database.files.add(path) for path in reply.files]
            choices += reply.choices
    text = "\n\n".join(text for text in texts if text.strip()) or ("" if files else title)
    if len(text) > LIMIT:
        text = f"{text[:LIMIT]}\n\n… (the rest of {len(text)} characters was cut)"
    return OutboundMessage.model_validate(
        {"address": address, "text": text, "attachments": tuple(files), "choices": tuple(choices)}
    )


def next_steps(claim: RunClaim, url: str | None, *, succeeded: bool) -> tuple[Choice, ...]:
    """Return what can be done after the run of a typed command; `url` is its page, None where it never began."""
    asked = cast("dict[str, object] | None", (claim.request or {}).get("asked"))
    if asked is None or (succeeded and asked["progress"] == "none"):
        return ()
    chinese = asked["language"] == "zh"
    again = Choice(
        label="再次运行" if chinese else "Run again",
        text=f"/{'再次' if chinese else 'again'} {claim.run_id}",
        optional=True,
    )
    if succeeded:
        return (Choice(label="在 Dagster 中打开" if chinese else "Open in Dagster", url=url), again)
    if url is None:
        return (again,)
    label = "从失败处重试" if chinese else "Retry from failure"
    return (Choice(label=label, text=f"/{'重试' if chinese else 'retry'} {claim.run_id}", style="primary"), again)


def failure(title: str, failures: Sequence[DagsterEvent], url: str) -> str:
    """Return in plain words why a job failed, with the run's link."""
    if not failures:
        return f"⚠️ {title} failed. [Open the run]({url})"
    first = failures[0]
    reason = reason_of(first)
    return f"⚠️ {title} failed at `{first.step_key}`: {reason}\n\n[Open the run]({url})"


def reason_of(event: DagsterEvent) -> str:
    """Return why an op failed, as its author put it."""
    data = event.step_failure_data
    if data.user_failure_data is not None and data.user_failure_data.description:
        return data.user_failure_data.description
    error = data.error
    while error is not None and error.cause is not None:
        error = error.cause
    if error is None:
        return "no reason was recorded"
    message = error.message.strip()
    kind, _, text = message.partition(": ")
    # Our own errors are written for people; of others the kind helps to understand.
    if kind.rpartition(".")[2] in _OURS:
        message = text
    return message[:2_000] or "no reason was recorded"


def _values(outputs: Outputs, wanted: Sequence[tuple[str, str]], run_id: str) -> list[object]:
    order = {key: place for place, key in enumerate(wanted)}
    found: list[tuple[int, str, object]] = []
    for step_key, output, value in outputs.of_run(run_id):
        place = order.get((_base(step_key), output.partition("/")[0]))
        if place is not None and value is not None:
            found.append((place, step_key, pickle.loads(value)))  # noqa: S301 - written by our IO manager only
    return [value for _, _, value in sorted(found, key=lambda item: item[:2])]


def _base(step_key: str) -> str:
    return _DYNAMIC.sub("", step_key)
