"""The ledger of what models are asked: one line per request, however it ends, within its tenant's budgets.

Free of Dagster, since the OpenAI-compatible interface keeps its accounts here too (`serving.accounts`): it is started
with `--accounts orchestration.ledger:of_this_installation`. What ops ask is counted by `metering`.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from integrations.database import Database
from integrations.errors import BudgetSpent, Forbidden, Misconfigured, RunbellError
from integrations.gateway.services import OWNED_CHANNELS, OWNER
from integrations.security.secrets import resolve
from integrations.settings import Settings
from orchestration.budgets import Budgets, Reserved
from serving.fleet import EMBED, Fleet, ModelSpec
from serving.prompt_size import at_most, tokens, whole
from serving.schema import ChatChunk, ChatRequest, Decision, Origin, Usage

HTTP = "http"
"""What stands in place of an op where a program asked over the OpenAI-compatible interface."""
_log = logging.getLogger(__name__)


class Ledger:
    """Opens accounts for requests whose origin is known. Thread-safe."""

    def __init__(self, database: Database, tenant: str, fleet: Callable[[], Fleet]) -> None:
        self._database = database
        self._tenant = tenant
        self.fleet = fleet
        self.budgets = Budgets(database, fleet)

    def open(self, request: ChatRequest, timeout_s: float) -> "Call":
        """Hold what a request may cost at its longest, within what is left, while it may take."""
        tenant = request.origin.tenant or self._tenant
        origin = request.origin.model_copy(update={"tenant": tenant})
        reserved = self.budgets.reserve(tenant, self._longest(request), timeout_s)
        ceilings = [price for price in (request.max_price, reserved and reserved.held.left) if price is not None]
        request = request.model_copy(update={"origin": origin, "max_price": min(ceilings, default=None)})
        return Call(self, request, reserved)

    def _longest(self, request: ChatRequest) -> list[float]:
        """Return what each model that may be asked would cost at its longest."""
        fleet, size = self.fleet(), whole(request)
        specs = [fleet.models[name] for name in fleet.candidates(request.model) if name in fleet.models]
        return [spec.price.of(size, request.max_tokens) for spec in specs]

    def embedding(self, origin: Origin, texts: Sequence[str], timeout_s: float) -> "EmbeddingCall":
        """Hold what vectors of these texts may cost. Raises `BudgetSpent` where that is more than is left."""
        fleet, tenant = self.fleet(), origin.tenant or self._tenant
        spec = fleet.models[fleet.embedder]
        longest = spec.price.of(at_most(texts, spec.context_tokens), 0)
        reserved = self.budgets.reserve(tenant, [longest], timeout_s)
        if reserved is not None and longest > reserved.held.left:
            told = f"{reserved.told()} {spec.name} may cost {longest:.4f} {spec.price.currency} for these texts"
            raise BudgetSpent(f"{told}, and {reserved.held.left:.4f} is the limit.")
        return EmbeddingCall(self, origin.model_copy(update={"tenant": tenant}), spec, texts, reserved)

    def enter(self, origin: Origin, usage: Usage, decision: Decision, reserved: Reserved | None) -> None:
        """Write one line, in the place of what was held."""
        tenant = origin.tenant or self._tenant
        try:
            self._database.usage.record(
                tenant=tenant,
                model=decision.model,
                tokens_in=usage.tokens_in,
                tokens_out=usage.tokens_out,
                total_ms=usage.total_ms,
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
                from_cache=decision.from_cache,
                hold=reserved.held.id if reserved else None,
            )
        except RunbellError as error:
            # The answer is there and paid for: it is worth more than its line in the ledger.
            _log.error("a call is missing in the ledger: %s", error, extra={"run_id": origin.run_id})


class Call:
    """One request's account; what was said is entered once, whatever happens."""

    def __init__(self, ledger: Ledger, request: ChatRequest, reserved: Reserved | None) -> None:
        self._ledger = ledger
        self.request = request
        self._reserved = reserved
        self._began = time.monotonic()
        self._first_ms: float | None = None
        self._said = ""
        self._decision: Decision | None = None
        self._entered = False
        self._lock = threading.Lock()

    def count(self, chunk: ChatChunk) -> ChatChunk:
        """Take a piece; the last comes back with a notice where most of a budget is spent."""
        self._said += chunk.text + "".join(call.name + call.arguments for call in chunk.tool_calls)
        if self._said and self._first_ms is None:
            self._first_ms = self._ms()
        decision = self._decision = chunk.decision or self._decision
        if decision is None or chunk.usage is None:
            return chunk
        if self._first_time():
            used = chunk.usage.model_copy(update={"total_ms": self._ms()})
            self._ledger.enter(self.request.origin, used, decision, self._reserved)
        notice = self._reserved.notice(decision.price) if self._reserved else ""
        return chunk.model_copy(update={"decision": decision.model_copy(update={"notice": notice})})

    def refused(self, error: RunbellError) -> RunbellError:
        """Return `BudgetSpent` in place of the price that was too high for what is left."""
        if self._reserved and isinstance(error, Forbidden) and "is the limit" in str(error):
            return BudgetSpent(f"{self._reserved.told()} {error}")
        return error

    def close(self, error: BaseException | None = None) -> None:
        """Enter what was said to somebody who left early, or until it broke off; let go what was held."""
        if not self._first_time():
            return
        left_early = error is not None and not isinstance(error, RunbellError)
        decision = self._decision or (self._likely() if left_early else None)
        if decision is None:
            self._ledger.budgets.release(self._reserved)
            return
        used = Usage(
            tokens_in=whole(self.request),
            tokens_out=tokens(self._said),
            first_token_ms=self._first_ms,
            total_ms=self._ms(),
        )
        self._ledger.enter(self.request.origin, used, self._priced(decision, used), self._reserved)

    def _likely(self) -> Decision | None:
        """Return who was probably asked, where somebody left before the first token: reading is paid for too."""
        fleet, request = self._ledger.fleet(), self.request
        for name in fleet.candidates(request.model):
            spec = fleet.models.get(name)
            if spec is None or fleet.policy.refusal(spec, request.origin.tenant):
                continue
            if request.max_price is None or spec.price.of(whole(request), request.max_tokens) <= request.max_price:
                reason = "left before its first token"
                return Decision(route=request.model or "default", model=name, reason=reason)
        return None

    def _priced(self, decision: Decision, usage: Usage) -> Decision:
        spec = self._ledger.fleet().models.get(decision.model)
        if spec is None:
            return decision
        price = spec.price.of(usage.tokens_in, usage.tokens_out)
        return decision.model_copy(update={"price": price, "currency": spec.price.currency})

    def _first_time(self) -> bool:
        with self._lock:
            first, self._entered = not self._entered, True
            return first

    def _ms(self) -> float:
        return round((time.monotonic() - self._began) * 1000, 1)


class EmbeddingCall:
    """The account of one request for vectors."""

    def __init__(
        self, ledger: Ledger, origin: Origin, spec: ModelSpec, texts: Sequence[str], reserved: Reserved | None
    ) -> None:
        self._ledger = ledger
        self._origin = origin
        self._spec = spec
        self._texts = texts
        self._reserved = reserved
        self._began = time.monotonic()

    def close(self, taken: int | None, error: BaseException | None = None) -> None:
        """Enter the tokens taken, estimated where somebody left early; let go what was held. Call it once."""
        if taken is None and error is not None and not isinstance(error, RunbellError):
            taken = sum(min(tokens(text), self._spec.context_tokens) for text in self._texts)
        if taken is None:
            self._ledger.budgets.release(self._reserved)
            return
        price, total_ms = self._spec.price, round((time.monotonic() - self._began) * 1000, 1)
        usage = Usage(tokens_in=taken, tokens_out=0, total_ms=total_ms)
        decision = Decision(route=EMBED, model=self._spec.name, reason="the embedder")
        told = {"price": price.of(taken, 0), "currency": price.currency}
        self._ledger.enter(self._origin, usage, decision.model_copy(update=told), self._reserved)


def of_this_installation() -> "Opening":
    """Return what opens the ledger for the OpenAI-compatible interface, wherever Ray runs it."""
    settings = Settings()
    if settings.database.url is None:
        raise Misconfigured("There is no database: run `runbell up`, or set RUNBELL_DATABASE__URL to postgresql://…")
    url = resolve(settings.database.url, name="database.url").get_secret_value()
    return Opening(url, settings.state / "files", settings.tenant)


@dataclass(frozen=True)
class Opening:
    """Where the ledger is."""

    url: str
    files: Path
    tenant: str

    def __call__(self, fleet: Callable[[], Fleet]) -> "OwnersAccounts":
        """Open it; connects at the first request."""
        return OwnersAccounts(Database(self.url, files=self.files, pool_size=4), self.tenant, fleet)

    def __repr__(self) -> str:
        """Tell no password."""
        return f"Opening(tenant={self.tenant!r})"


class OwnersAccounts:
    """Accounts of whoever has the installation's token: its owner, whatever a request says of itself."""

    def __init__(self, database: Database, tenant: str, fleet: Callable[[], Fleet]) -> None:
        self._database = database
        self._tenant = tenant
        self._ledger = Ledger(database, tenant, fleet)

    def open(self, request: ChatRequest, timeout_s: float) -> Call:
        """Open the owner's account for one request."""
        return self._ledger.open(request.model_copy(update={"origin": self._origin()}), timeout_s)

    def embedding(self, texts: Sequence[str], timeout_s: float) -> EmbeddingCall:
        """Open the owner's account for the vectors of some texts."""
        return self._ledger.embedding(self._origin(), texts, timeout_s)

    def _origin(self) -> Origin:
        try:
            return self._owner
        except RunbellError:
            return Origin(tenant=self._tenant, op=HTTP)  # without a budget, the models answer without a database too

    @cached_property
    def _owner(self) -> Origin:
        principals = self._database.principals
        owner = principals.resolve(self._tenant, OWNED_CHANNELS[0], OWNER, name=OWNER, roles=("admin", "user"))
        return Origin(tenant=self._tenant, principal_id=owner.id, op=HTTP)
