"""Models whose calls are counted: for whom each is, what it cost, and that no budget is exceeded.

For whom a call is follows from the run that makes it, never from what a message says. What is left of a budget is the
most that one request may cost, at its longest: models without a price answer on. Calls under way count so.
"""

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime

import dagster as dg

from integrations.database import Database
from integrations.errors import Forbidden, RunbellError
from serving.client import Models
from serving.fleet import Fleet
from serving.prompt_size import estimate
from serving.schema import ChatChunk, ChatMessage, ChatRequest, Decision, ModelInfo, Origin, Priority, Usage

SOFT = 0.8
FRESH_S = 2.0
_TIMERS = {"schedule", "sensor"}
_log = logging.getLogger(__name__)


class MeteredModels:
    """Models behind the ledger. Thread-safe."""

    def __init__(self, models: Models, database: Database, tenant: str, fleet: Callable[[], Fleet]) -> None:
        self._models = models
        self._database = database
        self._tenant = tenant
        self._budgets = Budgets(database, fleet)

    def stream(
        self, request: ChatRequest, *, timeout_s: float = 120.0, traceparent: str | None = None
    ) -> Iterator[ChatChunk]:
        """Ask the model. Raises `Forbidden` where only models answer that the budget can't pay."""
        origin = origin_of(request.origin, self._tenant)
        tenant = origin.tenant or self._tenant
        left, reserved = self._budgets.reserve(tenant, request)
        request = request.model_copy(update={"origin": origin, "max_price": _least(request.max_price, left)})
        try:
            yield from self._counted(request, origin, timeout_s, traceparent)
        except Forbidden as error:
            if left is not None and "is the limit" in str(error):
                raise Forbidden(f"{self._budgets.told(tenant)} {error}") from error
            raise
        finally:
            self._budgets.release(tenant, reserved)

    def _counted(
        self, request: ChatRequest, origin: Origin, timeout_s: float, traceparent: str | None
    ) -> Iterator[ChatChunk]:
        began, said, decision, counted = time.monotonic(), "", None, False
        chunks = self._models.stream(request, timeout_s=timeout_s, traceparent=traceparent)
        try:
            with closing(chunks):  # pyright: ignore[reportArgumentType] - every implementation is a generator
                for chunk in chunks:
                    said, decision = said + chunk.text, chunk.decision or decision
                    if decision is None or chunk.usage is None:
                        yield chunk
                        continue
                    counted = True
                    self._record(origin, chunk.usage, decision, _ms(began))
                    notice = self._budgets.notice(origin.tenant or self._tenant)
                    yield chunk.model_copy(update={"decision": decision.model_copy(update={"notice": notice})})
        finally:
            # Who leaves early, or whose model breaks off, has had what was said so far.
            if decision is not None and not counted:
                usage = Usage(tokens_in=estimate(request.messages), tokens_out=_tokens(said), total_ms=_ms(began))
                self._record(origin, usage, self._budgets.priced(decision, usage), _ms(began))

    def _record(self, origin: Origin, usage: Usage, decision: Decision, total_ms: float) -> None:
        tenant = origin.tenant or self._tenant
        self._budgets.add(tenant, decision.price)
        try:
            self._database.usage.record(
                tenant=tenant,
                model=decision.model,
                tokens_in=usage.tokens_in,
                tokens_out=usage.tokens_out,
                total_ms=total_ms,
                first_token_ms=usage.first_token_ms,
                principal_id=origin.principal_id,
                message_id=origin.message_id,
                run_id=origin.run_id,
                op=origin.op,
                route=decision.route,
                job=origin.job,
                tokens_cached=usage.tokens_cached,
                gpu_s=decision.gpu_s,
                price=decision.price,
                currency=decision.currency,
            )
        except RunbellError as error:
            # The answer is there and paid for: it is worth more than its line in the ledger.
            _log.error("a call is missing in the ledger: %s", error, extra={"run_id": origin.run_id})

    def embed(self, texts: Sequence[str], *, traceparent: str | None = None) -> list[list[float]]:
        """Return one unit vector per text; the embedder is ours and costs nothing."""
        return self._models.embed(texts, traceparent=traceparent)

    def unknown_share(self, texts: Sequence[str]) -> list[float]:
        """Return per text the share of tokens that the embedder does not know."""
        return self._models.unknown_share(texts)

    def describe(self) -> ModelInfo:
        """Tell what the model is."""
        return self._models.describe()

    def count_tokens(self, messages: Sequence[ChatMessage]) -> int:
        """Return how much of the context these messages take."""
        return self._models.count_tokens(messages)


class Budgets:
    """What tenants have spent; asked anew every two seconds, with what this process added meanwhile. Thread-safe."""

    def __init__(self, database: Database, fleet: Callable[[], Fleet]) -> None:
        self._database = database
        self._fleet = fleet
        self._lock = threading.Lock()
        self._known: dict[tuple[str, str], tuple[float, float]] = {}
        self._reserved: defaultdict[str, float] = defaultdict(float)

    def reserve(self, tenant: str, request: ChatRequest) -> tuple[float | None, float]:
        """Return what a tenant may still spend, None where there is no budget; and what is held for this request."""
        limits = self._limits(tenant)
        if not limits:
            return None, 0.0
        spent = {span: self._spent(tenant, span) for span, _ in limits}
        longest = self._longest(request)
        with self._lock:
            left = max(min(limit - spent[span] for span, limit in limits) - self._reserved[tenant], 0.0)
            held = max((price for price in longest if price <= left), default=0.0)
            self._reserved[tenant] += held
        return left, held

    def _longest(self, request: ChatRequest) -> list[float]:
        """Return what each model that may be asked would cost at its longest."""
        fleet, size = self._fleet(), estimate(request.messages)
        route = fleet.all_routes().get(request.model or "default")
        names = route.candidates if route else (request.model,)
        specs = [fleet.models[name] for name in names if name in fleet.models]
        return [spec.price.of(size, request.max_tokens) for spec in specs]

    def priced(self, decision: Decision, usage: Usage) -> Decision:
        """Return a decision with the price of what was used."""
        spec = self._fleet().models.get(decision.model)
        price = spec.price.of(usage.tokens_in, usage.tokens_out) if spec else 0.0
        return decision.model_copy(update={"price": price})

    def release(self, tenant: str, held: float) -> None:
        """Let go what was held for a request: what it has cost is counted."""
        with self._lock:
            self._reserved[tenant] = max(self._reserved[tenant] - held, 0.0)

    def notice(self, tenant: str) -> str:
        """Return a word where most of a budget is spent."""
        for span, limit in self._limits(tenant):
            spent = self._spent(tenant, span)
            if spent >= SOFT * limit:
                share = f"{100 * spent / limit:.0f} %" if limit else "all"
                return f"{share} of the budget per {span} is spent"
        return ""

    def told(self, tenant: str) -> str:
        """Say how the budgets stand."""
        stand = [f"{self._spent(tenant, span):.2f} of {limit:.2f} per {span}" for span, limit in self._limits(tenant)]
        return f"The budget is used up ({', '.join(stand)}; from midnight UTC)."

    def add(self, tenant: str, price: float) -> None:
        """Count what a request has cost, until the ledger is read again."""
        with self._lock:
            for (who, span), (at, spent) in list(self._known.items()):
                if who == tenant:
                    self._known[who, span] = (at, spent + price)

    def _limits(self, tenant: str) -> list[tuple[str, float]]:
        found: list[tuple[str, float]] = []
        for rules in self._fleet().policy.of(tenant):
            told = (("day", rules.budget_per_day), ("month", rules.budget_per_month))
            found += [(span, limit) for span, limit in told if limit is not None]
        return found

    def _spent(self, tenant: str, span: str) -> float:
        with self._lock:
            known = self._known.get((tenant, span))
        if known is None or time.monotonic() - known[0] > FRESH_S:
            midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
            since = midnight if span == "day" else midnight.replace(day=1)
            known = (time.monotonic(), self._database.usage.spent(tenant, since))
            with self._lock:
                self._known[tenant, span] = known
        return known[1]


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


def _tokens(said: str) -> int:
    return estimate((ChatMessage(role="assistant", content=said),)) if said else 0


def _ms(since: float) -> float:
    return round((time.monotonic() - since) * 1000, 1)


def _least(one: float | None, other: float | None) -> float | None:
    return min((price for price in (one, other) if price is not None), default=None)
