"""How a canary does against the model that it may replace."""

from collections import deque
from dataclasses import dataclass, field
from statistics import median

from serving.fleet import Canary

REMEMBERED = 200


@dataclass
class _Arm:
    asked: int = 0
    failed: int = 0
    first_ms: deque[float] = field(default_factory=lambda: deque[float](maxlen=REMEMBERED))

    def add(self, first_ms: float | None, *, failed: bool) -> None:
        self.asked += 1
        self.failed += failed
        if first_ms is not None:
            self.first_ms.append(first_ms)


class Trial:
    """One canary of one route. Once it has retreated it stays away until models.yaml changes."""

    def __init__(self, canary: Canary) -> None:
        self.canary = canary
        self.retreat: str | None = None
        self._canary, self._stable = _Arm(), _Arm()

    def add(self, first_ms: float | None, *, canary: bool, failed: bool) -> None:
        """Count a request of either; judges the canary."""
        (self._canary if canary else self._stable).add(first_ms, failed=failed)
        if canary and self.retreat is None:
            self.retreat = self._verdict()

    def _verdict(self) -> str | None:
        asked, failed = self._canary.asked, self._canary.failed
        # As soon as it can't do well any more: a broken model is not asked twenty times.
        if 100 * failed > self.canary.max_error_percent * max(asked, self.canary.judge_after):
            return f"{failed} of its {asked} requests failed"
        if (
            asked >= self.canary.judge_after
            and self._canary.first_ms
            and len(self._stable.first_ms) >= self.canary.judge_after
        ):
            ours, theirs = median(self._canary.first_ms), median(self._stable.first_ms)
            if ours > self.canary.max_slower * theirs:
                return f"its first token took {ours:.0f} ms instead of {theirs:.0f} ms"
        return None
