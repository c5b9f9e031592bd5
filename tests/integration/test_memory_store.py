"""Remembering, finding and forgetting, with a real Chroma server."""

import secrets
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import pytest

from integrations.errors import InvalidInput
from integrations.memory import Bounds, Memory, Note, Scope
from integrations.memory.store import Embed, UnknownShare
from integrations.settings import Memory as Settings
from tests import hashing
from tests.chroma import ChromaServer

NOW = datetime(2026, 11, 21, 8, tzinfo=UTC)


class Open(Protocol):
    def __call__(
        self, embed: Embed = hashing.embed, unknown_share: UnknownShare | None = None, **options: Any
    ) -> Memory: ...


@pytest.fixture
def open_memory(chroma: ChromaServer) -> Iterator[Open]:
    with ExitStack() as stack:

        def open_one(embed: Embed = hashing.embed, unknown_share: UnknownShare | None = None, **options: Any) -> Memory:
            memory = Memory(
                Settings(port=chroma.port), embed, unknown_share, **({"embedder": lambda: "hashing"} | options)
            )
            return stack.enter_context(closing(memory))

        yield open_one


@pytest.fixture
def memory(open_memory: Open) -> Memory:
    return open_memory()


@pytest.fixture
def scope() -> Scope:
    return Scope.principal("default", secrets.token_hex(8))


def note(text: str, message_id: str = "m1", source: str = "Anna", at: datetime = NOW) -> Note:
    return Note(text, source, at, message_id)


def test_what_was_said_is_found_with_its_source(memory: Memory, scope: Scope):
    memory.remember(scope, [note("My dog is called Rex.", "m1"), note("The review is in Berlin.", "m2", "Bob")])

    found = memory.query(scope, "what is my dog called?")

    assert (found[0].text, found[0].source, found[0].message_id, found[0].at) == (
        "My dog is called Rex.",
        "Anna",
        "m1",
        NOW,
    )
    assert found[0].score > found[-1].score


def test_chinese_is_found_where_the_embedder_can_not_read_it(open_memory: Open, scope: Scope):
    blind = open_memory(lambda texts: [[1.0, 0.0]] * len(texts), lambda texts: [1.0] * len(texts))
    blind.remember(scope, [note(f"第{number}件事与此无关", f"m{number}") for number in range(60)])
    blind.remember(scope, [note("项目的截止日期是十二月十五日", "deadline")])

    assert blind.query(scope, "截止日期是什么时候", limit=1)[0].message_id == "deadline"


def test_words_are_found_where_the_vectors_say_nothing(open_memory: Open, scope: Scope):
    blind = open_memory(hashing.embed_whole, embedder=lambda: "whole")
    blind.remember(scope, [note(f"remark {number}", f"m{number}") for number in range(60)])
    blind.remember(scope, [note("Invoice KX-4711 is overdue.", "invoice")])

    assert blind.query(scope, "what about invoice kx-4711", limit=1)[0].message_id == "invoice"


def test_remembering_twice_changes_nothing(memory: Memory, scope: Scope):
    notes = [note("My dog is called Rex."), note("Noted.", source="Runbell")]

    first, second = memory.remember(scope, notes), memory.remember(scope, notes)

    assert first == second
    assert memory.count(scope) == 2


def test_a_corrected_text_replaces_the_old_one(memory: Memory, scope: Scope):
    memory.remember(scope, [note("A long story. " * 300), note("another", "m2")])

    memory.remember(scope, [note("A short story.")])

    assert memory.count(scope) == 2


def test_a_long_text_is_found_by_its_passage(memory: Memory, scope: Scope):
    filler = "Nothing of interest happens in this paragraph at all. " * 30
    memory.remember(scope, [note(f"{filler}\n\nThe password of the vault is swordfish.\n\n{filler}")])

    best = memory.query(scope, "password of the vault")[0]

    assert "swordfish" in best.text
    assert len(best.text) < 1000


def test_equal_passages_are_returned_once(memory: Memory, scope: Scope):
    memory.remember(scope, [note("thank you", f"m{number}") for number in range(20)])

    assert len(memory.query(scope, "thank you")) == 1


def test_blank_texts_are_neither_kept_nor_looked_for(memory: Memory, scope: Scope):
    assert memory.remember(scope, [note(" \n ")]) == []
    assert memory.query(scope, "   ") == []


@pytest.mark.parametrize(
    "text", ["nul \0 in it", "half a pair \ud83d", "\u202egnirts a", "😀" * 50, "' or 1=1; --", "%_*?[]\\"]
)
def test_odd_texts_are_kept_and_looked_for(memory: Memory, scope: Scope, text: str):
    assert len(memory.remember(scope, [note(text)])) == 1
    memory.query(scope, text)
    assert memory.count(scope) == 1


def test_forgetting_removes_everything_of_the_scope(memory: Memory, scope: Scope):
    other = Scope.principal("default", secrets.token_hex(8))
    memory.remember(scope, [note(f"remark {number}", f"m{number}") for number in range(250)])
    memory.remember(other, [note("mine")])

    assert memory.forget(scope) == 250

    assert memory.count(scope) == 0
    assert memory.query(scope, "remark 7") == []
    assert memory.count(other) == 1
    assert memory.forget(scope) == 0


def test_what_is_forgotten_stands_in_no_table_of_the_server(chroma: ChromaServer, memory: Memory, scope: Scope):
    word = f"swordfish{secrets.token_hex(8)}"
    memory.remember(scope, [note(f"The password is {word}.")])
    assert _tables_with(chroma.folder / "chroma.sqlite3", word)

    memory.forget(scope)

    assert _tables_with(chroma.folder / "chroma.sqlite3", word) == []


def test_forgetting_some_messages_leaves_the_others(memory: Memory, scope: Scope):
    memory.remember(scope, [note("one", "m1"), note("two", "m2"), note("three", "m3")])

    assert memory.forget(scope, message_ids=["m1", "m3", "unknown"]) == 2
    assert [found.text for found in memory.query(scope, "one two three")] == ["two"]


def test_forgetting_no_messages_forgets_nothing(memory: Memory, scope: Scope):
    memory.remember(scope, [note("one")])

    assert memory.forget(scope, message_ids=[]) == 0
    assert memory.count(scope) == 1
    with pytest.raises(InvalidInput):
        memory.forget(scope, message_ids="m1")


def test_forgetting_reaches_what_an_earlier_embedder_left(open_memory: Open, memory: Memory, scope: Scope):
    memory.remember(scope, [note("old")])
    renewed = open_memory(lambda texts: [[1.0, 0.0, 0.0]] * len(texts), embedder=lambda: "newer")
    renewed.remember(scope, [note("new")])

    assert renewed.forget(scope) == 2
    assert memory.count(scope) == 0


def test_what_an_embedder_finds_is_its_own_also_where_it_changes_in_a_living_process(open_memory: Open, scope: Scope):
    names = ["older"]
    memory = open_memory(embedder=lambda: names[0])
    memory.remember(scope, [note("My dog is called Rex.")])

    names[0] = "newer"

    assert memory.query(scope, "My dog is called Rex.") == []
    assert memory.count(scope) == 1


def test_the_oldest_passages_make_room(open_memory: Open, scope: Scope):
    small = open_memory(bounds=Bounds(passages_per_scope=10))
    for number in range(15):
        small.remember(scope, [note(f"remark {number}", f"m{number}", at=NOW + timedelta(minutes=number))])

    kept = {found.text for found in small.query(scope, "remark", limit=20)}

    assert kept == {f"remark {number}" for number in range(5, 15)}


def test_a_huge_text_is_kept_up_to_a_bound(open_memory: Open, scope: Scope):
    small = open_memory(bounds=Bounds(passages_per_note=4))

    assert len(small.remember(scope, [note("line of a log\n" * 10_000)])) == 4


def test_retention_drops_what_is_old_in_all_scopes(memory: Memory, scope: Scope):
    other = Scope.conversation("default", "slack", secrets.token_hex(8))
    ancient = datetime(2001, 1, 1, tzinfo=UTC)
    for each in (scope, other):
        memory.remember(each, [note("old", "m1", at=ancient), note("new", "m2")])

    assert memory.expire(ancient + timedelta(days=1)) == 2
    assert [memory.query(each, "old new")[0].text for each in (scope, other)] == ["new", "new"]


def test_sixteen_threads_remember_and_find_at_once(memory: Memory):
    scopes = [Scope.principal("default", secrets.token_hex(8)) for _ in range(16)]

    def live(number: int) -> list[str]:
        own = scopes[number]
        for turn in range(6):
            memory.remember(own, [note(f"owner {number} turn {turn}", f"m{turn}")])
        return [found.text for found in memory.query(own, "owner turn", limit=20)]

    with ThreadPoolExecutor(16) as threads:
        results = list(threads.map(live, range(16)))

    assert [set(texts) for texts in results] == [
        {f"owner {number} turn {turn}" for turn in range(6)} for number in range(16)
    ]


def test_an_instant_without_a_time_zone_is_refused(memory: Memory, scope: Scope):
    with pytest.raises(InvalidInput):
        memory.remember(scope, [note("x", at=datetime(2026, 1, 1))])  # noqa: DTZ001


def _tables_with(path: Path, word: str) -> list[str]:
    """Return the tables of Chroma's own database, its write-ahead log included, in which the word stands."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        tables = [row[0] for row in database.execute("select name from sqlite_master where type = 'table'")]
        return [
            table for table in tables if any(word in str(row) for row in database.execute(f"select * from {table}"))
        ]
