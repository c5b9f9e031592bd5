"""What authors of workflows import: `@command` says what a plain Dagster job is in the chat.

    from orchestration.authoring import Approval, command

    @command("refund", aliases=["退款"], allowed=["finance"], effect="write", approval=Approval(approvers=["manager"]))
    @dg.job
    def refund_order(): ...

The decorated job is the same plain job, with one more entry in its metadata. A job without `@command` is a command
too: under its own name, for whom the setting `access.default` names (everyone), with the effect `write`, without
approval and without limits. `@not_a_command` takes a job out of the chat.
"""

from collections.abc import Callable, Sequence
from datetime import timedelta

import dagster as dg
from pydantic import ValidationError

from integrations.complaints import in_words, named
from orchestration.commands.policy import Approval, Declared, Effect, Late, Progress

__all__ = ["Approval", "command", "not_a_command"]

KEY = "runbell/command"


def command(  # noqa: PLR0913 - all that can be said of a command
    name: str | None = None,
    *,
    aliases: str | Sequence[str] = (),
    examples: str | Sequence[str] = (),
    description_zh: str = "",
    rest: str | None = None,
    hidden: bool = False,
    allowed: str | Sequence[str] | None = None,
    effect: Effect = "write",
    approval: Approval | None = None,
    max_age: str | timedelta | None = None,
    late: Late = "ask",
    time_limit: str | timedelta | None = None,
    concurrency_key: str | None = None,
    concurrency: int = 1,
    progress: Progress = "card",
) -> Callable[[dg.JobDefinition], dg.JobDefinition]:
    """Say what a job is as a command; stands above `@dg.job`. Raises ValueError, naming all that can't be.

    `name` is what is typed; without it, the job's name. `examples` are sentences that mean it, in any language.
    `rest` is the argument that takes free text to the end of the line. A `hidden` command may be typed, but is neither
    listed nor proposed. The rest is explained at `Traits` and `Approval` in `orchestration/commands/policy.py`.
    """
    kept = _declared({key: value for key, value in locals().items() if value is not None})
    return lambda job: _with(job, kept)


def described(**said: object) -> dict[str, dg.JsonMetadataValue]:
    """Return what `@command` says as metadata, for jobs of assets (`dg.define_asset_job`), on which it can't stand."""
    return {KEY: _declared(said)}


def not_a_command(job: dg.JobDefinition) -> dg.JobDefinition:
    """Keep a job out of the chat: only the Dagster UI, timers and other programs start it."""
    return _with(job, dg.MetadataValue.bool(False))


def _declared(said: dict[str, object]) -> dg.JsonMetadataValue:
    try:
        declared = Declared.model_validate(said)
    except ValidationError as error:
        raise ValueError(f"@command: {_all_of(error)}") from None
    return dg.MetadataValue.json(declared.model_dump(mode="json", exclude_defaults=True))


def _with(job: dg.JobDefinition, value: dg.MetadataValue) -> dg.JobDefinition:
    if not isinstance(job, dg.JobDefinition):  # pyright: ignore[reportUnnecessaryIsInstance] - authors need no checker
        raise TypeError(f"@command stands above @dg.job, not on {type(job).__name__}")
    if KEY in job.metadata:
        raise ValueError(f"@command: {job.name} has one already")
    return job.with_metadata({**job.metadata, KEY: value})


def _all_of(error: ValidationError) -> str:
    found = error.errors(include_url=False, include_input=False)
    told = ((named(one), in_words(one)) for one in found)
    return "; ".join(f"{where}: {words}" if where else words for where, words in told)
