"""Events start jobs, once each: webhooks through a real inbox, rows of a real PostgreSQL, files of a real folder."""

import itertools
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import psycopg
import pytest
import sqlalchemy as sa
from pydantic import Field
from standardwebhooks import Webhook as Signer

from integrations.channels import Accepted, Call
from integrations.channels.webhook import SignedWebhook, Source
from integrations.channels.webhook.verify import StandardSignature
from integrations.database import Database
from integrations.errors import RunbellError
from integrations.messages import InboundMessage, MessageStatus
from integrations.settings import Settings
from integrations.settings_actions import Actions, QueriedDatabase
from integrations.settings_channels import Channels, Webhook
from orchestration.commands.catalogue import compile_job
from orchestration.commands.dispatch import Dispatcher
from orchestration.events import Event, files, on_event, rows, webhook
from orchestration.events.declaring import result_of
from orchestration.events.seam import MOST
from orchestration.events.seam import Source as Events

SECRET = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NUMBERS = itertools.count()


class Order(dg.Config):
    id: int = Field(ge=1)


@dg.op
def ship_op(config: Order) -> str:
    return str(config.id)


@dg.job
def ship() -> None:
    ship_op()


class Sensor:
    """Looks again and again, as the daemon does: the cursor is kept only where the tick went well."""

    def __init__(self, source: Events, database: Database, settings: Settings, when: Mapping[str, str] | None = None):
        self.source, self.database, self.settings, self.when = source, database, settings, when or {}
        self.cursor: str | None = None

    def look(self, *, dies: bool = False) -> list[str | None]:
        """Return the keys of the runs that are asked for; where the daemon dies, the cursor stays."""
        spec = compile_job(ship, "")
        result = result_of(
            self.source, self.when, spec, lambda event: {"id": 1}, self.cursor, self.database, self.settings
        )
        if not dies:
            self.cursor = result.cursor
        return [request.run_key for request in result.run_requests or []]


@pytest.fixture
def shop(database_url: str) -> Iterator[str]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("create table orders (id int primary key, state text, changed_at timestamptz)")
        connection.execute("insert into orders values (1, 'old', '2026-01-01')")
        connection.execute("create role shop_reader login; grant select on orders to shop_reader")
    yield database_url
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("drop owned by shop_reader; drop role shop_reader")


@pytest.fixture
def settings(shop: str, tmp_path: Path) -> Settings:
    reader = QueriedDatabase(url=shop.replace("://postgres", "://shop_reader"))
    hooks = Channels(webhook={"shop": Webhook(secret=SECRET, events=True), "chatty": Webhook(secret=SECRET)})
    return Settings(home=tmp_path, actions=Actions(databases={"shop": reader}), channels=hooks)


def execute(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement)


@pytest.mark.parametrize("column", ["changed_at", "id"])
def test_rows_that_come_are_events_once_each_from_where_the_last_look_ended(database, settings, shop, column):
    sensor = Sensor(rows("shop", "orders", watermark=column, key="id"), database, settings)
    first = sensor.look()
    execute(shop, "insert into orders values (2, 'new', '2026-01-02'), (3, 'new', '2026-01-02')")
    cut_off, again, then = sensor.look(dies=True), sensor.look(), sensor.look()
    # Another row of the very same instant comes later.
    execute(shop, "insert into orders values (4, 'new', '2026-01-02')")

    assert first == []
    assert cut_off == again
    assert [key.split(":")[1] for key in again] == ["2", "3"]
    assert then == []
    assert [key.split(":")[1] for key in sensor.look()] == ["4"]
    assert sensor.look() == []


def test_a_row_that_changes_again_is_another_event_and_only_those_that_fit_count(database, settings, shop):
    source = rows("shop", "orders", watermark="changed_at", key="id", from_start=True)
    sensor = Sensor(source, database, settings, {"state": "paid"})
    first = sensor.look()
    execute(shop, "update orders set state = 'paid', changed_at = '2026-02-01'")
    paid = sensor.look()
    execute(shop, "update orders set changed_at = '2026-02-02'")
    again = sensor.look()

    assert first == []
    assert len(paid) == len(again) == 1
    assert paid != again
    assert sensor.look() == []


def test_a_look_takes_a_bounded_number_and_the_next_ones_take_the_rest(database, settings, shop):
    sensor = Sensor(rows("shop", "orders", watermark="id", key="id"), database, settings)
    sensor.look()
    execute(shop, "insert into orders select n, 'new', '2026-01-02' from generate_series(2, 251) as n")
    looks = [sensor.look() for _ in range(4)]

    assert [len(look) for look in looks] == [MOST, MOST, 50, 0]
    assert len({key for look in looks for key in look}) == 250


def test_files_are_events_once_they_are_whole_and_again_when_they_change(database, settings, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "old.csv").write_text("1")
    sensor = Sensor(files(f"{folder}/*.csv"), database, settings)
    looks = [sensor.look()]
    (folder / "a.csv").write_text("1,")
    looks.append(sensor.look())
    (folder / "a.csv").write_text("1,2,3")  # it was still being written
    (folder / "b.txt").write_text("no csv")
    looks.append(sensor.look())
    cut_off, whole = sensor.look(dies=True), sensor.look()
    (folder / "a.csv").write_text("1,2,3,4")
    (folder / "old.csv").unlink()
    looks += [sensor.look()]
    changed = sensor.look()

    assert looks == [[], [], [], []]
    assert cut_off == whole
    assert [str(key).split(":")[0] for key in whole] == ["a.csv"]
    assert len(changed) == 1
    assert changed != whole
    assert sensor.look() == []


class Posting:
    """Posts signed webhooks to the channel, stores them, and lets the dispatcher have them."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self.database = database
        signature = StandardSignature([SECRET])
        sources = {name: Source(signature, events=one.events) for name, one in settings.channels.webhook.items()}
        self.channel = SignedWebhook(sources)
        self.dispatch = Dispatcher(database, settings, worker="w1")

    async def post(self, document: object, *, event_id: str | None = None, source: str = "shop") -> str:
        body, now = json.dumps(document), datetime.now(UTC)
        event_id = event_id or f"evt_{next(NUMBERS)}"
        signed = Signer(SECRET).sign(event_id, now, body)
        headers = {"webhook-id": event_id, "webhook-timestamp": str(int(now.timestamp())), "webhook-signature": signed}

        async def receive(message: InboundMessage) -> Accepted:
            (received,) = self.database.inbox.receive([message])
            return Accepted(str(received.message_id), duplicate=not received.fresh)

        call = Call(params={"source": source}, query={}, headers=headers, body=body.encode())
        answer = await self.channel.accept(call, receive)
        for claimed in self.database.inbox.claim("w1", limit=9):
            self.dispatch(claimed)
        return str(answer.content["message_id"])


async def test_a_signed_webhook_starts_every_job_that_waits_for_it_once_and_is_not_answered(database, settings):
    posting = Posting(database, settings)
    first = Sensor(webhook("shop"), database, settings, {"type": "order.paid", "data.items.0.kind": "book"})
    second = Sensor(webhook("shop"), database, settings)
    first.look(), second.look()

    document = {"type": "order.paid", "data": {"items": [{"kind": "book"}]}}
    message_id = await posting.post(document, event_id="evt_paid")
    await posting.post(document, event_id="evt_paid")
    await posting.post({"type": "order.lost"}, event_id="evt_lost")
    cut_off, again = first.look(dies=True), first.look()

    assert cut_off == again == ["shop:evt_paid"]
    assert second.look() == ["shop:evt_paid", "shop:evt_lost"]
    assert first.look() == second.look() == []
    view = database.inbox.get(message_id)
    assert view is not None
    assert view.status is MessageStatus.ANSWERED
    assert view.replies == ()


async def test_an_event_that_becomes_visible_after_a_later_one_is_not_lost(database, settings):
    posting = Posting(database, settings)
    sensor = Sensor(webhook("shop"), database, settings)
    sensor.look()
    early = await posting.post({"n": 1}, event_id="evt_early")
    with database.engine.begin() as connection:  # as if its transaction were still open
        connection.execute(sa.text("update runbell.inbox set conversation = 'later' where id = :id"), {"id": early})
    await posting.post({"n": 2}, event_id="evt_late")
    before = sensor.look()
    with database.engine.begin() as connection:
        connection.execute(sa.text("update runbell.inbox set conversation = 'shop' where id = :id"), {"id": early})

    assert before == ["shop:evt_late"]
    assert sensor.look() == ["shop:evt_early"]


def test_what_can_not_be_looked_at_says_what_to_do(database, settings):
    for source, told in (
        (webhook("chatty"), "set events = true"),
        (rows("other", "orders", watermark="id", key="id"), r"\[actions.databases.other\]"),
        (rows("shop", "nothing", watermark="id", key="id"), "does not exist"),
        (files("nowhere://x/*"), "can't be read"),
    ):
        with pytest.raises(RunbellError, match=told):
            source.look(None, database, settings)
    with pytest.raises(ValueError, match="no name of a table"):
        rows("shop", "orders; drop table orders", watermark="id", key="id")


def test_arguments_that_do_not_fit_fail_the_tick_and_lose_nothing(database, settings, shop):
    source = rows("shop", "orders", watermark="id", key="id", from_start=True)
    spec = compile_job(ship, "")

    with pytest.raises(dg.Failure, match=r"event orders:1:1: id: expected"):
        result_of(source, {}, spec, lambda event: {"id": "none"}, None, database, settings)

    good = result_of(source, {}, spec, lambda event: {"id": event["id"]}, None, database, settings)
    assert [request.run_config for request in good.run_requests or []] == [{"ops": {"ship_op": {"config": {"id": 1}}}}]


def test_a_sensor_is_made_that_dagster_takes() -> None:
    @on_event(files("/srv/in/*.csv"), {"name": "a.csv"}, job=ship)
    def csv_arrived(event: Event) -> dict[str, object]:
        """Ship what a file asks for."""
        return {"id": event["size"]}

    found = dg.Definitions(jobs=[ship], sensors=[csv_arrived]).get_repository_def().get_sensor_def("csv_arrived")

    assert found.job_name == "ship"
    assert found.default_status is dg.DefaultSensorStatus.RUNNING
    assert "files /srv/in/*.csv" in str(found.description)
