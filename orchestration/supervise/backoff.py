"""How long to wait before a process that died is started again."""

from collections.abc import Callable


class Backoff:
    """Exponential, with jitter, without end; a life of `calm_s` seconds is forgiven."""

    def __init__(
        self, random: Callable[[], float], *, first_s: float = 0.5, most_s: float = 30.0, calm_s: float = 60.0
    ) -> None:
        self._random = random
        self._first_s = first_s
        self._most_s = most_s
        self._calm_s = calm_s
        self._deaths = 0

    def after(self, lived_s: float) -> float:
        """Return the seconds to wait after a life of `lived_s` seconds."""
        if lived_s >= self._calm_s:
            self._deaths = 0
        ceiling = min(self._most_s, self._first_s * 2 ** min(self._deaths, 30))
        self._deaths += 1
        return ceiling * (0.5 + self._random() / 2)
