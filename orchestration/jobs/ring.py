"""Job `ring`: what a tick of a schedule made in chat launches; the command's own run follows it, see its metadata."""

import dagster as dg

from orchestration.authoring import not_a_command
from orchestration.ops.ring import say_scheduled


@not_a_command
@dg.job(executor_def=dg.in_process_executor)
def ring() -> None:
    """Say a scheduled command in its conversation."""
    say_scheduled()
