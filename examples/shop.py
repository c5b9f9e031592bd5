"""The sample shop's database, `data/shop.sqlite` (made by `data/make_shop.py`), read only."""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

DATABASE = Path(__file__).parent / "data" / "shop.sqlite"
_GROUPS = {"month": "strftime('%Y-%m', o.ordered_on)", "region": "o.region", "product": "p.name"}
_QUERY = """
select {group} as name, count(*) as orders, sum(o.quantity * p.price_cents) as cents
from orders o join products p on p.id = o.product_id
where strftime('%Y', o.ordered_on) = ?
group by 1 order by 1
"""


@dataclass(frozen=True)
class Row:
    """One group of orders; `revenue` in euros."""

    name: str
    orders: int
    revenue: float


@dataclass(frozen=True)
class Figures:
    """The answer of one query."""

    by: str
    year: int
    rows: tuple[Row, ...]
    sql: str

    @property
    def revenue(self) -> float:
        """The sum over all groups, in euros."""
        return round(sum(row.revenue for row in self.rows), 2)

    @property
    def orders(self) -> int:
        """The number of all orders."""
        return sum(row.orders for row in self.rows)


def figures(by: str, year: int, database: Path = DATABASE) -> Figures:
    """Return orders and revenue of a year by `month`, `region` or `product`."""
    sql = _QUERY.format(group=_GROUPS[by])  # one of three constants, never text from a message
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        rows = connection.execute(sql, (str(year),)).fetchall()
    return Figures(by, year, tuple(Row(name, orders, cents / 100) for name, orders, cents in rows), sql.strip())
