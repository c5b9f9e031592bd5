"""Late messages, runs that take turns, and secrets that are kept nowhere they could be read."""

from datetime import timedelta
from pathlib import Path

import pytest

from integrations.database import Database
from integrations.database.sealed import REFERENCE
from integrations.errors import NotFound
from integrations.messages import Address, MessageStatus, utc_now
from integrations.settings import Settings
from orchestration.commands.catalogue import compile_location
from orchestration.commands.dispatch import Dispatcher
from orchestration.commands.publishing import publish
from orchestration.sealing import open_sealed
from tests.integration.test_dispatch_messages import answer_to, claimed, say
from tests.workflows import defs

WORD = "correct-horse-battery"


def dispatcher(database: Database, tmp_path: Path, **traits: object) -> Dispatcher:
    specs = compile_location(defs.get_repository_def(), "core")
    publish(database, "core", [s.model_copy(update=traits if s.name in {"greet", "secretive"} else {}) for s in specs])
    return Dispatcher(database, Settings(home=tmp_path), worker="w1", clock=lambda: utc_now() + timedelta(minutes=20))


def rows(database: Database) -> str:
    """Return all that the database holds of messages, transcripts, runs, questions and proposals."""
    tables = ("inbox", "transcript", "run_queue", "outbox", "proposals", "questions", "sealed", "approvals")
    with database.engine.connect() as connection:
        return "\n".join(str(connection.exec_driver_sql(f"select * from runbell.{table}").all()) for table in tables)


def test_a_command_that_is_reached_in_time_runs(database, tmp_path):
    dispatch = dispatcher(database, tmp_path, max_age=timedelta(hours=1))

    assert dispatch(claimed(database, "/greet Ada")) is not None


def test_a_late_command_is_left_with_a_note_or_run_as_its_command_says(database, tmp_path):
    dispatch = dispatcher(database, tmp_path, max_age=timedelta(minutes=10), late="ignore")
    message = claimed(database, "/greet Ada")
    assert dispatch(message) is None
    assert "was reached 20m late" in answer_to(database, message)
    assert database.inbox.get(message.message_id).status is MessageStatus.FAILED

    dispatch = dispatcher(database, tmp_path, max_age=timedelta(minutes=10), late="run")
    assert dispatch(claimed(database, "/greet Ada")) is not None


def test_whoever_said_a_late_command_is_asked_and_a_yes_runs_it(database, tmp_path):
    dispatch = dispatcher(database, tmp_path, max_age=timedelta(minutes=10), late="ask")

    assert "You said this 20m ago. Shall I run this?" in say(database, dispatch, "/greet Ada times=2")

    claim = dispatch(claimed(database, "yes"))
    assert claim.request["run_config"] == {"ops": {"greet_op": {"config": {"name": "Ada", "times": 2}}}}


def test_a_program_is_not_asked(database, tmp_path):
    dispatch = dispatcher(database, tmp_path, max_age=timedelta(minutes=10), late="ask")

    answer = say(database, dispatch, "", command="greet", args={"name": "Ada"})

    assert "was not run" in answer


def test_runs_of_one_key_take_turns_and_hold_no_worker(database, tmp_path):
    dispatch = dispatcher(database, tmp_path, concurrency_key="greet-{name}")
    elsewhere = [Address(channel="web", conversation=f"c{n}") for n in range(4)]
    first = dispatch(claimed(database, "/greet Ada", address=elsewhere[0]))
    assert first is not None

    second = claimed(database, "/greet Ada times=2", address=elsewhere[1])
    assert dispatch(second) is None
    assert dispatch(claimed(database, "/greet Bob", address=elsewhere[2])) is not None

    assert database.runs.claim("core", "w2") == []
    assert "core" not in database.workers.demand()
    assert "waits its turn (greet-Ada)" in say(database, dispatch, "/status", address=elsewhere[3])
    database.runs.finish(first)
    (claim,) = database.runs.claim("core", "w2")
    assert claim.message_id == second.message_id


def test_a_parked_run_keeps_its_turn_and_a_queued_one_can_be_canceled(database, tmp_path):
    dispatch = dispatcher(database, tmp_path, concurrency_key="one", concurrency=1)
    elsewhere = [Address(channel="web", conversation=f"c{n}") for n in range(2)]
    first = dispatch(claimed(database, "/greet Ada", address=elsewhere[0]))
    database.runs.park(first, {"reason": "x"}, until=None)

    second = claimed(database, "/greet Bob", address=elsewhere[1])
    assert dispatch(second) is None
    assert database.runs.claim("core", "w2") == []
    (waiting,) = [run for run in database.runs.latest(tenant="default") if run.state == "queued"]
    database.runs.request_cancel(waiting.run_id)

    (claim,) = database.runs.claim("core", "w2")
    assert (claim.run_id, claim.cancel_requested) == (waiting.run_id, True)


def test_as_many_as_the_command_says_run_at_once(database, tmp_path):
    dispatch = dispatcher(database, tmp_path, concurrency_key="k", concurrency=2)

    claims = [
        dispatch(claimed(database, "/greet Ada", address=Address(channel="web", conversation=f"c{n}")))
        for n in range(4)
    ]

    assert [claim is not None for claim in claims] == [True, True, False, False]
    database.runs.finish(claims[0])
    assert len(database.runs.claim("core", "w2", limit=5)) == 1


@pytest.mark.parametrize("said", [f"/secretive key={WORD}", f"/secretive --key {WORD}", f"/secretive “{WORD}”"])
def test_a_secret_that_was_typed_is_kept_encrypted_and_nowhere_else(database, tmp_path, said):
    dispatch = dispatcher(database, tmp_path)
    message = claimed(database, said)

    claim = dispatch(message)

    given = claim.request["run_config"]["ops"]["secretive_op"]["config"]["key"]
    assert REFERENCE.fullmatch(given)
    assert open_sealed(database, Settings(home=tmp_path), given).get_secret_value() == WORD
    assert WORD not in rows(database)
    assert "•••" in database.inbox.get(message.message_id).text
    assert (tmp_path / "sealing_key").stat().st_mode & 0o777 == 0o600


def test_a_secret_that_was_asked_for_is_kept_encrypted_and_nowhere_else(database, tmp_path):
    dispatch = dispatcher(database, tmp_path)

    asked = say(database, dispatch, "/secretive")
    answer = claimed(database, WORD)
    claim = dispatch(answer)

    given = claim.request["run_config"]["ops"]["secretive_op"]["config"]["key"]
    assert "I keep it sealed and show it nowhere" in asked
    assert open_sealed(database, Settings(home=tmp_path), given).get_secret_value() == WORD
    assert WORD not in rows(database)
    assert database.inbox.get(answer.message_id).text == "•••"


def test_a_secret_that_nobody_proposed_is_asked_for_after_the_yes(database, tmp_path):
    dispatch = dispatcher(database, tmp_path)
    principal = database.principals.resolve("default", "web", "ada")
    database.proposals.put(Address(channel="web", conversation="c1"), principal.id, "secretive", {})

    asked = say(database, dispatch, "yes")
    claim = dispatch(claimed(database, WORD))

    given = claim.request["run_config"]["ops"]["secretive_op"]["config"]["key"]
    assert "I keep it sealed and show it nowhere" in asked
    assert open_sealed(database, Settings(home=tmp_path), given).get_secret_value() == WORD
    assert WORD not in rows(database)


def test_a_secret_of_a_program_and_one_beside_a_mistake_are_not_kept_either(database, tmp_path):
    dispatch = dispatcher(database, tmp_path)
    assert dispatch(claimed(database, command="secretive", args={"key": WORD})) is not None

    answer = say(
        database, dispatch, f"/secretive key={WORD} nonsense=1", address=Address(channel="web", conversation="x")
    )

    assert "what 'nonsense=1' belongs to" in answer
    assert WORD not in answer
    assert WORD not in rows(database)


def test_nobody_can_use_the_secret_of_somebody_else(database, tmp_path):
    dispatch, settings = dispatcher(database, tmp_path), Settings(home=tmp_path)
    mine = dispatch(claimed(database, f"/secretive key={WORD}"))
    reference = mine.request["run_config"]["ops"]["secretive_op"]["config"]["key"]

    there = Address(channel="web", conversation="c9")
    stolen = dispatch(claimed(database, f"/secretive key={reference}", account="eve", address=there))

    used = stolen.request["run_config"]["ops"]["secretive_op"]["config"]["key"]
    assert open_sealed(database, settings, used).get_secret_value() == reference
    with pytest.raises(NotFound, match="give it again"):
        open_sealed(database, settings, "sealed:" + "0" * 32)


def test_an_operator_may_name_a_secret_where_it_is(database, tmp_path, monkeypatch):
    monkeypatch.setenv("DEPLOY_TOKEN", WORD)

    assert open_sealed(database, Settings(home=tmp_path), "env:DEPLOY_TOKEN").get_secret_value() == WORD
