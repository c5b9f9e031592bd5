"""What is held of budgets for requests under way, by all processes together, and what has been spent.

`runbell.hold` (migration 0017) reads what is left and holds of it in one statement, one after another for each tenant.
What a process held that died is free again when its time is over.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from integrations.database.engine import Store
from integrations.database.tables import holds

_HOLD = sa.text("""
    select hold, remaining, spent_today, spent_this_month from runbell.hold(
      :tenant, cast(:prices as float8[]), cast(:per_day as float8), cast(:per_month as float8), :seconds)
""")


@dataclass(frozen=True, slots=True)
class Held:
    """What stood when a request began: the hold, if any; what was left for it; what had been spent."""

    id: int | None
    left: float
    today: float
    this_month: float


class Spending(Store):
    """Holds. What a request has cost takes the place of its hold with its line in the ledger (`Usage.record`)."""

    def hold(
        self, tenant: str, prices: Sequence[float], *, per_day: float | None, per_month: float | None, seconds: float
    ) -> Held:
        """Hold the highest of the prices that can be paid, for so many seconds at most. One round trip."""
        values = {"tenant": tenant, "prices": list(prices), "per_day": per_day, "per_month": per_month}
        with self._statement() as connection:
            return Held(*connection.execute(_HOLD, {**values, "seconds": seconds}).one())

    def release(self, hold: int) -> None:
        """Let go what a request held that has cost nothing."""
        with self._statement() as connection:
            connection.execute(sa.delete(holds).where(holds.c.id == hold))
