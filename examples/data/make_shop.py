"""Makes `shop.sqlite`: invented orders of an invented shop, the same at every run."""

import random
import sqlite3
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path

PRODUCTS = {"Teapot": 3490, "Cup": 890, "Green tea": 1250, "Black tea": 1090, "Kettle": 5990}
REGIONS = {"Europe": 5, "Asia": 4, "America": 3}
FIRST, LAST = date(2025, 1, 1), date(2026, 10, 31)

SCHEMA = """
create table products (id integer primary key, name text not null unique, price_cents integer not null);
create table orders (
  id integer primary key, ordered_on text not null, region text not null,
  product_id integer not null references products (id), quantity integer not null check (quantity > 0));
"""


def make(path: Path, orders: int = 1500) -> None:
    """Write the database anew."""
    chance = random.Random(42)  # noqa: S311 - sample data
    days = (LAST - FIRST).days
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(SCHEMA)
        connection.executemany("insert into products (name, price_cents) values (?, ?)", PRODUCTS.items())
        for _ in range(orders):
            # The shop grows: later days are likelier.
            day = FIRST + timedelta(days=round(days * chance.random() ** 0.8))
            region = chance.choices(list(REGIONS), weights=list(REGIONS.values()))[0]
            product = chance.choices(range(1, 6), weights=[2, 6, 5, 4, 1])[0]
            connection.execute(
                "insert into orders (ordered_on, region, product_id, quantity) values (?, ?, ?, ?)",
                (day.isoformat(), region, product, chance.choice([1, 1, 1, 2, 2, 3, 4])),
            )


if __name__ == "__main__":
    make(Path(__file__).with_name("shop.sqlite"))
