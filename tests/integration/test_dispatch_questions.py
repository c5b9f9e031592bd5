"""Arguments that a typed command misses, on a real PostgreSQL: forms, questions one at a time, and their ends."""

import itertools

import pytest
import sqlalchemy as sa

from integrations.database import ClaimedMessage, Database, RunClaim
from integrations.messages import Address, InboundMessage, OutboundMessage
from integrations.settings import Settings
from orchestration.commands.catalogue import compile_location
from orchestration.commands.dispatch import Dispatcher
from orchestration.commands.publishing import publish
from tests.workflows import defs

EVENTS = itertools.count()


@pytest.fixture
def dispatch(database: Database) -> Dispatcher:
    publish(database, "core", compile_location(defs.get_repository_def(), "core"))
    return Dispatcher(database, Settings(), worker="w1")


def claimed(
    database: Database, text: str, *, channel: str = "telegram", account: str = "ada", **more
) -> ClaimedMessage:
    said = {"address": Address(channel=channel, conversation="c1"), "event_id": f"e{next(EVENTS)}", **more}
    database.inbox.receive([InboundMessage(account=account, text=text, **said)])
    (message,) = database.inbox.claim("w1")
    return message


def asked(database: Database, dispatch: Dispatcher, text: str, **more) -> OutboundMessage:
    """Say something that is answered on the spot."""
    message = claimed(database, text, **more)
    assert dispatch(message) is None
    return next(
        item.message for item in database.outbox.find(["queued"]) if item.message.message_id == message.message_id
    )


def started(database: Database, dispatch: Dispatcher, text: str, **more) -> RunClaim:
    """Say something that starts a run; the run ends at once."""
    claim = dispatch(claimed(database, text, **more))
    assert claim is not None
    address = Address(channel=more.get("channel", "telegram"), conversation="c1")
    database.inbox.answer(claim.message_id, [OutboundMessage(address=address, text="done")], run_id=claim.run_id)
    database.runs.finish(claim)
    return claim


def config_of(claim: RunClaim) -> dict[str, object]:
    assert claim.request is not None
    (op,) = claim.request["run_config"]["ops"].values()
    return op["config"]


def test_what_is_missing_is_asked_for_and_the_answer_runs_the_command(database, dispatch):
    question = asked(database, dispatch, "/greet times=2")
    claim = started(database, dispatch, "Ada Lovelace")

    assert "**name**: Whom to greet" in question.text
    assert question.form is None
    assert (claim.job, config_of(claim)) == ("greet", {"name": "Ada Lovelace", "times": 2})
    assert database.questions.open(question.address, claim.principal_id) is None


def test_a_network_with_forms_gets_one_and_its_answers_run_the_command(database, dispatch):
    asking = asked(database, dispatch, "/greet times=2", channel="slack")
    claim = started(
        database, dispatch, "", channel="slack", kind="form", command="greet", args={"name": "Ada", "times": "2"}
    )

    assert (asking.form.command, asking.form.args) == ("greet", {"times": 2})
    assert [(q.name, q.label, q.kind) for q in asking.form.questions] == [("name", "Whom to greet", "text")]
    assert asking.asked == "ada"
    assert config_of(claim) == {"name": "Ada", "times": 2}


def test_on_a_network_with_forms_free_text_is_no_answer(database, dispatch):
    asked(database, dispatch, "/greet", channel="slack")

    assert started(database, dispatch, "Ada", channel="slack").job == "assistant"


def test_a_choice_is_offered_and_a_wrong_answer_is_explained_and_asked_for_again(database, dispatch):
    question = asked(database, dispatch, "/report")
    again = asked(database, dispatch, "the moon")
    claim = started(database, dispatch, "us")

    assert [choice.text for choice in question.choices] == ["eu", "us", "亚洲"]
    assert "not 'the moon'" in again.text
    assert [choice.text for choice in again.choices] == ["eu", "us", "亚洲"]
    assert config_of(claim)["region"] == "AMERICA"


@pytest.mark.parametrize("end", ["/stop", "/停止", "/greet Bob"])
def test_a_question_ends_by_stop_and_by_the_next_command(database, dispatch, end):
    asked(database, dispatch, "/greet")
    dispatch(claimed(database, end))
    for claim in database.runs.claim("core", "w2"):
        database.runs.finish(claim)
    with database.engine.begin() as connection:
        connection.execute(sa.text("update runbell.inbox set state = 'answered'"))

    assert started(database, dispatch, "Ada").job == "assistant"


def test_a_question_ends_by_itself_after_ten_minutes(database, dispatch):
    asked(database, dispatch, "/greet")
    with database.engine.begin() as connection:
        left = connection.scalar(sa.text("select expires_at - now() from runbell.questions"))
        connection.execute(sa.text("update runbell.questions set expires_at = now()"))

    assert 590 < left.total_seconds() <= 600
    assert started(database, dispatch, "Ada").job == "assistant"


def test_other_control_words_leave_the_question_open(database, dispatch):
    asked(database, dispatch, "/greet")
    asked(database, dispatch, "/whoami")

    assert started(database, dispatch, "Ada").job == "greet"


def test_only_who_was_asked_answers(database, dispatch):
    asked(database, dispatch, "/greet", direct=False)

    assert started(database, dispatch, "Bob", account="bob", direct=False).job == "assistant"
    assert config_of(started(database, dispatch, "Ada", direct=False))["name"] == "Ada"


def test_an_empty_answer_is_asked_for_again(database, dispatch):
    asked(database, dispatch, "/greet")

    assert "**name**" in asked(database, dispatch, "  ").text


@pytest.mark.parametrize("channel", ["rest", "webhook", "email"])
def test_programs_and_slow_mail_are_told_how_the_command_is_written(database, dispatch, channel):
    told = asked(database, dispatch, "/greet", channel=channel)

    assert "name is missing" in told.text
    assert started(database, dispatch, "Ada", channel=channel).job == "assistant"


def test_a_secret_is_not_asked_for_where_others_read(database, dispatch):
    told = asked(database, dispatch, "/secretive", direct=False)

    assert "Write to me directly, and I ask for it there: `/secretive`" in told.text
    assert started(database, dispatch, "my word", direct=False).job == "assistant"


def test_a_form_for_a_secret_shows_dots_where_the_network_can(database, dispatch):
    (question,) = asked(database, dispatch, "/secretive", channel="slack", direct=False).form.questions

    assert (question.name, question.kind) == ("key", "secret")


def test_a_structured_call_is_refused_and_not_asked_back(database, dispatch):
    told = asked(database, dispatch, "", command="greet")

    assert "name is missing" in told.text


def test_the_question_is_in_the_language_of_the_command_and_stays_so(database, dispatch):
    assert "请直接回答" in asked(database, dispatch, "/问好").text
    assert started(database, dispatch, "Ada").job == "greet"
