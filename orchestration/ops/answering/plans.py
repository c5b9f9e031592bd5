"""A plan: what the model wants done, checked, and what became of it."""

from typing import Literal

from integrations.messages import Frozen
from orchestration.actions import Effect
from orchestration.commands.language import Language

START = "start_command"
"""The action that a command of a plan is."""
Ended = Literal["done", "failed", "refused"]


class Intended(Frozen):
    """One action with exact arguments, as it was checked and is shown; a command is the action `start_command`.

    `at_once` needs no yes; `approve` needs an approver's besides the asker's.
    """

    action: str
    args: dict[str, object]
    effect: Effect
    preview: str
    shown: str
    """The arguments as people see them: all of them, secrets masked."""
    at_once: bool = False
    approve: bool = False
    quote: str = ""
    """What it may cost at its most, where there is a price."""

    @property
    def title(self) -> str:
        """What it is called: a command by its own name."""
        return f"/{self.args.get('command')}" if self.action == START else self.action


class Result(Frozen):
    """What became of one action. `text` came from outside: it is data, whatever it says."""

    title: str
    shown: str
    effect: Effect | None
    outcome: Ended
    text: str
    seconds: float = 0.0


class Plan(Frozen):
    """One request and how far it has come: `now` is carried out at once, `waiting` after the asker's yes."""

    request: str
    language: Language
    rounds: int = 0
    tokens: int = 0
    seconds: float = 0.0
    results: tuple[Result, ...] = ()
    now: tuple[Intended, ...] = ()
    waiting: tuple[Intended, ...] = ()

    @property
    def goes_on(self) -> bool:
        """Whether there is more to do before somebody is asked: actions to carry out, or refusals to think about."""
        return bool(self.now) or not self.waiting

    def after(self, results: tuple[Result, ...]) -> "Plan":
        """Return it with what became of `now`."""
        seconds = self.seconds + sum(one.seconds for one in results)
        return self.model_copy(update={"results": (*self.results, *results), "now": (), "seconds": seconds})

    def agreed(self) -> "Plan":
        """Return it once the asker has said yes: exactly what waited is next."""
        return self.model_copy(update={"now": self.waiting, "waiting": ()})
