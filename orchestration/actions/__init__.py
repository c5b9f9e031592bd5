"""What can be carried out on the outside, one file per action, found by its place here.

A module of this package offers `ACTION`, an object that keeps to `Action`. It validates nothing itself: its arguments
are a pydantic model, and `prepare` refuses what does not fit, what the policy forbids and what does not exist before
anything happens. Actions never import each other; what several need lies in `integrations`.
"""

import importlib
import pkgutil
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from integrations.complaints import in_words, named
from integrations.database import Database
from integrations.errors import Forbidden, InvalidInput, NotFound, TemporaryError
from integrations.memory import Memory, Scope
from integrations.messages import Address, Principal
from integrations.near import near
from integrations.settings import Settings
from serving.client import Models

__all__ = [
    "FIXED",
    "IN_URL",
    "Action",
    "Arguments",
    "Effect",
    "Means",
    "Occasion",
    "Outcome",
    "Prepared",
    "find",
    "names",
    "prepare",
    "rehearsed",
    "require_allowed",
]

Effect = Literal["read", "write", "destructive"]
FIXED: dict[str, JsonValue] = {"x-runbell": "fixed"}
"""For `json_schema_extra` of what the author alone decides: a workflow in YAML can't fill in values there."""
IN_URL: dict[str, JsonValue] = {"x-runbell": "url"}
"""For `json_schema_extra` of an address: what is filled in stays within its part of the path or query."""
ATTEMPTS = 3
FIRST_PAUSE_S = 0.5


class Arguments(BaseModel):
    """Base of all actions' arguments."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Outcome(BaseModel):
    """What an action gave: a text for people, the same as data, and files that lie in the store."""

    model_config = ConfigDict(frozen=True)

    text: str
    data: dict[str, Any] = {}


class Means(Protocol):
    """What actions may use. Reaching for what is not there raises `Unavailable` and says what to start."""

    @property
    def settings(self) -> Settings:
        """The installation's settings: the policy."""
        ...

    @property
    def database(self) -> Database:
        """Our own stores."""
        ...

    @property
    def models(self) -> Models:
        """The models."""
        ...

    @property
    def memory(self) -> Memory:
        """The memory."""
        ...


@dataclass(frozen=True)
class Occasion:
    """For whom an action is carried out, where, and under which name.

    `key` is the idempotency key: the run's id and the op's key, so that a second attempt is known as one.
    """

    principal: Principal
    account: str
    address: Address
    scope: Scope
    key: str
    sleep: Callable[[float], None] = field(default=time.sleep)


class Action(Protocol):
    """One thing that can be done."""

    @property
    def name(self) -> str:
        """What it is called by: the module's name."""
        ...

    @property
    def summary(self) -> str:
        """One sentence that says what it does."""
        ...

    @property
    def arguments(self) -> type[Arguments]:
        """What it takes."""
        ...

    def effect(self, args: Any, settings: Settings) -> Effect:  # noqa: ANN401 - of the type `arguments`
        """Tell what it does to the world with these arguments."""
        ...

    def preview(self, args: Any, settings: Settings) -> str:  # noqa: ANN401
        """Say what would be done. Raises `Forbidden` or `InvalidInput` where it may not; touches nothing outside."""
        ...

    def carry_out(self, args: Any, means: Means, occasion: Occasion) -> Outcome:  # noqa: ANN401
        """Do it, within the time that the settings give. Raises TemporaryError only where nothing was done for sure."""
        ...


@dataclass(frozen=True)
class Prepared:
    """An action with valid arguments, allowed by the policy; `preview` says what it would do."""

    action: Action
    args: Arguments
    effect: Effect
    preview: str

    def carry_out(self, means: Means, occasion: Occasion) -> Outcome:
        """Do it; what surely did not happen is tried again, with growing pauses."""
        if _rehearsals and (instead := _rehearsals[-1](self, occasion)) is not None:
            return instead
        for attempt in range(ATTEMPTS):
            try:
                return self.action.carry_out(self.args, means, occasion)
            except TemporaryError as error:
                if attempt == ATTEMPTS - 1:
                    raise
                pause = FIRST_PAUSE_S * 2**attempt
                if error.after > 10 * pause:
                    raise  # that long a pause is the caller's to take
                occasion.sleep(max(pause, error.after))
        raise AssertionError


@contextmanager
def rehearsed(instead: Callable[[Prepared, Occasion], Outcome | None]) -> Generator[None]:
    """Carry out no action of this process in this block, but call `instead`: for tests and replays.

    Where that returns None, the action is carried out after all.
    """
    _rehearsals.append(instead)
    try:
        yield
    finally:
        _rehearsals.remove(instead)


_rehearsals: list[Callable[[Prepared, Occasion], Outcome | None]] = []


def prepare(name: str, arguments: Mapping[str, object], settings: Settings) -> Prepared:
    """Check everything that can be checked before it happens.

    Raises `NotFound`, `InvalidInput` (its field is the argument's name) or `Forbidden`.
    """
    action = find(name)
    require_allowed(name, settings)
    try:
        args = action.arguments.model_validate(dict(arguments))
    except ValidationError as error:
        raise _plain(error, action) from error
    return Prepared(action, args, action.effect(args, settings), action.preview(args, settings))


def require_allowed(name: str, settings: Settings) -> None:
    """Raise `Forbidden` where the settings don't allow an action."""
    allowed = settings.actions.allow
    if name not in allowed and "*" not in allowed:
        raise Forbidden(f"The action {name} is not allowed here (setting actions.allow).")


def find(name: str) -> Action:
    """Return an action. Raises `NotFound`, with what was perhaps meant."""
    try:
        return _all()[name]
    except KeyError:
        meant = near(name, names(), most=3)
        hint = f"Did you mean {' or '.join(meant)}?" if meant else f"There are {', '.join(names())}."
        raise NotFound(f"There is no action {name!r}. {hint}") from None


def names() -> list[str]:
    """Return the names of all actions."""
    return sorted(_all())


@cache
def _all() -> dict[str, Action]:
    modules = [info.name for info in pkgutil.iter_modules([str(Path(__file__).parent)])]
    actions = [importlib.import_module(f"{__name__}.{name}").ACTION for name in modules]
    return {action.name: action for action in actions}


def _plain(error: ValidationError, action: Action) -> InvalidInput:
    """Say the first thing that is wrong in one line, without the value: it may be a secret."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = named(first)
    takes = ", ".join(action.arguments.model_fields)
    if first["type"] == "extra_forbidden":
        return InvalidInput(f"{action.name} has no argument {where}; it takes {takes}.", field=where)
    if first["type"] == "missing":
        return InvalidInput(f"{action.name} needs {where}; it takes {takes}.", field=where)
    return InvalidInput(f"{where or action.name}: {in_words(first).rstrip('.')}.", field=where or None)
