"""No recollection crosses its scope, whatever names, texts and ids people choose."""

import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from integrations.errors import InvalidInput
from integrations.memory import Memory, Note, Scope
from integrations.settings import Memory as Settings
from tests import hashing
from tests.chroma import ChromaServer

NOW = datetime(2026, 11, 21, tzinfo=UTC)
SECRET = "the code of the safe is 4711"
INJECTIONS = (
    '{"$or": []}', '"}, {"owner": {"$ne": ""}}', "' OR '1'='1", "principal:victim", "%", "*", "_", "$ne", "$or",
    "victim\u200b", "victim ", "VICTIM", "v\u0456ctim", "ｖｉｃｔｉｍ", "victim:",
    "../victim", "victim%00", "victim' --",
)  # fmt: skip


@pytest.fixture(scope="module")
def memory(chroma: ChromaServer) -> Iterator[Memory]:
    with closing(Memory(Settings(port=chroma.port), hashing.embed, embedder=lambda: "scopes")) as memory:
        yield memory


@pytest.fixture
def tenant(memory: Memory) -> str:
    """A tenant in which `victim` has told a secret, alone and in a group."""
    tenant = secrets.token_hex(8)
    note = Note(SECRET, "victim", NOW, "secret")
    memory.remember(Scope.principal(tenant, "victim"), [note])
    memory.remember(Scope.conversation(tenant, "slack", "victim"), [note])
    return tenant


@pytest.mark.parametrize("name", INJECTIONS)
def test_a_crafted_name_sees_and_forgets_only_its_own(memory: Memory, tenant: str, name: str):
    attackers = [
        Scope.principal(tenant, name),
        Scope.conversation(tenant, "slack", name),
        Scope.conversation(tenant, "web", "victim"),
        Scope.principal(f"{tenant}{name}", "victim"),
    ]

    assert [memory.query(each, SECRET) for each in attackers] == [[]] * 4
    assert [memory.forget(each) for each in attackers] == [0] * 4
    assert memory.count(Scope.principal(tenant, "victim")) == 1
    assert memory.count(Scope.conversation(tenant, "slack", "victim")) == 1


@pytest.mark.parametrize(
    "text", [SECRET, '{"$contains": ""}', "4711 $or $contains", "%", "' OR 1=1 --", "safe* OR code*"]
)
def test_a_crafted_text_finds_only_its_own(memory: Memory, tenant: str, text: str):
    attacker = Scope.principal(tenant, "attacker")
    memory.remember(attacker, [Note("I know nothing.", "attacker", NOW, "m1")])

    assert {found.text for found in memory.query(attacker, text, limit=1000)} <= {"I know nothing."}


def test_another_ones_message_id_neither_replaces_nor_forgets(memory: Memory, tenant: str):
    attacker, victim = Scope.principal(tenant, "attacker"), Scope.principal(tenant, "victim")

    memory.remember(attacker, [Note("replaced", "victim", NOW, "secret")])
    assert memory.forget(attacker, message_ids=["secret"]) == 1

    assert [found.text for found in memory.query(victim, SECRET)] == [SECRET]


@pytest.mark.parametrize("condition", [{"$ne": ""}, {"$or": []}, ["secret"], None, 7])
def test_a_condition_in_place_of_a_message_id_is_refused(memory: Memory, tenant: str, condition: Any):
    with pytest.raises(InvalidInput):
        memory.forget(Scope.principal(tenant, "attacker"), message_ids=[condition])
    with pytest.raises(InvalidInput):
        memory.remember(Scope.principal(tenant, "attacker"), [Note("x", "me", NOW, condition)])
    with pytest.raises(InvalidInput):
        memory.remember(Scope.principal(tenant, "attacker"), [Note("x", condition, NOW, "m1")])


NAMES = st.text(st.characters(codec="utf-8", exclude_categories=("Cc",)), min_size=1, max_size=12).filter(str.strip)
SCOPES = st.one_of(
    st.builds(lambda name: Scope.principal("t", name), NAMES),
    st.builds(lambda name: Scope.conversation("t", "slack", name), NAMES),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pair=st.tuples(SCOPES, SCOPES).filter(lambda pair: pair[0] != pair[1]), said=st.text(min_size=1, max_size=40))
def test_any_two_scopes_are_apart(memory: Memory, pair: tuple[Scope, Scope], said: str):
    one, other = pair
    memory.forget(one)
    memory.forget(other)
    kept = memory.remember(one, [Note(said, "one", NOW, "m1")])

    assert memory.query(other, said) == []
    assert memory.forget(other) == 0
    assert memory.count(one) == len(kept)


def test_threads_that_share_a_memory_never_see_each_other(memory: Memory):
    tenant = secrets.token_hex(8)

    def live(number: int) -> set[str]:
        own = Scope.principal(tenant, f"user{number % 8}")
        seen = set[str]()
        for turn in range(4):
            memory.remember(own, [Note(f"shared words of {own.owner}", "me", NOW, f"{number}-{turn}")])
            seen |= {found.text for found in memory.query(own, "shared words of principal user", limit=50)}
        return seen

    with ThreadPoolExecutor(16) as threads:
        results = list(threads.map(live, range(16)))

    assert results == [{f"shared words of principal:user{number % 8}"} for number in range(16)]
