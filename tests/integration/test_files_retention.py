"""Files of messages: kept as long as something refers to them, deleted then."""

import os
import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from integrations.database import Database, Keep
from integrations.errors import NotFound
from integrations.messages import Address, Attachment, InboundMessage, OutboundMessage

HERE = Address(channel="im", conversation="c1")
DAY = 86_400.0


def kept(database: Database, text: str, *, days: float = 30) -> Attachment:
    file = database.files.put(text.encode(), name="a.txt")
    old = time.time() - days * DAY
    os.utime(database.files.path(file.id), (old, old))
    return file


def sweep(database: Database) -> int:
    return database.files.sweep(database.retention.files(), time.time() - 8 * DAY)


def test_what_nothing_refers_to_goes_and_the_rest_stays(database: Database) -> None:
    asked, told, lost = (kept(database, name) for name in ("asked", "told", "lost"))
    fresh = kept(database, "fresh", days=7)
    said = InboundMessage(address=HERE, event_id="e1", account="ada", text="look", attachments=(asked,))
    database.inbox.receive([said])
    database.outbox.post(OutboundMessage(address=HERE, text="here", attachments=(told,)), key="k")

    assert sweep(database) == 1

    for file in (asked, told, fresh):
        assert database.files.path(file.id).is_file()
    with pytest.raises(NotFound):
        database.files.path(lost.id)


def test_a_file_goes_with_the_last_message_that_refers_to_it(database: Database) -> None:
    file = kept(database, "report")
    database.outbox.post(OutboundMessage(address=HERE, text="here", attachments=(file,)), key="k")
    with database.engine.begin() as connection:
        connection.execute(sa.text("update runbell.outbox set state = 'sent', created_at = now() - interval '31 days'"))
        connection.execute(sa.text("update runbell.transcript set at = now() - interval '366 days'"))

    assert sweep(database) == 0
    database.retention.sweep(Keep())

    assert sweep(database) == 1


def test_a_file_that_is_put_again_is_new(database: Database) -> None:
    file = kept(database, "again")
    database.files.put(b"again", name="b.txt")

    assert sweep(database) == 0
    assert database.files.path(file.id).read_bytes() == b"again"


def test_what_a_crash_left_half_written_goes(database: Database, tmp_path: Path) -> None:
    file = kept(database, "whole")
    half = database.files.path(file.id).with_name(f"{file.id}.0123")
    half.write_bytes(b"ha")
    os.utime(half, (0, 0))

    assert sweep(database) == 2
    assert list((tmp_path / "files").glob("??/*")) == []
