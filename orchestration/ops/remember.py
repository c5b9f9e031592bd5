"""Op `remember`: keep what the message states. The user has the answer already.

Only the user's own statements are kept. Questions, orders and chatter would come back as if they were facts,
and so would the assistant's own words: its general talk is no fact, and its quotations are kept already. What
was said in full is in the transcript.
"""

import logging
import time

import dagster as dg

from integrations.database import Database
from integrations.errors import RunbellError
from integrations.memory import Memory
from integrations.memory.values import Note
from orchestration.ops.answering.notes import statement
from orchestration.ops.answering.scopes import scope_of
from orchestration.ops.answering.values import Deed, Heard

_log = logging.getLogger("runbell.assistant")


@dg.op(description="Keep what the message states, for later turns.")
def remember(
    context: dg.OpExecutionContext,
    heard: Heard,
    deed: Deed,
    answered: bool,  # noqa: FBT001 - Dagster passes the output of `reply` here, which makes this op the last
    memory: dg.ResourceParam[Memory],
    database: dg.ResourceParam[Database],
) -> None:
    """Store at most one note. A memory that fails is logged and shown in the metadata; the answer stands."""
    began = time.monotonic()
    note = statement(heard.text) if answered and not deed.asks and heard.plan is None else None
    outcome = "nothing to keep" if note is None else keep(memory, database, heard, note)
    context.add_output_metadata({"outcome": outcome, "milliseconds": round((time.monotonic() - began) * 1000, 1)})


def keep(memory: Memory, database: Database, heard: Heard, text: str) -> str:
    """Store a note and say how it went."""
    try:
        principal = database.principals.get(heard.principal_id)
        source = f"{principal.name if principal else heard.principal_id} ({heard.address.channel})"[:200]
        memory.remember(scope_of(heard), [Note(text, source, heard.accepted_at, heard.message_id)])
    except RunbellError as error:
        _log.exception("a note could not be kept", extra={"message_id": heard.message_id})
        return f"not kept: {error}"
    return "kept"
