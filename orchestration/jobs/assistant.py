"""Job `assistant`: answers a message in free text."""

import dagster as dg

from orchestration.authoring import not_a_command
from orchestration.ops.act import act
from orchestration.ops.recall import recall
from orchestration.ops.receive import receive
from orchestration.ops.remember import remember
from orchestration.ops.reply import reply
from orchestration.ops.think import think


@not_a_command
@dg.job(
    description="Answer a message: from memory, by proposing a command, or with general talk.",
    executor_def=dg.in_process_executor,
)
def assistant() -> None:
    """Wire the ops; `remember` comes after `reply`, so that nobody waits for it."""
    heard = receive()
    thought = think(heard, recall(heard))
    answered = reply(heard, thought, act(heard, thought))
    remember(heard, thought, answered)
