"""What a workflow in YAML may say: command, arguments, steps, reply. `checking.py` has the rules between them.

No value is computed here: texts with references stay as they are until the step that needs them runs.
"""

from datetime import timedelta
from typing import Annotated, Any, Literal, Self

import dagster as dg
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, create_model, field_validator
from pydantic import model_validator as validates

from integrations.durations import Length
from orchestration import actions
from orchestration.commands.policy import Approval, Declared, Traits
from orchestration.flows.references import read_path

MOST_STEPS = 100
MOST_RETRIES = 100
ACTIONS = tuple(name for name in actions.names() if name != "wait")
"""The step `wait` holds no worker, so the action of that name isn't offered."""
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
"""Lower-case letters, digits and `_`."""
_TAKEN = frozenset(dir(dg.Config)) | {"arguments", "reply"}


def _short(key: str) -> BeforeValidator:
    return BeforeValidator(lambda value: {key: value} if isinstance(value, str) else value)


def _count(value: object) -> object:
    return {"max_retries": value} if isinstance(value, int) and not isinstance(value, bool) else value


def _wanted(value: object) -> object:
    if isinstance(value, list):
        return {"is": value}
    return value if isinstance(value, dict) else {"is": [value]}


class Part(BaseModel):
    """Base of what stands in a workflow."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Argument(Part):
    """One argument of the command. Without a default it must be given, unless it is optional."""

    type: Literal[
        "text", "integer", "number", "boolean", "day", "instant", "duration", "amount", "person", "file", "secret"
    ] = "text"
    description: str = ""
    description_zh: str = ""
    default: JsonValue = None
    optional: bool = Field(default=False, description="May be left out; it is null then.")
    several: bool = Field(default=False, description="Takes a list.")
    choices: list[str] | None = Field(default=None, min_length=1, max_length=1000)
    minimum: float | None = None
    maximum: float | None = None
    min_length: int | None = Field(default=None, ge=0)
    max_length: int | None = Field(default=None, ge=1)
    pattern: str | None = Field(default=None, description="A regular expression that a text must match.")


class Compared(Part):
    """What a value is compared with; all that is said must hold."""

    equal: list[JsonValue] | None = Field(default=None, alias="is", min_length=1)
    unequal: JsonValue = Field(default=None, alias="not", description="A value, or a list of them.")
    above: float | None = None
    below: float | None = None
    at_least: float | None = None
    at_most: float | None = None

    @property
    def others(self) -> list[JsonValue] | None:
        """The values that don't count; None where nothing was said of them."""
        if "unequal" not in self.model_fields_set:
            return None
        return self.unequal if isinstance(self.unequal, list) else [self.unequal]


When = dict[str, Annotated[Compared, BeforeValidator(_wanted)]]
"""Path of a value (`args.force`, `steps.fetch.body.state`) → the value, the values, or the bounds that count."""


def _paths(when: When) -> When:
    for path in when:
        read_path(path)
    return when


Condition = Annotated[When, Field(description="All of it must hold, or the step is left out.")]


class Ask(Approval):
    """A step that asks people to approve, and parks the run until they have."""

    question: str = Field(min_length=1)
    details: dict[str, JsonValue] = Field(
        default={}, description="What exactly is approved; the command's arguments where nothing is said."
    )


class Wait(Part):
    """A step that parks the run: for a length of time, until an instant, or for an event."""

    length: str | None = Field(default=None, alias="for", description="90s, 1h30m, 3 days, or a reference.")
    until: str | None = Field(default=None, description="An instant with its time zone, or a reference.")
    event: str | None = Field(default=None, min_length=1, description="The name of an event.")
    key: str | None = Field(default=None, description="Which event; without it, one that is addressed to this run.")
    timeout: Length | None = Field(default=None, description="How long an event may take; a day where nothing is said.")

    @validates(mode="after")
    def _one(self) -> Self:
        if sum(value is not None for value in (self.length, self.until, self.event)) != 1:
            raise ValueError("give one of for, until, event")
        if self.event is None and (self.key is not None or self.timeout is not None):
            raise ValueError("key and timeout belong to an event")
        return self


class Retries(Part):
    """How often an action that has failed is tried again, and after how long: the words of Dagster's `RetryPolicy`."""

    max_retries: int = Field(default=1, ge=1, le=MOST_RETRIES)
    delay: Length | None = Field(default=None, ge=timedelta(0), description="Before the next attempt: 10s, 5 minutes.")
    backoff: Literal["linear", "exponential"] | None = Field(
        default=None, description="Grow the delay with each attempt: 1, 2, 3, … or 1, 3, 7, … times."
    )
    jitter: Literal["full", "plus_minus"] | None = Field(
        default=None, description="A random part of the delay, or as much as that more or less."
    )

    @validates(mode="after")
    def _of_a_delay(self) -> Self:
        if self.delay is None and (self.backoff or self.jitter):
            raise ValueError("backoff and jitter need a delay")
        return self

    @property
    def policy(self) -> dg.RetryPolicy:
        """The same for Dagster."""
        return dg.RetryPolicy(
            max_retries=self.max_retries,
            delay=None if self.delay is None else self.delay.total_seconds(),
            backoff=None if self.backoff is None else dg.Backoff[self.backoff.upper()],
            jitter=None if self.jitter is None else dg.Jitter[self.jitter.upper()],
        )


class _Step(Part):
    description: str = ""
    needs: list[str] = Field(
        default=[],
        description="Steps that must be over before, if they are not left out; those it refers to are anyway.",
    )
    when: Condition = {}
    retries: Annotated[Retries | None, BeforeValidator(_count)] = Field(
        default=None, description="Try an action again that has failed: how often, or more of it."
    )
    approval: Ask | None = None
    wait: Annotated[Wait | None, _short("for")] = None

    _paths = field_validator("when")(_paths)

    @validates(mode="after")
    def _one(self) -> Self:
        kinds = [kind for kind in KINDS if getattr(self, kind) is not None]
        if len(kinds) != 1:
            said = f"this one has {' and '.join(kinds)}" if kinds else f"give one of {', '.join(KINDS)}"
            raise ValueError(f"a step does one thing: {said}")
        if self.retries is not None and kinds[0] not in ACTIONS:
            raise ValueError(f"retries belong to an action; {kinds[0]} has a time of its own")
        return self

    @property
    def kind(self) -> str:
        """What it does: the name of an action, `approval` or `wait`."""
        return next(kind for kind in KINDS if getattr(self, kind) is not None)

    @property
    def said(self) -> Any:  # noqa: ANN401 - of its kind
        """What stands below its kind."""
        return getattr(self, self.kind)


KINDS = (*ACTIONS, "approval", "wait")
_FIELDS: dict[str, Any] = {
    name: (dict[str, JsonValue] | None, Field(default=None, description=actions.find(name).summary)) for name in ACTIONS
}
Step = create_model("Step", __base__=_Step, __doc__="One step: one op of the job.", **_FIELDS)


class Case(Part):
    """One of several replies; the first whose condition holds is sent."""

    when: Condition = {}
    text: str

    _paths = field_validator("when")(_paths)


def _cases(value: object) -> object:
    return [{"text": value}] if isinstance(value, str) else value


class Form(Traits):
    """One workflow: a command, and the plain Dagster job behind it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    command: str = Field(description="What is typed.")
    job: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_]{1,64}$", description="The job's name, if another.")
    description: str = ""
    arguments: dict[Name, Annotated[Argument, _short("type")]] = Field(default={})
    steps: dict[Name, Step] = Field(min_length=1, max_length=MOST_STEPS)  # type: ignore[valid-type] # made above
    reply: Annotated[list[Case], BeforeValidator(_cases), Field(min_length=1)]

    @field_validator("command")
    @classmethod
    def _typable(cls, command: str) -> str:
        return Declared.model_validate({"name": command}).name or command

    @validates(mode="after")
    def _named(self) -> Self:
        if not self.job_name.isascii():
            raise ValueError(f"jobs have ASCII names, which {self.command} is not: say job, too")
        return self

    @property
    def job_name(self) -> str:
        """The job's name."""
        return self.job or self.command.replace("-", "_").replace(".", "_")

    @field_validator("arguments", "steps")
    @classmethod
    def _free(cls, named: dict[str, Any]) -> dict[str, Any]:
        for name in named:
            if name in _TAKEN or name.startswith("model_"):
                raise ValueError(f"{name} can't be a name here; choose another")
        return named
