"""Where the runs of a job execute: in a warm worker's thread, or apart, as the job's own tags ask and settings allow.

Only what the author wrote at the job counts. Tags of a run are not looked at: they may come with a request.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import dagster as dg

from integrations.errors import Misconfigured
from integrations.settings import Isolation as Allowed

TAG = "runbell/isolation"
CPUS_TAG, GPUS_TAG = "runbell/cpus", "runbell/gpus"
MEMORY_TAG, ENVIRONMENT_TAG = "runbell/memory_megabytes", "runbell/environment"
WARM, PROCESS, RAY = KINDS = ("warm", "process", "ray")


@dataclass(frozen=True, slots=True)
class Isolation:
    """What a run gets; all but `kind` is Ray's matter."""

    kind: str = WARM
    cpus: float = 1.0
    gpus: float = 0.0
    memory_megabytes: float = 0.0
    environment: str | None = None


def isolation_of(job: dg.JobDefinition, allowed: Allowed) -> Isolation:
    """Return what a job asks for. Raises `Misconfigured` where it asks for what there is not or what is not allowed."""
    return asked({**job.tags, **job.run_tags}, allowed)


def asked(tags: Mapping[str, str], allowed: Allowed) -> Isolation:
    """Return what tags ask for. Raises `Misconfigured`."""
    kind = tags.get(TAG, WARM)
    if kind not in KINDS:
        raise Misconfigured(f"The job's tag {TAG} is {kind!r}; it may be {', '.join(KINDS)}.")
    if kind != WARM and kind not in allowed.kinds:
        raise Misconfigured(f"The job's tag {TAG} is {kind!r}, which the setting isolation.kinds does not allow.")
    environment = tags.get(ENVIRONMENT_TAG)
    if environment is not None and environment not in allowed.environments:
        raise Misconfigured(f"The job's tag {ENVIRONMENT_TAG} is {environment!r}; isolation.environments has no such.")
    found = Isolation(
        kind=kind,
        cpus=_number(tags, CPUS_TAG, 1.0, allowed.cpus),
        gpus=_number(tags, GPUS_TAG, 0.0, allowed.gpus),
        memory_megabytes=_number(tags, MEMORY_TAG, 0.0, allowed.memory_megabytes),
        environment=environment,
    )
    if kind != RAY and found != Isolation(kind):
        raise Misconfigured(f"Only a job whose tag {TAG} is {RAY!r} may ask for CPUs, GPUs, memory or an environment.")
    return found


def _number(tags: Mapping[str, str], tag: str, default: float, most: float) -> float:
    text = tags.get(tag)
    if text is None:
        return min(default, most)
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise Misconfigured(f"The job's tag {tag} is {text!r}; it must be a number.")
    if value > most:
        name = tag.removeprefix("runbell/")
        raise Misconfigured(f"The job's tag {tag} is {text}; the setting isolation.{name} allows {most:g}.")
    return value
