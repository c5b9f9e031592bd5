"""What is left of tenants' budgets, and what is held of it for requests under way, by all processes together.

What is left is the most that one request may cost, at its longest: models without a price answer on. A tenant without
a budget, or a request that can cost nothing, asks no database.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from integrations.database import Database
from integrations.database.spending import Held
from integrations.errors import RunbellError
from serving.fleet import Fleet

SOFT = 0.8
LATER_S = 30.0
"""Seconds beyond a request's time-out for which is held: until then its line is in the ledger, or nobody writes it."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reserved:
    """What one request may cost."""

    limits: dict[str, float]
    held: Held

    def notice(self, price: float) -> str:
        """Return a word where most of a budget is spent once this request has cost so much."""
        for span, (spent, limit) in self._stand().items():
            if spent + price >= SOFT * limit:
                share = f"{100 * (spent + price) / limit:.0f} %" if limit else "all"
                return f"{share} of the budget per {span} is spent"
        return ""

    def told(self) -> str:
        """Say how the budgets stood."""
        stand = [f"{spent:.2f} of {limit:.2f} per {span}" for span, (spent, limit) in self._stand().items()]
        return f"The budget is used up ({', '.join(stand)}; from midnight UTC)."

    def _stand(self) -> dict[str, tuple[float, float]]:
        spent = {"day": self.held.today, "month": self.held.this_month}
        return {span: (spent[span], limit) for span, limit in self.limits.items()}


class Budgets:
    """The budgets of a Fleet's policy. Thread-safe; blocks for one statement."""

    def __init__(self, database: Database, fleet: Callable[[], Fleet]) -> None:
        self._spending = database.spending
        self._fleet = fleet

    def reserve(self, tenant: str, prices: Sequence[float], timeout_s: float) -> Reserved | None:
        """Hold the highest of some prices that can be paid, of which a request will cost one at its longest.

        None where there is no budget, or nothing to pay. Raises `Unavailable` where nobody can say what is left.
        """
        limits = self._limits(tenant)
        if not limits or not any(prices):
            return None
        per_day, per_month = limits.get("day"), limits.get("month")
        seconds = timeout_s + LATER_S
        held = self._spending.hold(tenant, prices, per_day=per_day, per_month=per_month, seconds=seconds)
        return Reserved(limits, held)

    def release(self, reserved: Reserved | None) -> None:
        """Let go what was held for a request that has cost nothing."""
        if reserved is None or reserved.held.id is None:
            return
        try:
            self._spending.release(reserved.held.id)
        except RunbellError as error:
            _log.warning("a budget is held longer than its request took: %s", error)

    def _limits(self, tenant: str) -> dict[str, float]:
        """Return the strictest limit of each span that has one."""
        found: dict[str, float] = {}
        for rules in self._fleet().policy.of(tenant):
            for span, limit in (("day", rules.budget_per_day), ("month", rules.budget_per_month)):
                if limit is not None:
                    found[span] = min(limit, found.get(span, limit))
        return found
