"""Arguments that a typed command misses, on a real PostgreSQL: forms, questions one at a time, and their ends."""

import itertools

import dagster as dg
import pytest
import sqlalchemy as sa

from integrations.database import ClaimedMessage, Database, RunClaim
from integrations.messages import Address, Form, InboundMessage, OutboundMessage
from integrations.settings import Settings
from orchestration.arguments import Secret
from orchestration.commands.catalogue import compile_location
from orchestration.commands.dispatch import Dispatcher
from orchestration.commands.publishing import publish
from tests.workflows import defs

EVENTS = itertools.count()


class Delivery(dg.Config):
    parcel: int
    door: Secret


@dg.op
def deliver_op(config: Delivery) -> str:
    return str(config.parcel)


@dg.job
def deliver() -> None:
    deliver_op()


@pytest.fixture
def dispatch(database: Database) -> Dispatcher:
    both = dg.Definitions.merge(defs, dg.Definitions(jobs=[deliver]))
    publish(database, "core", compile_location(both.get_repository_def(), "core"))
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
    (question,) = asked(database, dispatch, "/secretive", channel="teams", direct=False).form.questions

    assert (question.name, question.kind) == ("key", "secret")


@pytest.mark.parametrize("channel", ["slack", "discord"])
def test_where_a_form_would_show_a_secret_it_is_asked_for_apart_in_a_direct_conversation(database, dispatch, channel):
    asking = asked(database, dispatch, "/secretive", channel=channel)
    again = asked(database, dispatch, "short", channel=channel)
    claim = started(database, dispatch, "open sesame", channel=channel)

    assert asking.form is again.form is None
    assert "This network shows and keeps what you type: delete your message here afterwards." in asking.text
    assert str(config_of(claim)["key"]).startswith("sealed:")
    assert "open sesame" not in _all_rows(database)


@pytest.mark.parametrize("channel", ["slack", "discord"])
def test_where_a_form_would_show_a_secret_a_group_is_told_where_to_give_it(database, dispatch, channel):
    told = asked(database, dispatch, "/secretive", channel=channel, direct=False)

    assert told.form is None
    assert "Write to me directly" in told.text


def test_where_a_form_would_show_a_secret_all_else_is_asked_for_by_a_form_first(database, dispatch):
    form = asked(database, dispatch, "/deliver", channel="slack").form
    filled_in = {"kind": "form", "command": "deliver", "args": {"parcel": "7"}}
    asking = asked(database, dispatch, "", channel="slack", **filled_in)
    claim = started(database, dispatch, "open sesame", channel="slack")

    assert [question.name for question in form.questions] == ["parcel"]
    assert (asking.form, "**door**" in asking.text) == (None, True)
    assert config_of(claim)["parcel"] == 7


def test_a_structured_call_is_refused_and_not_asked_back(database, dispatch):
    told = asked(database, dispatch, "", command="greet")

    assert "name is missing" in told.text


def test_the_question_is_in_the_language_of_the_command_and_stays_so(database, dispatch):
    assert "请直接回答" in asked(database, dispatch, "/问好").text
    assert started(database, dispatch, "Ada").job == "greet"


def shown_forms(database: Database) -> list[tuple[str, str]]:
    """Return the states of the page's forms in the order of the transcript, each with its form's key."""
    entries = database.transcript.recent(Address(channel="web", conversation="c1"))
    return [(entry.form.key, entry.form.state) for entry in entries if entry.form]


def filled(form: Form, values: dict[str, object], **more) -> dict[str, object]:
    """Return what the gateway makes of the page's form."""
    return {
        "channel": "web",
        "text": "",
        "kind": "form",
        "command": form.command,
        "args": {**form.args, **values},
        "subject": form.key,
        **more,
    }


def form_on_the_page(database: Database, dispatch: Dispatcher, text: str) -> Form:
    asked(database, dispatch, text, channel="web")
    entries = database.transcript.recent(Address(channel="web", conversation="c1"))
    return next(entry.form.form for entry in reversed(entries) if entry.form and entry.form.form)


def test_the_page_shows_a_form_that_runs_the_command_and_is_final_then(database, dispatch):
    form = form_on_the_page(database, dispatch, "/greet times=2")
    claim = started(database, dispatch, **filled(form, {"name": "Ada"}))

    assert [(one.name, one.kind, one.label) for one in form.questions] == [("name", "text", "Whom to greet")]
    assert config_of(claim) == {"name": "Ada", "times": 2}
    assert shown_forms(database) == [(form.key, "open"), (form.key, "answered")]


def test_beside_the_page_s_form_a_typed_answer_counts_as_before(database, dispatch):
    form = form_on_the_page(database, dispatch, "/greet")
    claim = started(database, dispatch, "Ada", channel="web")

    assert config_of(claim)["name"] == "Ada"
    assert shown_forms(database)[-1] == (form.key, "answered")


def test_what_is_wrong_in_the_page_s_form_is_told_beside_its_field_in_the_same_place(database, dispatch):
    form = form_on_the_page(database, dispatch, "/report")
    asked(database, dispatch, **filled(form, {"region": "the moon"}))
    entries = database.transcript.recent(form_place())
    again = entries[-1].form.form

    assert (again.key, again.questions[0].value) == (form.key, "the moon")
    assert again.questions[0].error == "Expected one of: eu, us, 亚洲, not 'the moon'."
    assert [entry.text for entry in entries if entry.role == "user"] == ["/report"]
    assert config_of(started(database, dispatch, **filled(again, {"region": "us"})))["region"] == "AMERICA"


def form_place() -> Address:
    return Address(channel="web", conversation="c1")


def test_a_field_of_the_page_s_form_that_is_left_blank_is_asked_for(database, dispatch):
    form = form_on_the_page(database, dispatch, "/问好")
    asked(database, dispatch, **filled(form, {"name": " "}))
    again = database.transcript.recent(form_place())[-1].form.form

    assert (again.questions[0].label, again.questions[0].error) == ("要问候的人", "请填写此项。")


def test_a_form_of_the_page_that_is_sent_twice_does_nothing_more_and_that_is_told(database, dispatch):
    form = form_on_the_page(database, dispatch, "/greet")
    started(database, dispatch, **filled(form, {"name": "Ada"}))
    told = asked(database, dispatch, **filled(form, {"name": "Bob"}))

    assert told.text == "That form is closed; nothing was done with it."
    assert "Bob" not in str(database.transcript.recent(form_place()))


@pytest.mark.parametrize("ending", ["/stop", "/report"])
def test_a_stale_form_of_the_page_does_nothing_and_leaves_what_is_asked_now(database, dispatch, ending):
    form = form_on_the_page(database, dispatch, "/greet")
    asked(database, dispatch, ending, channel="web")
    ada = database.principals.resolve("default", "web", "ada").id
    before = database.questions.open(form_place(), ada)
    told = asked(database, dispatch, **filled(form, {"name": "Ada"}))

    assert "is closed" in told.text
    assert database.questions.open(form_place(), ada) == before
    assert (before is None) == (ending == "/stop")
    assert shown_forms(database)[1] == (form.key, "cancelled" if ending == "/stop" else "replaced")


def test_a_form_of_the_page_ends_after_ten_minutes(database, dispatch):
    form = form_on_the_page(database, dispatch, "/greet")
    with database.engine.begin() as connection:
        left = connection.scalar(sa.text("select expires_at from runbell.questions")) - form.until
        connection.execute(sa.text("update runbell.questions set expires_at = now()"))
    told = asked(database, dispatch, **filled(form, {"name": "Ada"}))

    assert left.total_seconds() == 0
    assert "is closed" in told.text


def test_somebody_else_s_form_of_the_page_does_nothing(database, dispatch):
    form = form_on_the_page(database, dispatch, "/greet")
    told = asked(database, dispatch, **filled(form, {"name": "Eve"}, account="eve"))

    assert "is closed" in told.text
    assert config_of(started(database, dispatch, **filled(form, {"name": "Ada"})))["name"] == "Ada"


def test_a_form_of_the_page_is_taken_back_without_touching_anything_else(database, dispatch):
    form = form_on_the_page(database, dispatch, "/greet")
    back = {"text": "/stop", "command": None, "args": {}}
    told = asked(database, dispatch, **{**filled(form, {}), **back})
    again = asked(database, dispatch, **{**filled(form, {}), **back})

    assert told.text == "All right, I ask no further."
    assert "is closed" in again.text
    assert shown_forms(database)[-1] == (form.key, "cancelled")


def test_a_secret_of_the_page_s_form_is_sealed_once_and_never_shown(database, dispatch):
    form = form_on_the_page(database, dispatch, "/secretive")
    asked(database, dispatch, **filled(form, {"key": "short"}))
    again = database.transcript.recent(form_place())[-1].form.form
    claim = started(database, dispatch, **filled(again, {"key": "open sesame"}))
    everything = _all_rows(database)

    assert (again.questions[0].kind, again.questions[0].value) == ("secret", "")
    assert "at least 8" in again.questions[0].error
    assert str(config_of(claim)["key"]).startswith("sealed:")
    assert "short" not in everything
    assert "open sesame" not in everything


def _all_rows(database: Database) -> str:
    with database.engine.begin() as connection:
        return str([connection.execute(sa.text(f"select * from runbell.{name}")).all() for name in TABLES])


TABLES = ("inbox", "outbox", "transcript", "questions", "run_queue", "progress")


@pytest.mark.parametrize("channel", ["terminal", "telegram"])
def test_a_terminal_has_no_forms_and_asks_one_question_at_a_time(database, dispatch, channel):
    assert asked(database, dispatch, "/greet", channel=channel).form is None


def test_forgetting_a_group_ends_what_it_was_asked(database, dispatch):
    asked(database, dispatch, "/greet", direct=False)
    asked(database, dispatch, "/greet", direct=False, account="bob")
    database.transcript.forget(Address(channel="telegram", conversation="c1"))

    assert started(database, dispatch, "Ada", direct=False).job == "assistant"
    assert started(database, dispatch, "Bob", account="bob", direct=False).job == "assistant"
