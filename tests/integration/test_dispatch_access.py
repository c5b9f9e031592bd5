"""Who may run what: checked when it is said, when it is agreed to, and when it is carried out."""

import pytest

from integrations.database import Database
from integrations.messages import Address, MessageStatus
from integrations.settings import Settings
from integrations.settings_access import Access
from orchestration.commands.catalogue import compile_location
from orchestration.commands.dispatch import Dispatcher
from orchestration.commands.publishing import load, publish
from tests.integration.test_dispatch_messages import answer_to, claimed, finish, say
from tests.workflows import defs

ACCESS = Access(roles={"finance": ["web:ada"], "admin": ["slack:U1"]})
HERE = Address(channel="web", conversation="c1")


@pytest.fixture
def dispatch(database: Database) -> Dispatcher:
    specs = compile_location(defs.get_repository_def(), "core")
    mine = [spec.model_copy(update={"allowed": ("role:finance",)} if spec.name == "greet" else {}) for spec in specs]
    publish(database, "core", mine)
    database.principals._access = ACCESS
    return Dispatcher(database, Settings(access=ACCESS), worker="w1")


def test_a_role_of_the_settings_lets_its_account_run_a_command_and_nobody_else(database, dispatch):
    assert dispatch(claimed(database, "/greet Bob", account="ada")) is not None

    message = claimed(database, "/greet Bob", account="eve", address=Address(channel="web", conversation="c2"))

    assert dispatch(message) is None
    assert "You may not run /greet; it is for: finance." in answer_to(database, message)
    assert database.inbox.get(message.message_id).status is MessageStatus.FAILED


def test_an_administrator_may_run_everything(database, dispatch):
    message = claimed(database, "/greet Bob", account="U1", address=Address(channel="slack", conversation="T1:C1"))

    assert dispatch(message) is not None


def test_help_shows_only_what_the_asker_may_run(database, dispatch):
    assert "`/greet`" in say(database, dispatch, "/help", account="ada")
    answer = say(database, dispatch, "/help", account="eve")
    assert "`/greet`" not in answer
    assert "`/report`" in answer
    assert "There is no command" in say(database, dispatch, "/help greet", account="eve")


def test_wrong_arguments_of_a_forbidden_command_tell_nothing_of_it(database, dispatch):
    answer = say(database, dispatch, "/greet Bob times=9", account="eve")

    assert "You may not run" in answer
    assert "from 1 to 3" not in answer


def test_a_proposal_is_not_carried_out_once_the_right_is_gone(database, dispatch):
    eve = database.principals.resolve("default", "web", "eve")
    proposal = database.proposals.put(HERE, eve.id, "greet", {"name": "Bob"})

    answer = say(database, dispatch, f"yes #{proposal.id[:8]}", account="eve")

    assert "You may not run /greet" in answer
    assert database.runs.latest(tenant="default") == []
    assert database.proposals.open(HERE, eve.id) is None


def test_a_failed_run_is_not_retried_once_the_right_is_gone(database, dispatch):
    claim = dispatch(claimed(database, "/greet Bob", account="ada"))
    finish(database, claim)
    with database.engine.begin() as connection:
        connection.exec_driver_sql("update runbell.inbox set state = 'failed'")
    publish(database, "core", [load(database).find("greet").model_copy(update={"allowed": ()})])
    dispatch._catalogue(afresh=True)

    answer = say(database, dispatch, "/retry", account="ada")

    assert "it is for: nobody but an administrator" in answer
