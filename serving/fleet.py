"""What models.yaml says, as values: which models exist, how they are served, and which requests they may get.

How the file is read, and what stands in its place where there is none: `models_file`.
"""

import hashlib
from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from integrations.near import near

Capability = Literal["fast", "deep", "embed"]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/@-]{0,99}$")]
DEFAULT = "default"
EMBED = "embed"
API_TIMEOUT_S = 30.0
LIKELY_CONTEXT = 8_192
"""Tokens that an endpoint's model is taken to have at least; one that has fewer says so when asked for more."""


class Part(BaseModel):
    """A part of models.yaml."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Price(Part):
    """What a million tokens costs, and an hour of one GPU."""

    input: float = Field(default=0.0, ge=0)
    cached_input: float | None = Field(default=None, ge=0, description="Default: as `input`.")
    output: float = Field(default=0.0, ge=0)
    gpu_hour: float = Field(default=0.0, ge=0)
    currency: str = Field(default="USD", json_schema_extra={"pattern": "^[A-Z]{3}$"})

    @field_validator("currency")
    @classmethod
    def _code(cls, currency: str) -> str:
        if not (len(currency) == 3 and currency.isascii() and currency.isalpha() and currency.isupper()):
            raise ValueError("a currency is three capital letters, as in EUR")
        return currency

    def of(self, tokens_in: int, tokens_out: int, *, cached: int = 0, gpu_s: float = 0.0) -> float:
        """Return the price of one request."""
        cheap = self.input if self.cached_input is None else self.cached_input
        fresh = max(tokens_in - cached, 0)
        return (fresh * self.input + cached * cheap + tokens_out * self.output) / 1e6 + gpu_s * self.gpu_hour / 3600


class Replicas(Part):
    """How many processes serve a model: between `min` and `max`, by the requests that each has under way."""

    min: int = Field(default=1, ge=1, le=1000)
    max: int = Field(default=1, ge=1, le=1000)
    target_ongoing: float | None = Field(default=None, gt=0, description="Per replica; default: its slots.")
    up_after_s: float = Field(default=10.0, ge=0)
    down_after_s: float = Field(default=300.0, ge=0)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.max < self.min:
            raise ValueError("`max` is below `min`")
        return self


class Resources(Part):
    """What one replica reserves on its node; a GPU may be shared (0.5) or be several (2)."""

    cpus: float = Field(default=0.0, ge=0)
    gpus: float = Field(default=0.0, ge=0)
    memory_megabytes: int | None = Field(default=None, ge=1)

    @field_validator("gpus")
    @classmethod
    def _whole_above_one(cls, gpus: float) -> float:
        if gpus > 1 and gpus != int(gpus):
            raise ValueError("a part of one GPU, or whole ones")
        return gpus


class ModelSpec(Part):
    """One model. `model` is what its engine opens: a name of `runbell models list`, a folder, an endpoint's model."""

    name: str = Field(default="", exclude=True, description="The key of this entry.")
    engine: str
    model: str = ""
    capabilities: tuple[Capability, ...] = ("fast", "deep")
    languages: tuple[str, ...] = Field(default=(), description="Empty: any.")
    strong: bool = Field(
        default=False, description="It may choose commands, and plan from a context of 4096 tokens on."
    )
    tools: bool | None = Field(default=None, description="It can call tools; `openai` can unless told.")
    where: Literal["local", "remote"] | None = Field(
        default=None, description="Whether what is asked leaves this installation; `openai` is remote unless told."
    )
    replicas: Replicas = Replicas()
    resources: Resources = Resources()
    quantization: str | None = None
    slots: int = Field(default=4, ge=1, le=4096, description="Generations at once in one replica.")
    waiting: int | None = Field(default=None, ge=0, description="Requests that may wait; default 8 per slot.")
    context_tokens: int = Field(
        default_factory=lambda said: LIKELY_CONTEXT if said.get("engine") == "openai" else 2048,
        ge=64,
        description="Default: 8192 of an endpoint, 2048 of what is loaded here.",
    )
    request_timeout_s: float | None = Field(default=None, gt=0)
    load_timeout_s: float = Field(default=300.0, gt=0)
    base_url: str | tuple[str, ...] | None = Field(default=None, description="Several are tried in their order.")
    api_key: str | tuple[str, ...] | None = Field(default=None, repr=False, description="Secret references.")
    requests_per_second: float = Field(default=10.0, gt=0, description="Per key of an endpoint.")
    price: Price = Price()
    options: dict[str, object] = Field(default_factory=dict[str, object], description="The engine's own.")

    @field_validator("replicas", mode="before")
    @classmethod
    def _number(cls, value: object) -> object:
        return {"min": value, "max": value} if isinstance(value, int) else value

    @property
    def is_remote(self) -> bool:
        """Whether what is asked leaves this installation."""
        return self.where == "remote" or (self.where is None and self.engine == "openai")

    @property
    def calls_tools(self) -> bool:
        """Whether it can be given tools."""
        return self.engine == "openai" if self.tools is None else self.tools

    @property
    def timeout_s(self) -> float:
        """Seconds for one request."""
        return self.request_timeout_s or (API_TIMEOUT_S if self.engine == "openai" else 120.0)

    @property
    def queue(self) -> int:
        """How many requests may wait in one replica."""
        return 8 * self.slots if self.waiting is None else self.waiting

    @property
    def embeds(self) -> bool:
        """Whether it is an embedder."""
        return EMBED in self.capabilities

    @property
    def app(self) -> str:
        """The name of its application in Serve: another one for whatever needs other replicas."""
        said = self.model_dump_json(exclude=_ROUTING_ONLY)
        safe = "".join(char if char.isalnum() or char in "._-" else "-" for char in self.name)
        return f"model-{safe}-{hashlib.sha256(said.encode()).hexdigest()[:8]}"


_ROUTING_ONLY = {"replicas", "capabilities", "languages", "where", "tools", "price"}


class Canary(Part):
    """A model on trial: a share of a route's requests, until it does worse than the first candidate."""

    model: str
    percent: float = Field(gt=0, le=100)
    max_error_percent: float = Field(default=5.0, ge=0, le=100)
    max_slower: float = Field(default=1.5, ge=1, description="Times the first candidate's time to first token.")
    judge_after: int = Field(default=20, ge=1, description="Requests before it is judged.")


class Route(Part):
    """Candidates in their order of preference."""

    candidates: tuple[str, ...] = Field(min_length=1)
    max_price: float | None = Field(default=None, ge=0, description="Of one request, at its longest.")
    canary: Canary | None = None
    cache_s: float | None = Field(
        default=None, gt=0, le=2_592_000, description="The same request of the same person gets the same answer."
    )
    hedge_after_s: float | None = Field(
        default=None, gt=0, description="After so many seconds without a first token the next candidate is asked, too."
    )


class Rules(Part):
    """What one tenant's requests may do."""

    local_only: bool = Field(default=False, description="Nothing leaves this installation.")
    max_price: float | None = Field(default=None, ge=0, description="Of one request, at its longest.")
    models: tuple[str, ...] | None = Field(default=None, description="Only these.")
    budget_per_day: float | None = Field(default=None, ge=0, description="Of each tenant, from midnight UTC.")
    budget_per_month: float | None = Field(default=None, ge=0)


class Policy(Rules):
    """The rules of everybody, and of single tenants, which can only be stricter."""

    tenants: dict[str, Rules] = Field(default_factory=dict[str, Rules])

    def of(self, tenant: str | None) -> tuple[Rules, ...]:
        """Return all rules that hold for a tenant; for a request that names none, those of all tenants."""
        if tenant is None:
            return (self, *self.tenants.values())
        return (self, *([self.tenants[tenant]] if tenant in self.tenants else []))

    def refusal(self, spec: ModelSpec, tenant: str | None) -> str | None:
        """Return why a tenant's requests may not go to a model, whatever they cost; None where they may."""
        rules = self.of(tenant)
        if spec.is_remote and any(rule.local_only for rule in rules):
            return f"{spec.name} is remote, and what is asked here may not leave this installation."
        if any(rule.models is not None and spec.name not in rule.models for rule in rules):
            return f"{spec.name} is not among the models that may be asked here."
        return None


class Fleet(Part):
    """All models, routes and rules of an installation."""

    models: dict[Name, ModelSpec] = Field(min_length=1)
    routes: dict[Name, Route] = Field(default_factory=dict[str, Route])
    policy: Policy = Policy()

    @field_validator("models", mode="after")
    @classmethod
    def _named(cls, models: dict[str, ModelSpec]) -> dict[str, ModelSpec]:
        return {
            name: spec.model_copy(update={"name": name, "model": spec.model or name}) for name, spec in models.items()
        }

    @field_validator("routes", mode="before")
    @classmethod
    def _short(cls, routes: object) -> object:
        """A list, or one name, is short for `candidates`."""
        if not isinstance(routes, Mapping):
            return routes
        full: dict[object, object] = {}
        for name, route in routes.items():
            short = [route] if isinstance(route, str) else route
            full[name] = {"candidates": short} if isinstance(short, list | tuple) else short
        return full

    @model_validator(mode="after")
    def _complete(self) -> Self:
        for name, route in self.routes.items():
            for model in (*route.candidates, *([route.canary.model] if route.canary else [])):
                if model not in self.models:
                    meant = near(model, self.models)
                    guess = f": did you mean {meant[0]}?" if meant else f"; there is: {', '.join(self.models)}"
                    raise ValueError(f"routes.{name} names {model!r}, which is no model here{guess}")
                if (name == EMBED) != self.models[model].embeds:
                    raise ValueError(f"routes.{name} names {model!r}, which {_is_for(self.models[model])}")
        if not any(spec.embeds for spec in self.models.values()):
            raise ValueError("no model has the capability `embed`: memory and commands need one")
        if all(spec.embeds for spec in self.models.values()):
            raise ValueError("no model can chat: give one the capability `fast` or `deep`")
        return self

    def all_routes(self) -> dict[str, Route]:
        """Return the routes; those that the file leaves out follow from the models' capabilities."""
        routes = dict(self.routes)
        for capability in ("fast", "deep", EMBED):
            able = tuple(name for name, spec in self.models.items() if capability in spec.capabilities)
            if able and capability not in routes:
                routes[capability] = Route(candidates=able)
        if DEFAULT not in routes:
            routes[DEFAULT] = routes.get("fast") or routes["deep"]
        return routes

    def candidates(self, asked: str | None) -> tuple[str, ...]:
        """Return the models that may answer a request for a route, a capability or a model; the canary comes last."""
        route = self.all_routes().get(asked or DEFAULT)
        if route is None:
            return (asked or DEFAULT,)
        return (*route.candidates, *([route.canary.model] if route.canary else []))

    @property
    def digest(self) -> str:
        """What this fleet is known by."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]

    @property
    def embedder(self) -> str:
        """The model that embeds: one, since vectors of two can't be compared."""
        return self.all_routes()[EMBED].candidates[0]

    def table(self) -> "Table":
        """Return what callers need, without secrets."""
        bare = {name: spec.model_copy(update={"api_key": None}) for name, spec in self.models.items()}
        apps = {name: spec.app for name, spec in self.models.items()}
        return Table(fleet=self.model_copy(update={"models": bare}), apps=apps)


class Table(Part):
    """What callers know of a fleet: also by which names Serve has its models."""

    fleet: Fleet
    apps: dict[str, str]


def _is_for(spec: ModelSpec) -> str:
    return "embeds" if spec.embeds else "does not embed"
