"""One action carried out as an op does it, where it needs nothing but settings."""

from collections.abc import Callable
from dataclasses import dataclass

from integrations.memory import Scope
from integrations.messages import Address, Principal
from integrations.settings import Settings
from orchestration.actions import Occasion, Outcome, prepare


@dataclass(frozen=True)
class Here:
    """The means of an action that needs only settings."""

    settings: Settings


def act(action: str, settings: Settings, arguments: dict[str, object], **more: Callable[[float], None]) -> Outcome:
    """Carry it out for somebody who may; `more` are other fields of the occasion."""
    occasion = Occasion(
        principal=Principal(id="p", tenant="default", name="p"),
        account="p",
        address=Address(channel="rest", conversation="c"),
        scope=Scope.principal("default", "p"),
        key="run1.op",
        **more,  # type: ignore[arg-type]
    )
    return prepare(action, arguments, settings).carry_out(Here(settings), occasion)  # type: ignore[arg-type]
