"""Values of op outputs: where the ops of a run, and of its re-executions, find them."""

import threading
from collections.abc import Callable

import sqlalchemy as sa

from integrations.database.run_tables import op_outputs
from orchestration.warm.commits import Row

CACHE_BYTES = 4_194_304
"""Outputs of one run that are kept in memory for the ops that read them."""


class Outputs:
    """Values of op outputs as bytes: in memory while their run executes here, in the table for everybody."""

    def __init__(self, engine: sa.Engine, append: Callable[[Row], None], flush: Callable[[], None]) -> None:
        self._engine = engine
        self._append = append
        self._flush = flush
        self._lock = threading.Lock()
        self._values: dict[str, dict[tuple[str, str], bytes]] = {}

    def put(self, run_id: str, step_key: str, output: str, value: bytes | None, url: str | None = None) -> None:
        """Store a value, or where it lies, with the step events around it."""
        values = {"run_id": run_id, "step_key": step_key, "output": output, "value": value, "url": url}
        self._append(Row("output", run_id, values))
        with self._lock:
            kept = self._values.setdefault(run_id, {})
            kept.pop((step_key, output), None)
            if value is not None and sum(map(len, kept.values())) + len(value) <= CACHE_BYTES:
                kept[step_key, output] = value

    def get(self, run_id: str, step_key: str, output: str) -> tuple[bytes | None, str | None] | None:
        """Return a value or where it lies; None where there is none."""
        with self._lock:
            value = self._values.get(run_id, {}).get((step_key, output))
        if value is not None:
            return value, None
        self._flush()
        query = sa.select(op_outputs.c.value, op_outputs.c.url).where(
            op_outputs.c.run_id == run_id,
            op_outputs.c.step_key == step_key,
            op_outputs.c.output == output,
        )
        with self._engine.connect() as connection:
            row = connection.execute(query).first()
        return (row.value and bytes(row.value), row.url) if row else None

    def of_run(self, run_id: str) -> list[tuple[str, str, bytes | None]]:
        """Return all outputs of a run (step key, output, value); of those in files the value is None."""
        query = sa.select(op_outputs.c.step_key, op_outputs.c.output, op_outputs.c.value)
        with self._engine.connect() as connection:
            rows = connection.execute(query.where(op_outputs.c.run_id == run_id)).all()
        return [(row.step_key, row.output, row.value and bytes(row.value)) for row in rows]

    def forget(self, run_id: str) -> None:
        """Drop what is in memory of a run."""
        with self._lock:
            self._values.pop(run_id, None)
