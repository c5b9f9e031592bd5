"""What must be right before anything starts; everything that is wrong is told at once."""

import shutil
from collections.abc import Iterable

from integrations.errors import Misconfigured
from orchestration.supervise.home import Home
from orchestration.supervise.ports import clashes, require_free
from orchestration.supervise.spec import Spec, Step

NEEDED_MB = 500


def problems(plan: Iterable[Spec | Step], home: Home) -> list[str]:
    """Return what stands in the way of a start, each with what to do; empty when nothing does."""
    settings = [what.port_setting for what in plan if isinstance(what, Spec) and what.port_setting]
    found = clashes(settings)
    for setting in settings:
        try:
            require_free(setting)
        except Misconfigured as error:
            found.append(str(error))
    full = disk_problem(home, shutil.disk_usage(home.path).free)
    return [*found, full] if full else found


def disk_problem(home: Home, free_bytes: int) -> str | None:
    """Say that the disk is full, or None."""
    free = free_bytes // 1_000_000
    if free >= NEEDED_MB:
        return None
    return (
        f"The disk of {home.path} is full: {free} MB are free, {NEEDED_MB} MB are needed. Free some, or set "
        "RUNBELL_HOME to a folder on another disk."
    )
