"""Actions in tests and replays: recorded, with the outcome that was given for them, and not carried out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from orchestration.actions import Effect, Occasion, Outcome, Prepared

Scripted = Outcome | Exception | Callable[[Mapping[str, object]], Outcome] | None
"""What an action gives, raises, or computes from its arguments; with None it is recorded, and carried out for real."""


@dataclass(frozen=True)
class Done:
    """One action that would have been carried out: its arguments, and for whom."""

    action: str
    args: dict[str, object]
    effect: Effect
    preview: str
    principal: str
    key: str


class Effects:
    """What happens in the place of actions. `outcomes` are by the action's name; without one its preview is it."""

    def __init__(self, outcomes: Mapping[str, Scripted] | None = None) -> None:
        self.done: list[Done] = []
        self._outcomes = dict(outcomes or {})

    def __call__(self, prepared: Prepared, occasion: Occasion) -> Outcome | None:
        """Record an action and return what was scripted for it; None where it shall be carried out."""
        args = prepared.args.model_dump(mode="json", exclude_defaults=True)
        name = prepared.action.name
        done = Done(name, args, prepared.effect, prepared.preview, occasion.principal.name, occasion.key)
        self.done.append(done)
        scripted = self._outcomes.get(name, Outcome(text=prepared.preview))
        if isinstance(scripted, Exception):
            raise scripted
        return scripted(args) if callable(scripted) else scripted
