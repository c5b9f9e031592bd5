"""Whether a model is worth asking now, from how its last requests went: one circuit breaker per model."""

from collections.abc import Callable
from dataclasses import dataclass

from integrations.errors import Misconfigured, Overloaded, RateLimited, RunbellError, Unavailable

FAILURES = 3
PAUSE_S = 5.0
LONGEST_S = 120.0


@dataclass
class _State:
    failures: int = 0
    pauses: int = 0
    closed_at: float = 0.0
    trying: bool = False
    why: str = ""


class Breakers:
    """Opens after three failures in a row, or at once for as long as the other end asks for a pause.

    When the pause is over one request tries; its failure doubles the pause, its success closes the breaker.
    Used from one event loop.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._states: dict[str, _State] = {}

    def reason(self, model: str) -> str | None:
        """Return why the model should not be asked now; None where it should."""
        state = self._states.get(model)
        if state is None or (state.closed_at <= self._clock() and not state.trying):
            return None
        left = max(state.closed_at - self._clock(), 0)
        return f"{state.why}, next try in {left:.0f} s"

    def begin(self, model: str) -> None:
        """A request goes there: while it is a try after a pause, others keep away."""
        state = self._states.get(model)
        if state is not None and state.pauses:
            state.trying = True

    def succeeded(self, model: str) -> None:
        """Forget what was."""
        self._states.pop(model, None)

    def left(self, model: str) -> None:
        """A request ended without telling anything: its caller went, or sent something wrong."""
        if state := self._states.get(model):
            state.trying = False

    def failed(self, model: str, error: RunbellError) -> None:
        """Count a failure. What is the request's own fault counts for nothing."""
        if not isinstance(error, RateLimited | Overloaded | Unavailable | Misconfigured):
            return self.left(model)
        state = self._states.setdefault(model, _State())
        state.trying = False
        if isinstance(error, RateLimited | Overloaded):
            state.closed_at = self._clock() + min(error.after, LONGEST_S)
            state.why = "busy" if isinstance(error, Overloaded) else "asked for a pause"
            return None
        state.failures += 1
        if state.failures >= FAILURES or state.pauses:
            state.closed_at = self._clock() + min(PAUSE_S * 2**state.pauses, LONGEST_S)
            state.pauses += 1
            state.why = f"failed {state.failures} times in a row"
        return None
