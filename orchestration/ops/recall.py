"""Op `recall`: what the memory and the conversation say about the message."""

import logging
import time

import dagster as dg

from integrations.database import Database, Entry
from integrations.errors import TemporaryError
from integrations.memory import Memory
from integrations.memory.values import Recollection
from orchestration.ops.answering.scopes import scope_of
from orchestration.ops.answering.values import Heard, Recalled, Turn
from orchestration.ops.answering.wording import without_notes

RECOLLECTIONS = 8
TURNS = 12
_QUERY = 2_000
_TURN = 1_500
_log = logging.getLogger("runbell.assistant")


@dg.op(description="Query the memory of this person or group, and read the recent transcript.")
def recall(
    context: dg.OpExecutionContext,
    heard: Heard,
    memory: dg.ResourceParam[Memory],
    database: dg.ResourceParam[Database],
) -> Recalled:
    """Return recollections, best first, and the recent turns, oldest first; without memory it goes on."""
    began = time.monotonic()
    passages = recollect(memory, heard)
    entries = database.transcript.recent(heard.address, limit=TURNS + 4)
    recalled = Recalled(passages or (), turns(entries, heard.message_id), reachable=passages is not None)
    context.add_output_metadata(
        {
            "recollections": len(recalled.passages),
            "sources": dg.MetadataValue.json([_shown(passage) for passage in recalled.passages]),
            "turns": len(recalled.history),
            "memory": "reached" if recalled.reachable else "not reachable",
            "milliseconds": round((time.monotonic() - began) * 1000, 1),
        }
    )
    return recalled


def recollect(memory: Memory, heard: Heard) -> tuple[Recollection, ...] | None:
    """Return what the memory has on the message, or None where it could not be asked."""
    try:
        return tuple(memory.query(scope_of(heard), heard.text[:_QUERY], limit=RECOLLECTIONS))
    except TemporaryError as error:
        _log.warning("answering without memory: %s", error, extra={"message_id": heard.message_id})
        return None


def turns(entries: list[Entry], message_id: str) -> tuple[Turn, ...]:
    """Return what was said before this message, without commands and what they printed."""
    typed = {entry.message_id for entry in entries if entry.role == "user" and entry.text.startswith(("/", "／"))}
    said = [entry for entry in entries if entry.message_id not in typed and entry.message_id != message_id]
    return tuple(
        Turn("user" if entry.role == "user" else "assistant", text)
        for entry in said
        if (text := without_notes(entry.text)[:_TURN])
    )[-TURNS:]


def _shown(passage: Recollection) -> dict[str, object]:
    # No text: whoever may see runs need not be whoever may see this memory.
    return {
        "id": passage.id,
        "score": round(passage.score, 3),
        "source": passage.source,
        "at": passage.at.isoformat(),
    }
