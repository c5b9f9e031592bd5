"""Keys and addresses of an endpoint: which may be used now, and which must rest. The engine `openai` asks here."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from integrations.errors import Misconfigured, RateLimited

REFUSED_S = 300.0
DOWN_S = 10.0


@dataclass
class Key:
    """A secret with its own rate: as many requests as a second allows may come at once."""

    secret: str | None
    rate: float
    tokens: float = 0.0
    filled_at: float = 0.0
    rests_until: float = 0.0
    refused: bool = False

    def wait_s(self, now: float) -> float:
        """Return how long until it may be used."""
        self.tokens = min(max(self.rate, 1.0), self.tokens + (now - self.filled_at) * self.rate)
        self.filled_at = now
        return max(self.rests_until - now, (1.0 - self.tokens) / self.rate, 0.0)


class Access:
    """All keys and addresses of one endpoint."""

    def __init__(
        self,
        urls: Sequence[str],
        secrets: Sequence[str | None],
        rate: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        now = clock()
        self._keys = [Key(secret, rate, max(rate, 1.0), now) for secret in secrets or [None]]
        self._down_until = dict.fromkeys(urls, 0.0)

    @property
    def tries(self) -> int:
        """How many combinations one request may go through."""
        return min(len(self._keys) + len(self._down_until), 8)

    def key(self, patience_s: float) -> tuple[Key, float]:
        """Take a key, and return it with the seconds to wait before its use.

        Raises `RateLimited` where that would be longer than `patience_s`, `Misconfigured` where all were refused.
        """
        now = self._clock()
        if all(key.refused and key.rests_until > now for key in self._keys):
            raise Misconfigured("The model's endpoint refuses every key (api_key).")
        best = min(self._keys, key=lambda key: key.wait_s(now))
        wait = best.wait_s(now)
        if wait > patience_s:
            raise RateLimited(f"The endpoint's keys are used up for {wait:.1f} s.", after=wait)
        best.tokens -= 1.0
        return best, wait

    def rest(self, key: Key, seconds: float) -> None:
        """The endpoint asked for a pause of this key."""
        key.rests_until = max(key.rests_until, self._clock() + seconds)

    def refuse(self, key: Key) -> None:
        """The endpoint does not know this key; it is tried again after five minutes."""
        key.refused = True
        self.rest(key, REFUSED_S)

    def urls(self) -> list[str]:
        """Return the addresses: those that work in their order, then those that were down."""
        now = self._clock()
        return sorted(self._down_until, key=lambda url: self._down_until[url] > now)

    def down(self, url: str) -> None:
        """An address does not answer: others go first for a while."""
        self._down_until[url] = self._clock() + DOWN_S

    def up(self, url: str) -> None:
        """An address answers."""
        self._down_until[url] = 0.0
