"""How the ops that think do it: the model, what may be planned now, the live view, and what the Dagster UI shows."""

import functools
import logging
from collections.abc import Callable, Iterator

import dagster as dg

from integrations.database import Database
from integrations.errors import RunbellError
from integrations.settings import Settings
from orchestration.commands.language import pick
from orchestration.ops.answering.deciding import Mind
from orchestration.ops.answering.deltas import Deltas
from orchestration.ops.answering.offers import Offers
from orchestration.ops.answering.planning import Planner
from orchestration.ops.answering.plans import Plan
from orchestration.ops.answering.values import Heard, Thought
from serving.client import Models
from serving.schema import ModelInfo

LEAST_CONTEXT = 4_096
"""Tokens of context that planning takes: the actions alone are 1,500."""
_log = logging.getLogger("runbell.assistant")


def think_with(
    context: dg.OpExecutionContext,
    heard: Heard,
    think: Callable[[Mind], Thought],
    models: Models,
    offers: Offers,
    database: Database,
    settings: Settings,
) -> Thought:
    """Return the thought. Where the model fails, the run fails, and says so in the asker's language."""
    try:
        commands = offers.to(heard.principal_id)
        info = describe(models)
        find = functools.cache(functools.partial(offers.meant_by, commands=commands))
        with Deltas(database, heard, again=context.retry_number > 0) as deltas:
            able = info is not None and info.strong and info.context_tokens >= LEAST_CONTEXT
            planner = planner_for(heard, offers, database, settings) if able else None
            mind = Mind(models, info, commands, find, deltas.say, settings.serving.request_timeout_s, planner)
            thought = think(mind)
            deltas.finish(thought.text)
    except RunbellError as error:
        raise dg.Failure(in_plain_words(error, heard), allow_retries=False) from error
    return thought


def planner_for(heard: Heard, offers: Offers, database: Database, settings: Settings) -> Planner | None:
    """Return what this principal may have planned at this moment; None for nobody, and where nothing is planned."""
    principal = database.principals.get(heard.principal_id)
    if principal is None or settings.plans.rounds == 0:
        return None
    return Planner(principal, settings, offers.to(heard.principal_id))


def put_out(thought: Thought) -> Iterator[dg.Output[Thought] | dg.Output[Plan]]:
    """Yield the thought, or the plan that has to be carried out before there is one."""
    if thought.plan is not None and thought.way == "plan" and thought.plan.goes_on:
        yield dg.Output(thought.plan, "plan", metadata=metadata_of(thought))
    else:
        yield dg.Output(thought, "thought", metadata=metadata_of(thought))


def describe(models: Models) -> ModelInfo | None:
    """Return what the model is, or None where it can't be reached now."""
    try:
        return models.describe()
    except RunbellError as error:
        _log.warning("the model can't be reached: %s", error)
        return None


def in_plain_words(error: RunbellError, heard: Heard) -> str:
    """Say what failed; whoever answers for a failed run adds the link."""
    return pick(
        heard.language,
        f"The language model could not answer. {error}",
        f"语言模型没能回答：{error}",
    )


def metadata_of(thought: Thought) -> dict[str, str | int | float]:
    """Return what the Dagster UI shows of a thought: never its text."""
    shown: dict[str, str | int | float] = {
        "way": thought.way,
        "recollections_used": len(thought.used),
    }
    if thought.used:
        shown["sources"] = ", ".join(f"{passage.source} ({passage.score:.2f})" for passage in thought.used)
    if thought.command:
        shown["command"] = thought.command
    if plan := thought.plan:
        shown |= {"round": plan.rounds, "actions": ", ".join(one.title for one in (*plan.now, *plan.waiting)) or "none"}
    if spent := thought.spent:
        shown |= {
            "model": spent.model,
            **({"why_this_model": spent.why} if spent.why else {}),
            "tokens_in": spent.tokens_in,
            "tokens_out": spent.tokens_out,
            "milliseconds": spent.total_ms,
        }
        if spent.first_token_ms is not None:
            shown["first_token_ms"] = spent.first_token_ms
    return shown
