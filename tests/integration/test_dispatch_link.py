"""`/link`: one principal on several networks, on a real PostgreSQL."""

import itertools
import re

import pytest
import sqlalchemy as sa

from integrations.database import Database
from integrations.database.linking import ALPHABET
from integrations.memory.values import Scope
from integrations.messages import Address, InboundMessage, Principal
from integrations.settings import Settings
from orchestration.commands.dispatch import Dispatcher

EVENTS = itertools.count()


class RecordedMemory:
    """Remembers which scopes were forgotten."""

    def __init__(self) -> None:
        self.forgotten: list[Scope] = []

    def forget(self, scope: Scope) -> int:
        self.forgotten.append(scope)
        return 1


class People:
    """Says things on networks, and tells what was answered."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.memory = RecordedMemory()
        self._dispatch = Dispatcher(database, Settings(), worker="w1", memory=self.memory)

    def say(self, channel: str, account: str, text: str, *, conversation: str = "", direct: bool = True) -> str:
        address = Address(channel=channel, conversation=conversation or f"dm-{account}")
        said = InboundMessage(
            address=address,
            event_id=f"e{next(EVENTS)}",
            account=account,
            account_name="Ada",
            text=text,
            direct=direct,
        )
        self.database.inbox.receive([said])
        (claimed,) = self.database.inbox.claim("w1")
        assert self._dispatch(claimed) is None
        view = self.database.inbox.get(claimed.message_id)
        assert view is not None
        return "\n".join(reply.text for reply in view.replies)

    def code(self, channel: str, account: str) -> str:
        found = re.search(rf"`/link ([{ALPHABET}]{{4}}-[{ALPHABET}]{{4}})`", self.say(channel, account, "/link"))
        assert found
        return found[1]

    def who(self, channel: str, account: str) -> Principal:
        return self.database.principals.resolve("default", channel, account)

    def change(self, statement: str) -> None:
        with self.database.engine.begin() as connection:
            connection.execute(sa.text(statement))
        self.database.principals.refresh()


@pytest.fixture
def people(database: Database) -> People:
    return People(database)


def test_a_code_ties_the_account_that_types_it_and_tells_its_owner(people: People) -> None:
    code = people.code("slack", "U1")
    own = people.who("telegram", "7").id

    answer = people.say("telegram", "7", f"/link {code.lower().replace('-', ' ')}")

    assert "Ada (slack)" in answer
    assert people.who("telegram", "7").id == people.who("slack", "U1").id != own
    told = [item.message for item in people.database.outbox.find(["queued"]) if item.message.kind == "notice"]
    assert [(one.address.channel, one.address.conversation) for one in told] == [("slack", "dm-U1")]
    assert "`/link remove telegram 7`" in told[0].text
    listed = people.say("telegram", "7", "/link list")
    assert "slack `U1`" in listed
    assert "telegram `7` (this one, tied)" in listed


def test_a_code_works_once(people: People) -> None:
    code = people.code("slack", "U1")
    people.say("telegram", "7", f"/link {code}")

    assert "wrong, used" in people.say("telegram", "8", f"/link {code}")
    assert "🔗" in people.say("telegram", "7", f"/link {code}")
    assert people.who("telegram", "8").id != people.who("slack", "U1").id


@pytest.mark.parametrize(
    "ended",
    [
        "update runbell.link_codes set expires_at = now()",
        "update runbell.principals set disabled_at = now() where id = (select principal_id from runbell.link_codes)",
    ],
)
def test_a_code_ends_after_ten_minutes_and_with_its_owner(people: People, ended: str) -> None:
    code = people.code("slack", "U1")
    people.who("telegram", "7")
    people.change(ended)

    assert "wrong, used" in people.say("telegram", "7", f"/link {code}")


def test_a_newer_code_ends_the_older_one(people: People) -> None:
    first, second = people.code("slack", "U1"), people.code("slack", "U1")

    assert "wrong, used" in people.say("telegram", "7", f"/link {first}")
    assert "🔗" in people.say("telegram", "7", f"/link {second}")


def test_five_attempts_are_all(people: People) -> None:
    for _ in range(5):
        assert "wrong" in people.say("telegram", "7", "/link AAAA-BBBB")
    code = people.code("slack", "U1")

    assert "Too many" in people.say("telegram", "7", f"/link {code}")
    assert "🔗" in people.say("telegram", "8", f"/link {code}")


def test_no_code_is_shown_or_taken_in_a_group(people: People) -> None:
    code = people.code("slack", "U1")

    assert "never in a group" in people.say("slack", "U1", "/link", conversation="C1", direct=False)
    assert "never in a group" in people.say("telegram", "7", f"/link {code}", conversation="-100", direct=False)
    assert "wrong, used" in people.say("telegram", "8", f"/link {code}")


def test_codes_are_stored_as_digests(people: People) -> None:
    code = people.code("slack", "U1").replace("-", "").encode()

    with people.database.engine.begin() as connection:
        (row,) = connection.execute(sa.text("select * from runbell.link_codes")).all()
    assert all(code not in str(value).encode() for value in row)


def test_an_administrator_is_not_tied_to_somebody_who_may_less(people: People) -> None:
    people.database.principals.resolve("default", "telegram", "1", name="Root", roles=("admin", "user"))
    code, other = people.code("slack", "U1"), people.code("telegram", "1")

    assert "other way round" in people.say("telegram", "1", f"/link {code}")
    assert "🔗" in people.say("slack", "U1", f"/link {other}")
    assert people.who("slack", "U1").roles == ("admin", "user")


def test_an_own_code_ties_nothing(people: People) -> None:
    assert "your own" in people.say("slack", "U1", f"/link {people.code('slack', 'U1')}")


def test_untied_an_account_is_who_it_was_and_its_conversations_go_with_it(people: People) -> None:
    people.say("telegram", "7", "/whoami")
    before = people.who("telegram", "7").id
    people.say("telegram", "7", f"/link {people.code('slack', 'U1')}")
    tied = people.who("slack", "U1").id
    conversation = Address(channel="telegram", conversation="dm-7")
    assert people.database.transcript.owner(conversation) == (True, tied)

    assert "on its own again" in people.say("slack", "U1", "/link remove telegram 7")

    assert people.who("telegram", "7").id == before
    assert people.database.transcript.owner(conversation) == (True, before)
    assert "not tied" in people.say("slack", "U1", "/link remove telegram 7")
    assert "not tied" in people.say("slack", "U1", "/link remove")


def test_nobody_unties_what_is_not_theirs(people: People) -> None:
    people.say("telegram", "7", f"/link {people.code('slack', 'U1')}")

    assert "not tied to you" in people.say("slack", "U2", "/link remove telegram 7")
    assert people.who("telegram", "7").id == people.who("slack", "U1").id


def test_forgetting_takes_what_a_tied_account_was_before_and_no_group(people: People) -> None:
    own = people.who("telegram", "7").id
    people.say("telegram", "7", f"/link {people.code('slack', 'U1')}")

    people.say("slack", "U1", "/forget yes")

    mine = people.who("slack", "U1").id
    assert people.memory.forgotten == [Scope.principal("default", mine), Scope.principal("default", own)]


def test_a_name_ties_nobody(people: People) -> None:
    people.say("telegram", "7", f"/link {people.code('slack', 'U1')}")
    people.say("telegram", "9", "/whoami")

    assert people.who("telegram", "9").name == people.who("slack", "U1").name
    assert people.who("telegram", "9").id != people.who("slack", "U1").id
