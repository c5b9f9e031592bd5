"""Models whose calls are counted: for whom each is follows from the run that makes it, never from what a message says.

How a call is counted, and that no budget is exceeded: `ledger`.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing

import dagster as dg

from integrations.database import Database
from orchestration.ledger import Ledger
from orchestration.model_layer import ModelLayer
from serving.accounts import settled
from serving.client import Models
from serving.fleet import Fleet
from serving.schema import ChatChunk, ChatRequest, Origin, Priority

_TIMERS = {"schedule", "sensor"}


class MeteredModels(ModelLayer):
    """Models behind the ledger; the embedder is ours and costs nothing. Thread-safe."""

    def __init__(self, models: Models, database: Database, tenant: str, fleet: Callable[[], Fleet]) -> None:
        super().__init__(models)
        self._tenant = tenant
        self._ledger = Ledger(database, tenant, fleet)

    def stream(
        self, request: ChatRequest, *, timeout_s: float = 120.0, traceparent: str | None = None
    ) -> Iterator[ChatChunk]:
        """Ask the model. Raises `BudgetSpent` where only models answer that the budget can't pay."""
        request = request.model_copy(update={"origin": origin_of(request.origin, self._tenant)})
        call = self._ledger.open(request, timeout_s)
        with settled(call, call.close):
            chunks = self._models.stream(call.request, timeout_s=timeout_s, traceparent=traceparent)
            with closing(chunks):  # pyright: ignore[reportArgumentType] - every implementation is a generator
                for chunk in chunks:
                    yield call.count(chunk)


def origin_of(said: Origin, tenant: str) -> Origin:
    """Return for whom a call is: of the run that makes it, where one does; what its caller said fills the gaps."""
    context = _op()
    if context is None:
        return said.model_copy(update={"tenant": said.tenant or tenant})
    tags = context.run.tags
    return Origin(
        tenant=tags.get("runbell/tenant", tenant),
        principal_id=tags.get("runbell/principal") or said.principal_id,
        message_id=tags.get("runbell/message") or said.message_id,
        job=context.job_name,
        run_id=context.run_id,
        op=context.op.name,
        priority=_priority(tags),
    )


def _priority(tags: Mapping[str, str]) -> Priority:
    if "dagster/backfill" in tags:
        return "backfill"
    timed = tags.get("runbell/trigger") in _TIMERS or "dagster/schedule_name" in tags or "dagster/sensor_name" in tags
    return "timer" if timed else "chat"


def _op() -> dg.OpExecutionContext | None:
    try:
        return dg.OpExecutionContext.get()
    except Exception:  # noqa: BLE001 - Dagster raises whatever there is to raise outside an op
        return None
