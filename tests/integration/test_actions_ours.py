"""Actions on Runbell itself: posts, commands, the model, the memory; each for the principal who asked, once."""

import dataclasses
from collections.abc import Callable

import pytest

from integrations.database import Database, StoredCommand
from integrations.errors import Forbidden, InvalidInput, NotFound, TemporaryError, Unavailable
from integrations.memory import Memory, Note, Scope
from integrations.messages import Address, InboundMessage, Principal, utc_now
from integrations.settings import Memory as MemorySettings
from integrations.settings import Settings
from orchestration.actions import Arguments, Means, Occasion, Outcome, Prepared, names, prepare
from serving.client import ScriptedModels
from tests.chroma import ChromaServer

HERE = Address(channel="rest", conversation="here")


class Parts:
    """The means of an action in a test."""

    def __init__(self, database: Database, memory: Memory | None = None) -> None:
        self.settings = Settings()
        self.database = database
        self.memory = memory
        self.models = ScriptedModels(["Paris"])


@pytest.fixture
def ada(database: Database) -> Occasion:
    principal = database.principals.resolve("default", "rest", "ada", name="Ada")
    return Occasion(
        principal=principal, account="ada", address=HERE, scope=Scope.principal("default", principal.id), key="run1.op"
    )


@pytest.fixture
def act(database: Database) -> Callable[..., Outcome]:
    def act(occasion: Occasion, action: str, **arguments: object) -> Outcome:
        return prepare(action, arguments, Settings()).carry_out(Parts(database), occasion)  # type: ignore[arg-type]

    return act


def test_all_actions_are_found_by_their_files() -> None:
    assert names() == [
        "ask_model", "http_request", "run_script", "search_memory", "send_message", "sql_query", "start_command",
        "wait",
    ]  # fmt: skip


def test_a_message_is_posted_once_for_its_key(act: Callable[..., Outcome], ada: Occasion, database: Database) -> None:
    first = act(ada, "send_message", text="disk full")
    second = act(ada, "send_message", text="disk full")

    assert (first.data["fresh"], second.data["fresh"]) == (True, False)
    assert [entry.text for entry in database.transcript.recent(HERE)] == ["disk full"]


def test_others_conversations_are_not_posted_into(
    act: Callable[..., Outcome], ada: Occasion, database: Database
) -> None:
    there = {"channel": "rest", "conversation": "bobs"}

    with pytest.raises(Forbidden):
        act(ada, "send_message", text="hi", **there)

    admin = dataclasses.replace(ada, principal=Principal(id="a", tenant="default", name="a", roles=("admin",)))
    act(admin, "send_message", text="hi", **there)
    assert [e.text for e in database.transcript.recent(Address(**there))] == ["hi"]


@pytest.fixture
def digest(database: Database) -> None:
    spec = {
        "name": "digest", "location": "core", "job": "digest", "description": "d", "aliases": ["日报"],
        "arguments": [{"name": "limit", "path": ["ops", "d", "config", "limit"], "json_schema": {"type": "integer"}}],
    }  # fmt: skip
    database.commands.replace("core", [StoredCommand("digest", "core", "digest", spec)])


@pytest.mark.usefixtures("digest")
def test_a_command_is_started_as_the_same_principal_once(
    act: Callable[..., Outcome], ada: Occasion, database: Database
) -> None:
    first = act(ada, "start_command", command="/日报", args={"limit": 3})
    second = act(ada, "start_command", command="digest", args={"limit": 3})

    claimed = database.inbox.claim("w", limit=5, lease_s=10)
    message: InboundMessage = claimed[0].message
    assert len(claimed) == 1
    assert (message.command, message.args, message.account, message.address) == ("digest", {"limit": 3}, "ada", HERE)
    assert first.data["run_id"] == second.data["run_id"]


@pytest.mark.usefixtures("digest")
def test_a_command_that_is_started_in_a_group_leaves_it_a_group(
    act: Callable[..., Outcome], ada: Occasion, database: Database
) -> None:
    database.inbox.receive([InboundMessage(address=HERE, event_id="e1", account="ada", text="hi", direct=False)])
    (said,) = database.inbox.claim("w", limit=5, lease_s=10)
    database.inbox.settle(said, [], principal_id=ada.principal.id)

    act(ada, "start_command", command="digest", args={"limit": 3})

    (started,) = database.inbox.claim("w", limit=5, lease_s=10)
    database.inbox.settle(started, [], principal_id=ada.principal.id)
    assert not started.message.direct
    assert database.transcript.owner(HERE) == (False, None)


@pytest.mark.usefixtures("digest")
def test_a_command_that_would_be_refused_is_not_started(
    act: Callable[..., Outcome], ada: Occasion, database: Database
) -> None:
    with pytest.raises(NotFound):
        act(ada, "start_command", command="refund")
    with pytest.raises(InvalidInput):
        act(ada, "start_command", command="digest", args={"limit": "many"})
    with pytest.raises(InvalidInput):
        act(ada, "start_command", command="digest", args={"other": 1})

    assert database.inbox.claim("w", limit=5, lease_s=10) == []


def test_the_model_answers(act: Callable[..., Outcome], ada: Occasion) -> None:
    assert act(ada, "ask_model", prompt="The capital of France?").text == "Paris"


def test_the_memory_of_the_own_scope_alone_is_searched(database: Database, chroma: ChromaServer, ada: Occasion) -> None:
    memory = Memory(
        MemorySettings(port=chroma.port),
        lambda texts: [[1.0, float(len(text) % 7)] for text in texts],
        embedder=lambda: "test",
    )
    other = Scope.principal("default", "bob")
    for scope, text in ((ada.scope, "the deploy window is Tuesday"), (other, "the deploy window is Friday")):
        memory.remember(scope, [Note(text, "chat", utc_now(), f"m-{scope.owner}")])

    prepared = prepare("search_memory", {"text": "deploy window"}, Settings())
    outcome = prepared.carry_out(Parts(database, memory), ada)  # type: ignore[arg-type]

    assert [found["text"] for found in outcome.data["recollections"]] == ["the deploy window is Tuesday"]
    with pytest.raises(InvalidInput):
        prepare("search_memory", {"text": "x", "scope": "principal:bob"}, Settings())
    memory.close()


class Failing:
    """An action that fails as it is told."""

    name = "failing"
    summary = ""
    arguments = Arguments

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)

    def effect(self, *_: object) -> str:
        return "read"

    def preview(self, *_: object) -> str:
        return ""

    def carry_out(self, args: Arguments, means: Means, occasion: Occasion) -> Outcome:
        if self.errors:
            raise self.errors.pop(0)
        return Outcome(text="done")


def test_pauses_grow_and_attempts_end(ada: Occasion, database: Database) -> None:
    pauses: list[float] = []
    patient = dataclasses.replace(ada, sleep=pauses.append)
    parts = Parts(database)

    def go(*errors: Exception) -> Outcome:
        return Prepared(Failing(*errors), Arguments(), "read", "").carry_out(parts, patient)  # type: ignore[arg-type]

    assert go(Unavailable("a", after=0.1), Unavailable("b", after=2.0)).text == "done"
    assert pauses == [0.5, 2.0]
    with pytest.raises(Unavailable):
        go(*[Unavailable("x", after=0.1)] * 3)
    with pytest.raises(TemporaryError):
        go(Unavailable("long", after=3600))
    with pytest.raises(Forbidden):
        go(Forbidden("no"))
    assert pauses == [0.5, 2.0, 0.5, 1.0]
