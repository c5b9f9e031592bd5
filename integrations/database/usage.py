"""The usage ledger: what models were asked, for whom, what it took, and what it has cost."""

from dataclasses import dataclass, fields
from datetime import datetime

import sqlalchemy as sa

from integrations.database.engine import Store
from integrations.database.tables import holds, usage

MOST = 100
RUNS = 50
"""Runs of a job from which is told what it usually takes."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request to a model."""

    model: str
    tokens_in: int
    tokens_out: int
    tokens_cached: int
    total_ms: float
    first_token_ms: float | None
    price: float
    currency: str
    from_cache: bool | None


@dataclass(frozen=True, slots=True)
class Usual:
    """What runs of a job usually ask of models: medians of its last `runs` that asked any."""

    runs: int
    tokens_in: int
    tokens_out: int
    price: float
    currency: str


@dataclass(frozen=True, slots=True)
class Saved:
    """What caches saved of a model's work: answers given again, and tokens that it had read already."""

    model: str
    hits: int
    misses: int
    tokens_in: int
    tokens_cached: int


_USUAL = sa.text("""
    with runs as (
      select run_id, sum(tokens_in) as tokens_in, sum(tokens_out) as tokens_out, sum(price) as price,
        max(currency) as currency
      from (select * from runbell.usage where tenant = :tenant and job = :job and run_id is not null
            order by id desc limit 1000) as latest
      group by run_id order by max(id) desc limit :runs)
    select count(*), percentile_cont(0.5) within group (order by tokens_in),
      percentile_cont(0.5) within group (order by tokens_out), percentile_cont(0.5) within group (order by price),
      max(currency)
    from runs""")
_SAVED = sa.text("""
    select model, count(*) filter (where from_cache), count(*) filter (where not from_cache),
      coalesce(sum(tokens_in), 0), coalesce(sum(tokens_cached), 0)
    from runbell.usage where at >= :since group by model order by model""")


class Usage(Store):
    """The ledger."""

    def of_run(self, run_id: str) -> list[Asked]:
        """Return a run's requests in order."""
        columns = [usage.c[field.name] for field in fields(Asked)]
        query = sa.select(*columns).where(usage.c.run_id == run_id).order_by(usage.c.id).limit(MOST)
        with self._statement() as connection:
            return [Asked(*row) for row in connection.execute(query)]

    def usual(self, tenant: str, job: str) -> Usual | None:
        """Return what a job's runs usually take; None where none of them has asked a model."""
        with self._statement() as connection:
            row = connection.execute(_USUAL, {"tenant": tenant, "job": job, "runs": RUNS}).one()
        return Usual(row[0], round(row[1]), round(row[2]), float(row[3]), row[4]) if row[0] else None

    def saved(self, since: datetime) -> list[Saved]:
        """Return by model what caches have saved since then."""
        with self._statement() as connection:
            return [Saved(*row) for row in connection.execute(_SAVED, {"since": since})]

    def record(  # noqa: PLR0913 - a ledger row
        self,
        *,
        tenant: str,
        model: str,
        tokens_in: int,
        tokens_out: int,
        total_ms: float,
        first_token_ms: float | None = None,
        principal_id: str | None = None,
        message_id: str | None = None,
        run_id: str | None = None,
        op: str | None = None,
        route: str | None = None,
        job: str | None = None,
        tokens_cached: int = 0,
        gpu_s: float = 0.0,
        price: float = 0.0,
        currency: str = "USD",
        from_cache: bool | None = None,
        hold: int | None = None,
    ) -> None:
        """Add one request; what it has cost takes the place of what was held for it.

        Does not wait for the disk: whatever is stored after it, such as the answer, is on disk with it. Only a server
        that crashes may lose the lines of its last half second.
        """
        row = {name: value for name, value in locals().items() if name not in {"self", "hold"}}
        with self._transaction() as connection:
            connection.execute(sa.insert(usage).values(row))
            if hold is not None:
                connection.execute(sa.delete(holds).where(holds.c.id == hold))
