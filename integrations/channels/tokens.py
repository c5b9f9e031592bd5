"""The token of a network's API: fetched when it is first needed, kept until shortly before its end, asked for once.

Asking too often is itself limited (WeCom), so calls that come together wait for one answer.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

Fetch = Callable[[], Awaitable[tuple[str, float]]]
"""Ask for a token; returns it with the seconds that it is valid."""


class Token:
    """Keeps one. `early_s` is how long before its end it is renewed, though never before half of its life."""

    def __init__(self, fetch: Fetch, *, early_s: float, now: Callable[[], float] = time.monotonic) -> None:
        self._fetch = fetch
        self._early_s = early_s
        self._now = now
        self._lock = asyncio.Lock()
        self._token = ""
        self._ends_at = 0.0

    def __repr__(self) -> str:
        return "Token(…)"

    async def get(self) -> str:
        """Return a token that is valid for a while still; raises what asking for it raises."""
        async with self._lock:
            if not self._token or self._now() >= self._ends_at:
                self._token, seconds = await self._fetch()
                self._ends_at = self._now() + max(seconds - self._early_s, seconds / 2)
            return self._token

    def forget(self, token: str) -> None:
        """Ask anew at the next use, since the network no longer takes this one; a newer one is kept."""
        if token == self._token:
            self._token = ""
