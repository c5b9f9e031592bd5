"""Job `assistant`: answers a message in free text, and carries out what was agreed to."""

from typing import Any

import dagster as dg

from integrations.settings_plans import MOST_ROUNDS
from orchestration.authoring import not_a_command
from orchestration.ops.answering.plans import Plan
from orchestration.ops.answering.values import Deed, Heard, Recalled, Thought
from orchestration.ops.carry_out import carry_out
from orchestration.ops.propose import propose
from orchestration.ops.recall import recall
from orchestration.ops.receive import receive
from orchestration.ops.remember import remember
from orchestration.ops.reply import reply
from orchestration.ops.think import think
from orchestration.ops.think_again import lay_out, think_again


def _mapped(name: str, heard: Heard, actions: Any) -> Any:  # noqa: ANN401 - Dagster's handles of outputs
    op = carry_out.alias(name)

    def one(action: Any) -> Any:  # noqa: ANN401 - see above
        return op(heard, action)

    return actions.map(one).collect()


@dg.graph(description="Carry out a plan, one op per action, round by round; then word the answer.")
def act(heard: Heard, recalled: Recalled, thought: Thought, plan: Plan) -> Deed:
    """Wire the rounds. Without a plan only `propose` executes."""
    actions, thoughts = lay_out(plan), [thought]
    for number in range(1, MOST_ROUNDS + 1):
        results = _mapped(f"carry_out_{number}", heard, actions)
        thought, plan, actions = think_again.alias(f"think_{number + 1}")(heard, recalled, plan, results)
        thoughts.append(thought)
    return propose(heard, thoughts)


@not_a_command
@dg.job(
    description="Answer a message: from memory, by proposing a command, by a plan, or with general talk.",
    executor_def=dg.in_process_executor,
)
def assistant() -> None:
    """Wire the ops; `remember` comes after `reply`, so that nobody waits for it."""
    heard = receive()
    recalled = recall(heard)
    thought, plan = think(heard, recalled)
    deed = act(heard, recalled, thought, plan)
    answered = reply(heard, deed)
    remember(heard, deed, answered)
