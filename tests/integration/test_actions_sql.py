"""`sql_query` on a real PostgreSQL and on SQLite: it reads, whatever the statement tries."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from integrations.database.querying import Rows, query
from integrations.errors import Forbidden, InvalidInput, Misconfigured, Rejected, RunbellError, Unavailable
from integrations.settings import Settings
from integrations.settings_actions import Actions, QueriedDatabase
from orchestration.actions import prepare

CHANGES = [
    "delete from orders", "update orders set price = 0", "insert into orders values (9, 1)", "drop table orders",
    "create table x (i int)", "truncate orders", "with d as (delete from orders returning 1) select * from d",
    "select 1; delete from orders", "explain analyze delete from orders", "-- select\ndelete from orders",
    "/* select */ delete from orders", "commit; delete from orders", "set transaction read write",
    "begin; delete from orders; commit", "select * into x from orders", "copy orders to '/tmp/x'", "vacuum",
    "select set_config('transaction_read_only', 'off', true), (select count(*) from orders)", "call x()", "do $$ $$",
    "select nextval('numbers')", "select pg_read_file('/etc/passwd')", "select lo_create(0)", "attach 'x' as y",
    "pragma writable_schema = 1", "select pg_sleep(60)",
]  # fmt: skip


@pytest.fixture(params=["postgresql", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database with three orders, as a role that may do everything with them but is no superuser."""
    if request.param == "sqlite":
        path = tmp_path / "shop.db"
        with sqlite3.connect(path) as connection:
            connection.executescript(
                "create table orders (id int, price real);insert into orders values (1, 2.5), (2, 5), (3, null)"
            )
        connection.close()
        yield f"sqlite:///{path}"
        return
    url = request.getfixturevalue("database_url")
    role = "reader"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("create table orders (id int, price float)")
        connection.execute("create sequence numbers")
        connection.execute("insert into orders values (1, 2.5), (2, 5), (3, null)")
        connection.execute(f"create role {role} login")
        connection.execute(f"grant all on orders, numbers to {role}; grant create on schema public to {role}")
    yield str(url).replace("://postgres", f"://{role}")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"drop owned by {role}; drop role {role}")


def ask(url: str, statement: str, *, write: bool = False, **parameters: object) -> Rows:
    return query(url, statement, parameters, write=write, max_rows=2, timeout_s=1.0)


def test_rows_come_back_as_plain_values_and_no_more_than_allowed(url: str) -> None:
    rows = ask(url, "select id, price from orders where id >= :least order by id", least=1)

    assert rows == Rows(("id", "price"), ((1, 2.5), (2, 5.0)), more=True)


def test_nothing_can_be_changed_by_any_of_them(url: str) -> None:
    before = ask(url, "select count(*), sum(price) from orders")

    for statement in CHANGES:
        try:
            ask(url, statement)
        except RunbellError as error:
            assert not isinstance(error, Unavailable), statement  # noqa: PT017
        else:  # what may be asked may be answered, but nothing follows from it
            assert "set_config" in statement, statement
        assert ask(url, "select count(*), sum(price) from orders") == before, statement


def test_a_value_is_never_a_part_of_the_statement(url: str) -> None:
    assert ask(url, "select count(*) from orders where id = :id", id=1).rows == ((1,),)
    with pytest.raises(InvalidInput, match="needs the parameters id"):
        ask(url, "select * from orders where id = :id")
    with pytest.raises(InvalidInput, match="no :id"):
        ask(url, "select * from orders", id=1)


def test_a_statement_that_takes_too_long_is_stopped(url: str) -> None:
    slow = "with recursive n(i) as (select 1 union all select i + 1 from n where i < 1000000000) select count(*) from n"

    with pytest.raises(Rejected, match="took longer"):
        ask(url, slow)


def test_where_writing_is_allowed_it_writes(url: str) -> None:
    assert ask(url, "update orders set price = :price where id < 3", write=True, price=1.0).changed == 2

    assert ask(url, "select sum(price) from orders").rows == ((2.0,),)


@pytest.mark.parametrize("statement", ["select * from nothing", "selec 1", "select 'x"])
def test_what_the_database_refuses_is_told(url: str, statement: str) -> None:
    with pytest.raises((Rejected, Forbidden)):
        ask(url, statement)


def test_a_superuser_is_not_used_for_reading(database_url: str) -> None:
    with pytest.raises(Misconfigured, match="superuser"):
        ask(database_url, "select 1")


def test_a_database_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(RunbellError):
        ask(f"sqlite:///{tmp_path}/none.db", "select 1")
    with pytest.raises(Unavailable):
        ask("postgresql://u@127.0.0.1:1/d", "select 1")
    with pytest.raises(Misconfigured):
        ask("mysql://u@127.0.0.1/d", "select 1")


def test_the_preview_shows_the_statement_and_no_values() -> None:
    settings = Settings(actions=Actions(databases={"shop": QueriedDatabase(url="sqlite:///x")}))

    prepared = prepare(
        "sql_query", {"database": "shop", "statement": "select :card", "parameters": {"card": "4711"}}, settings
    )

    assert prepared.effect == "read"
    assert prepared.preview == "would read the database shop: select :card (parameters: card)"
