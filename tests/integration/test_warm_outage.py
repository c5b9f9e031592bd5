"""The database goes away, or has no room, in the middle of runs: they go on once it is back."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from psycopg import sql

from integrations.database import Database
from integrations.database.engine import patiently
from integrations.errors import Unavailable
from integrations.messages import Address, InboundMessage, OutboundMessage
from tests.warming import WarmHome, eventually, warm

__all__ = ["warm"]

HERE = Address(channel="rest", conversation="c")


@contextmanager
def away(postgres: str, warm: WarmHome) -> Iterator[None]:
    """Break off all connections to the test's database, and let none in."""
    name = sa.make_url(warm.database.url).database
    assert name is not None
    allow = sql.SQL("alter database {} with allow_connections {}")
    with psycopg.connect(postgres, autocommit=True) as admin:
        admin.execute(allow.format(sql.Identifier(name), sql.Literal(False)))
        admin.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", [name])
        try:
            yield
        finally:
            admin.execute(allow.format(sql.Identifier(name), sql.Literal(True)))


def test_an_op_that_meets_the_database_away_is_tried_again(warm: WarmHome, postgres: str) -> None:
    with warm.worker():
        run_id = warm.request("taking")
        started = warm.folder / f"{run_id}.started"
        eventually(started.exists, "the op is there")
        warm.database.events.send("approved", run_id, {"value": 1})
        eventually(lambda: ("STEP_SUCCESS", "noted") in warm.kinds(run_id), "the op before is stored")
        with away(postgres, warm):
            (warm.folder / f"{run_id}.go").touch()
            eventually((warm.folder / f"{run_id}.failed").exists, "the op has met the outage")

        assert warm.ended(run_id, within_s=60) == "SUCCESS"

    assert (warm.folder / f"{run_id}.noted").read_text() == "x"
    assert started.read_text() == "xx"
    assert "STEP_FAILURE" not in [kind for kind, _ in warm.kinds(run_id)]


def test_a_run_that_meets_the_database_away_between_its_ops_is_resumed(warm: WarmHome, postgres: str) -> None:
    with warm.worker():
        run_id = warm.request("equipped")
        eventually((warm.folder / f"{run_id}.started").exists, "the resource is being made")
        with away(postgres, warm):
            (warm.folder / f"{run_id}.go").touch()
            eventually((warm.folder / f"{run_id}.failed").exists, "the resource has met the outage")
        (warm.folder / f"{run_id}.back").touch()

        assert warm.ended(run_id, within_s=60) == "SUCCESS"


def test_runs_and_their_answers_go_on_through_a_restart_of_the_database(
    own_server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database(own_server.get_uri(), files=tmp_path / "files", pool_size=8)
    home = WarmHome(tmp_path, own_server.get_uri(), database, monkeypatch)
    with home.worker(lease_s=60.0):
        started = [home.message("waiting") for _ in range(3)]
        for _, run_id in started:
            eventually((tmp_path / f"{run_id}.started").exists, "the op waits")
        own_server.stop()
        for _, run_id in started:
            (tmp_path / f"{run_id}.go").touch()
        own_server.start()

        for message_id, run_id in started:
            assert [reply.text for reply in home.answered(message_id, within_s=60).replies] == ["it is 1"]
            assert home.ended(run_id) == "SUCCESS"

    for _, run_id in started:
        assert [(tmp_path / f"{run_id}.{mark}").read_text() for mark in ("noted", "started")] == ["x", "x"]
        assert len(home.kinds(run_id)) == len(set(home.kinds(run_id)))
        queued = database.runs.get(run_id)
        assert queued is not None and queued.attempts == 1  # noqa: PT018 - one fact
    home.instance.dispose()
    database.close()


def test_what_meets_an_outage_is_done_once_and_told_once(warm: WarmHome, postgres: str) -> None:
    inbox, message = warm.database.inbox, InboundMessage(address=HERE, event_id="1", account="ada", text="hi")
    (received,) = inbox.receive([message])

    def answer() -> bool:
        return inbox.answer(str(received.message_id), [OutboundMessage(address=HERE, text="hello")])

    with ThreadPoolExecutor(1) as other:
        with away(postgres, warm):
            with pytest.raises(Unavailable):
                answer()
            answered = other.submit(patiently, answer)

        assert answered.result(60) is True
    assert patiently(answer) is False
    assert [item.message.text for item in warm.database.outbox.find(["queued"])] == ["hello"]


def test_a_full_disk_holds_a_run_up_and_loses_nothing_of_it(warm: WarmHome, caplog: pytest.LogCaptureFixture) -> None:
    with warm.worker():
        message_id, run_id = warm.message("waiting")
        eventually((warm.folder / f"{run_id}.started").exists, "the op waits")
        with no_room(warm):
            (warm.folder / f"{run_id}.go").touch()
            eventually(lambda: "events wait for the database" in caplog.text, "events can't be stored")
            assert warm.status(run_id) == "STARTED"

        view = warm.answered(message_id)
        assert warm.ended(run_id) == "SUCCESS"

    assert [reply.text for reply in view.replies] == ["it is 1"]
    assert (warm.folder / f"{run_id}.noted").read_text() == "x"
    kinds = warm.kinds(run_id)
    assert len(kinds) == len(set(kinds))


@contextmanager
def no_room(warm: WarmHome) -> Iterator[None]:
    """Refuse new events with the error of a server whose disk is full."""
    refuse = "begin raise exception 'could not extend file: No space left on device' using errcode = 'disk_full'; end"
    with warm.database.engine.begin() as connection:
        connection.execute(sa.text(f"create function full_disk() returns trigger language plpgsql as $$ {refuse} $$"))
        connection.execute(sa.text("create trigger full_disk before insert on event_logs execute function full_disk()"))
    try:
        yield
    finally:
        with warm.database.engine.begin() as connection:
            connection.execute(sa.text("drop trigger full_disk on event_logs"))
