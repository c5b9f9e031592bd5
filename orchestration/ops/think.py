"""Op `think`: decide what to say or to propose. How: `answering/deciding.py`."""

import functools
import logging

import dagster as dg

from integrations.database import Database
from integrations.errors import RunbellError
from integrations.settings import Settings
from orchestration.commands.language import pick
from orchestration.ops.answering.deciding import Mind, think_about
from orchestration.ops.answering.deltas import Deltas
from orchestration.ops.answering.offers import Offers
from orchestration.ops.answering.values import Heard, Recalled, Thought
from serving.client import Models
from serving.schema import ModelInfo

_log = logging.getLogger("runbell.assistant")


@dg.op(description="Answer, quote from memory, or propose one command; tokens stream to the conversation.")
def think(
    context: dg.OpExecutionContext,
    heard: Heard,
    recalled: Recalled,
    models: dg.ResourceParam[Models],
    offers: dg.ResourceParam[Offers],
    database: dg.ResourceParam[Database],
    settings: dg.ResourceParam[Settings],
) -> Thought:
    """Return the thought. Where the model fails, the run fails, and says so in the asker's language."""
    timeout_s = settings.serving.request_timeout_s
    try:
        commands = offers.to(heard.principal_id)
        find = functools.cache(functools.partial(offers.meant_by, commands=commands))
        with Deltas(database, heard, again=context.retry_number > 0) as deltas:
            mind = Mind(models, describe(models), commands, find, deltas.say, timeout_s)
            thought = think_about(heard, recalled, mind)
            deltas.finish(thought.text)
    except RunbellError as error:
        raise dg.Failure(in_plain_words(error, heard), allow_retries=False) from error
    context.add_output_metadata(metadata_of(thought))
    return thought


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
