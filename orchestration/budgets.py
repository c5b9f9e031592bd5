"""What tenants have spent, and what is left of their budgets.

What is left is the most that one request may cost, at its longest: models without a price answer on. Requests under way
count so, in each process by itself.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from integrations.database import Database
from serving.fleet import Fleet

SOFT = 0.8
FRESH_S = 2.0


class Budgets:
    """Asked anew every two seconds, with what this process added meanwhile. Thread-safe."""

    def __init__(self, database: Database, fleet: Callable[[], Fleet]) -> None:
        self._database = database
        self._fleet = fleet
        self._lock = threading.Lock()
        self._known: dict[tuple[str, str], tuple[float, float]] = {}
        self._reserved: defaultdict[str, float] = defaultdict(float)

    def reserve(self, tenant: str, prices: Sequence[float]) -> tuple[float | None, float]:
        """Hold the highest of some prices that can be paid, of which a request will cost one at its longest.

        Returns what a tenant may still spend, None where there is no budget or nothing to pay; and what is held.
        """
        limits = self._limits(tenant)
        if not limits or not any(prices):
            return None, 0.0
        spent = {span: self._spent(tenant, span) for span, _ in limits}
        with self._lock:
            left = max(min(limit - spent[span] for span, limit in limits) - self._reserved[tenant], 0.0)
            held = max((price for price in prices if price <= left), default=0.0)
            self._reserved[tenant] += held
        return left, held

    def release(self, tenant: str, held: float) -> None:
        """Let go what was held for a request: what it has cost is counted."""
        with self._lock:
            self._reserved[tenant] = max(self._reserved[tenant] - held, 0.0)

    def notice(self, tenant: str) -> str:
        """Return a word where most of a budget is spent."""
        for span, limit in self._limits(tenant):
            spent = self._spent(tenant, span)
            if spent >= SOFT * limit:
                share = f"{100 * spent / limit:.0f} %" if limit else "all"
                return f"{share} of the budget per {span} is spent"
        return ""

    def told(self, tenant: str) -> str:
        """Say how the budgets stand."""
        stand = [f"{self._spent(tenant, span):.2f} of {limit:.2f} per {span}" for span, limit in self._limits(tenant)]
        return f"The budget is used up ({', '.join(stand)}; from midnight UTC)."

    def add(self, tenant: str, price: float) -> None:
        """Count what a request has cost, until the ledger is read again."""
        with self._lock:
            for (who, span), (at, spent) in list(self._known.items()):
                if who == tenant:
                    self._known[who, span] = (at, spent + price)

    def _limits(self, tenant: str) -> list[tuple[str, float]]:
        found: list[tuple[str, float]] = []
        for rules in self._fleet().policy.of(tenant):
            told = (("day", rules.budget_per_day), ("month", rules.budget_per_month))
            found += [(span, limit) for span, limit in told if limit is not None]
        return found

    def _spent(self, tenant: str, span: str) -> float:
        with self._lock:
            known = self._known.get((tenant, span))
        if known is None or time.monotonic() - known[0] > FRESH_S:
            midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
            since = midnight if span == "day" else midnight.replace(day=1)
            known = (time.monotonic(), self._database.usage.spent(tenant, since))
            with self._lock:
                self._known[tenant, span] = known
        return known[1]
