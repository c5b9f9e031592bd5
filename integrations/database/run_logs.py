"""The last lines of what a run printed and logged: captured streams are ours, its log is Dagster's."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime

import sqlalchemy as sa

from integrations.database.engine import Store

MOST_BYTES = 20_000
"""Of the end of each stream that are looked at."""
MOST_ENTRIES = 200

# The chunks that hold the last bytes of a stream, in order.
_STREAM = sa.text("""
    select string_agg(data, ''::bytea order by at, key, seq) from (
      select data, at, key, seq, sum(length(data)) over (order by at desc, key desc, seq desc) as size
      from runbell.op_logs where run_id = :run_id and stream = :stream) as chunks
    where size - length(data) < :most
""")
_LOGGED = sa.text("""
    select event from public.event_logs
    where run_id = :run_id and dagster_event_type is null order by id desc limit :most
""")


@dataclass(frozen=True, slots=True)
class Logged:
    """One line that an op logged; `level` is Python's number."""

    at: datetime
    level: int
    op: str
    text: str


class RunLogs(Store):
    """Reads only; the workers write."""

    def printed(self, run_id: str, stream: str) -> str:
        """Return the end of `stdout` or `stderr`, at most MOST_BYTES of it."""
        with self._statement() as connection:
            data = connection.scalar(_STREAM, {"run_id": run_id, "stream": stream, "most": MOST_BYTES})
        return bytes(data or b"")[-MOST_BYTES:].decode("utf-8", "replace")

    def logged(self, run_id: str, *, limit: int = MOST_ENTRIES) -> list[Logged]:
        """Return the last lines of the run's log, oldest first."""
        with self._transaction() as connection:
            if connection.scalar(sa.select(sa.func.to_regclass("public.event_logs"))) is None:
                return []  # Dagster has made no tables yet
            rows = connection.scalars(_LOGGED, {"run_id": run_id, "most": limit}).all()
        return [line for row in reversed(rows) if (line := _line(str(row))) is not None]


def _line(event: str) -> Logged | None:
    """Read what Dagster has stored of one line."""
    try:
        entry = json.loads(event)
        at = datetime.fromtimestamp(float(entry["timestamp"]), UTC)
        return Logged(at, int(entry["level"]), str(entry.get("step_key") or ""), str(entry["user_message"]))
    except (ValueError, KeyError, TypeError):
        return None
