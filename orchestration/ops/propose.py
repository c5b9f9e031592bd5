"""Op `propose`: word the answer; what needs a yes is stored and asked. It carries nothing out itself.

The dispatcher runs the stored proposal, with exactly these arguments, once the same principal says yes.
"""

from collections.abc import Sequence

import dagster as dg

from integrations.database import Database
from integrations.errors import NotFound
from orchestration.commands.help import command_line, visible
from orchestration.commands.language import Language, pick
from orchestration.commands.proposals import PLAN, choices, present
from orchestration.commands.spec import CommandSpec
from orchestration.ops.answering.offers import Offers
from orchestration.ops.answering.plan_wording import asked, told
from orchestration.ops.answering.plans import Plan
from orchestration.ops.answering.values import Deed, Heard, Thought


@dg.op(description="Word the answer; a proposed command or plan is stored, and waits for the asker's yes.")
def propose(
    context: dg.OpExecutionContext,
    heard: Heard,
    thoughts: list[Thought],
    offers: dg.ResourceParam[Offers],
    database: dg.ResourceParam[Database],
) -> Deed:
    """Return the text to answer with; for a proposal its exact arguments and two buttons."""
    (thought,) = thoughts  # of all rounds, one ends the request
    model = thought.spent.model if thought.spent else None
    if thought.command is None:
        return (
            _plan(context, heard, thought, thought.plan, database) if thought.plan else Deed(thought.text, model=model)
        )
    spec = spec_of(thought.command, offers.to(heard.principal_id))
    if thought.questions:
        return Deed(incomplete(spec, thought.args or {}, thought.questions, heard.language), asks=True, model=model)
    proposal = database.proposals.put(heard.address, heard.principal_id, spec.name, thought.args or {})
    context.add_output_metadata({"proposal": proposal.id, "command": spec.name})
    text, buttons = present(spec, thought.args or {}, proposal.id, heard.language)
    text = text if thought.way == "proposal" else f"{not_sure(heard.language)}\n\n{text}"
    return Deed(text, buttons, asks=True, model=model)


def _plan(context: dg.OpExecutionContext, heard: Heard, thought: Thought, plan: Plan, database: Database) -> Deed:
    model = thought.spent.model if thought.spent else None
    if not plan.waiting:
        return Deed("\n\n".join(filter(None, [thought.text, told(plan)])), model=model)
    proposal = database.proposals.put(heard.address, heard.principal_id, PLAN, plan.model_dump(mode="json"))
    context.add_output_metadata({"proposal": proposal.id, "round": plan.rounds})
    return Deed(asked(plan), choices(proposal.id, plan.language), asks=True, model=model)


def spec_of(name: str, commands: Sequence[CommandSpec]) -> CommandSpec:
    """Return the command to propose. Raises `NotFound` where it went away meanwhile."""
    for spec in commands:
        if spec.name == name:
            return spec
    raise NotFound(f"the command /{name} is no longer there; /help lists what is")


def not_sure(language: Language) -> str:
    """Say that the sentence may mean something else."""
    return pick(language, "I am not sure what you mean; perhaps this.", "我不确定你的意思，也许是这个。")


def incomplete(spec: CommandSpec, args: dict[str, object], questions: Sequence[str], language: Language) -> str:
    """Show what is known of a command and what is missing."""
    line = visible(command_line(spec, args))
    asked = "\n".join(f"- {question}" for question in questions)
    return pick(
        language,
        f"I think you mean `{line}`, but:\n\n{asked}\n\nPlease type the command with that.",
        f"我想你指的是 `{line}`，但：\n\n{asked}\n\n请补充后输入该命令。",
    )
