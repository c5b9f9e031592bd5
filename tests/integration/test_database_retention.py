"""What is old goes, what is unfinished stays; every table has a rule."""

import sqlalchemy as sa

from integrations.database import Database, Keep
from integrations.database.retention import _RULES
from integrations.database.tables import metadata
from integrations.messages import Address, InboundMessage, OutboundMessage

KEPT_FOR_EVER = {"principals", "accounts", "commands"}


def test_every_table_has_a_retention_or_is_bounded_by_people_and_code() -> None:
    ruled = {rule.table for rule in _RULES}

    assert ruled | KEPT_FOR_EVER == {table.name for table in metadata.tables.values()}


def test_a_sweep_removes_old_finished_messages_and_keeps_open_ones(database: Database) -> None:
    place = Address(channel="rest", conversation="c")
    for event in ("old", "open"):
        message = InboundMessage(
            address=place.model_copy(update={"conversation": event}), event_id=event, account="a", text=event
        )
        database.inbox.receive([message])
    old = next(c for c in database.inbox.claim("w", limit=2) if c.message.event_id == "old")
    reply = OutboundMessage(address=old.message.address, text="hi")
    database.inbox.settle(old, [reply], principal_id="p")
    with database.engine.begin() as connection:
        connection.execute(sa.text("update runbell.inbox set accepted_at = now() - interval '400 days'"))

    gone = database.retention.sweep(Keep())

    assert gone["inbox"] == 1
    assert database.inbox.get(old.message_id) is None
    with database.engine.connect() as connection:
        assert connection.scalars(sa.text("select event_id from runbell.inbox")).all() == ["open"]


def test_words_go_before_the_facts(database: Database) -> None:
    message = InboundMessage(address=Address(channel="rest", conversation="c"), event_id="e", account="a", text="words")
    database.inbox.receive([message])
    (claimed,) = database.inbox.claim("w")
    database.inbox.settle(claimed, [OutboundMessage(address=message.address, text="hi")], principal_id="p")
    with database.engine.begin() as connection:
        connection.execute(sa.text("update runbell.inbox set accepted_at = now() - interval '31 days'"))

    assert database.retention.sweep(Keep())["inbox words"] == 1

    view = database.inbox.get(claimed.message_id)
    assert view is not None
    assert view.text == ""
