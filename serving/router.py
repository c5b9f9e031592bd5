"""Which model a request gets, and why. Chosen where the caller is, without a call; `asking` carries it out.

Policy, tools and price exclude a model. Length of the prompt, language, load and how it is doing only put it behind
others: where nobody fits well, the least bad is asked, and says itself what is wrong.
"""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from integrations.errors import Forbidden, InvalidInput, NotFound, RunbellError
from serving.breaker import Breakers
from serving.fleet import DEFAULT, EMBED, Fleet, ModelSpec, Route
from serving.prompt_size import whole
from serving.schema import Attempt, ChatRequest, Decision, Priority, Usage
from serving.trial import Trial
from serving.under_way import UnderWay


@dataclass(frozen=True)
class Choice:
    """Models in the order in which they are to be asked."""

    route: str
    candidates: tuple[ModelSpec, ...]
    reason: str
    passed: tuple[Attempt, ...]
    canary: str | None = None
    hedge_after_s: float | None = None
    """Seconds of silence after which the second is asked, too."""

    def decision(self, spec: ModelSpec, failed: Sequence[Attempt], usage: Usage | None) -> Decision:
        """Return what is told about this choice once a model has answered."""
        first = spec is self.candidates[0]
        gpu_s = usage.total_ms / 1000 * spec.resources.gpus / spec.slots if usage else 0.0
        price = (
            spec.price.of(usage.tokens_in, usage.tokens_out, cached=usage.tokens_cached, gpu_s=gpu_s) if usage else 0
        )
        return Decision(
            route=self.route,
            model=spec.name,
            reason=self.reason if first else "fallback",
            passed=tuple(one for one in self.passed if one.model != spec.name),
            failed=tuple(failed),
            canary=spec.name == self.canary,
            price=price,
            currency=spec.price.currency,
            gpu_s=gpu_s,
        )


class Router:
    """Chooses by one Fleet, and learns from outcomes. One per process, used from one event loop."""

    def __init__(
        self,
        fleet: Fleet,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._chance = chance
        self._breakers = Breakers(clock)
        self._under_way = UnderWay()
        self._trials: dict[str, Trial] = {}
        self._take(fleet)

    def renew(self, fleet: Fleet) -> None:
        """Go by another Fleet; what was learned of models that stay is kept."""
        if fleet != self.fleet:
            self._take(fleet)

    def _take(self, fleet: Fleet) -> None:
        self.fleet, self._routes = fleet, fleet.all_routes()
        known, self._trials = self._trials, {}
        for name, route in self._routes.items():
            if route.canary:
                trial = known.get(name)
                self._trials[name] = trial if trial and trial.canary == route.canary else Trial(route.canary)

    def route_of(self, asked: str | None) -> tuple[str, Route]:
        """Return the route that a name means: a route, a capability or a single model."""
        name = asked or DEFAULT
        spec = self.fleet.models.get(name)
        route = self._routes.get(name) or (Route(candidates=(name,)) if spec else None)
        if route is None or self.fleet.models[route.candidates[0]].embeds:
            known = f"{', '.join(self.names())} (and {self.fleet.embedder}, which embeds)"
            raise NotFound(f"There is no model or route {name!r}; there is: {known}.")
        return name, route

    def names(self) -> list[str]:
        """Return what may be asked for an answer: models, then routes."""
        chat = [name for name, spec in self.fleet.models.items() if not spec.embeds]
        return [*chat, *sorted(name for name in self._routes if name not in {*chat, EMBED})]

    def choose(self, request: ChatRequest) -> Choice:
        """Return whom to ask. Raises `NotFound`, `Forbidden` (policy, price) or `InvalidInput` (tools)."""
        name, route = self.route_of(request.model)
        trial = self._trials.get(name)
        canary = None
        if trial and trial.retreat is None and self._chance() * 100 < trial.canary.percent:
            canary = trial.canary.model
        names = (*([canary] if canary else []), *route.candidates)
        order = [self.fleet.models[model] for model in dict[str, None].fromkeys(names)]
        size = whole(request)
        excluded = [(spec, self._ban(spec, request, route, size)) for spec in order]
        able = [spec for spec, ban in excluded if ban is None]
        passed = [Attempt(model=spec.name, reason=str(ban)) for spec, ban in excluded if ban is not None]
        if not able:
            raise next(ban for _, ban in excluded if ban is not None)
        doubts = {spec.name: self._doubts(spec, request, size) for spec in able}
        ranked = sorted(able, key=lambda spec: sum(doubts[spec.name].values()))
        best = ranked[0]
        ahead = able[: able.index(best)]
        passed += [Attempt(model=spec.name, reason=", ".join(doubts[spec.name])) for spec in ahead]
        if trial and trial.retreat and not canary:
            passed.append(Attempt(model=trial.canary.model, reason=f"canary withdrawn: {trial.retreat}"))
        reason = "canary" if best.name == canary else "first choice" if best is order[0] else "first that can"
        # A second model that will probably fail is no help.
        hedge = route.hedge_after_s if len(ranked) > 1 and not doubts[ranked[1].name] else None
        return Choice(name, tuple(ranked), reason, tuple(passed), canary, hedge)

    def _ban(self, spec: ModelSpec, request: ChatRequest, route: Route, size: int) -> RunbellError | None:
        policy, tenant = self.fleet.policy, request.origin.tenant
        if refusal := policy.refusal(spec, tenant):
            return Forbidden(refusal)
        if request.tools and request.tool_choice != "none" and not spec.calls_tools:
            return InvalidInput(f"{spec.name} calls no tools.", field="tools")
        ceilings = [rule.max_price for rule in policy.of(tenant)] + [route.max_price, request.max_price]
        ceiling = min((limit for limit in ceilings if limit is not None), default=None)
        price = spec.price.of(size, request.max_tokens)
        if ceiling is not None and price > ceiling:
            return Forbidden(f"{spec.name} may cost {price:.4f} {spec.price.currency}, and {ceiling:.4f} is the limit.")
        return None

    def _doubts(self, spec: ModelSpec, request: ChatRequest, size: int) -> dict[str, int]:
        """Return what speaks against a model, with its weight: what will fail weighs more than what may."""
        doubts = dict[str, int]()
        if size > spec.context_tokens:
            doubts[f"about {size} tokens, and its context is {spec.context_tokens}"] = 4
        if reason := self._breakers.reason(spec.name):
            doubts[reason] = 2
        if reason := self._under_way.full(spec, request.origin.priority):
            doubts[reason] = 2
        if request.language and spec.languages and request.language not in spec.languages:
            doubts[f"does not speak {request.language}"] = 1
        return doubts

    def begin(self, spec: ModelSpec, priority: Priority) -> None:
        """Tell that a model is being asked."""
        self._breakers.begin(spec.name)
        self._under_way.begin(spec.name, priority)

    def succeeded(self, choice: Choice, spec: ModelSpec, first_ms: float | None) -> None:
        """Tell that it has answered."""
        self._breakers.succeeded(spec.name)
        self._count(choice, spec, first_ms, failed=False)

    def failed(self, choice: Choice, spec: ModelSpec, error: RunbellError) -> None:
        """Tell that it has not."""
        self._breakers.failed(spec.name, error)
        if not isinstance(error, InvalidInput):
            self._count(choice, spec, None, failed=True)

    def ended(self, spec: ModelSpec, priority: Priority) -> None:
        """Tell that nothing more comes, also where the caller went before it was known how it goes."""
        self._breakers.left(spec.name)
        self._under_way.end(spec.name, priority)

    def _count(self, choice: Choice, spec: ModelSpec, first_ms: float | None, *, failed: bool) -> None:
        trial = self._trials.get(choice.route)
        canary = choice.canary is not None and spec.name == choice.canary
        if trial and (canary or spec.name == self._routes[choice.route].candidates[0]):
            trial.add(first_ms, canary=canary, failed=failed)
