"""Rate limits per token, source or address, in this process; several gateways each count for themselves."""

import time
from math import ceil

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from integrations.errors import RateLimited

READS_PER_WRITE = 10
"""Reading is cheap: a key may read this many times as often as it writes."""


class Limits:
    """Counts requests in sliding windows of a minute."""

    def __init__(self, requests_per_minute: int) -> None:
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._writes = RateLimitItemPerMinute(requests_per_minute)
        self._reads = RateLimitItemPerMinute(requests_per_minute * READS_PER_WRITE)

    def write(self, key: str) -> None:
        """Count a request that changes something; raise RateLimited beyond the limit."""
        self._hit(self._writes, "write", key)

    def read(self, key: str) -> None:
        """Count a request that changes nothing."""
        self._hit(self._reads, "read", key)

    def _hit(self, item: RateLimitItemPerMinute, kind: str, key: str) -> None:
        if self._limiter.hit(item, kind, key):
            return
        stats = self._limiter.get_window_stats(item, kind, key)
        after = max(1, ceil(stats.reset_time - time.time()))
        raise RateLimited(f"More than {item.amount} requests in a minute: come back in {after} s.", after=after)
