"""Schedules made in chat, on a real PostgreSQL and Dagster's own state of schedules; ticks with clocks as arguments."""

import itertools
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa

from integrations.database import Database, Keep, MessageView, Schedule
from integrations.database.linking import Account
from integrations.messages import Address, Choice, Delivery, InboundMessage, OutboundMessage
from integrations.settings import Schedules, Settings
from integrations.settings_access import Access
from orchestration.commands.catalogue import compile_location
from orchestration.commands.dispatch import Dispatcher
from orchestration.commands.publishing import publish
from orchestration.ops.ring import Firing, say_scheduled
from orchestration.triggers.from_chat import schedules_from_chat, tick_of
from orchestration.warm.clockwork import Clockwork
from tests.workflows import defs

HERE = Address(channel="telegram", conversation="42")
MONDAY = datetime(2026, 11, 30, 9, tzinfo=UTC)
DAY = timedelta(days=1)
EVENTS = itertools.count()


class Chat:
    """Says things in one conversation and reads the answers; ticks schedules as the daemon does."""

    def __init__(self, database: Database, instance: dg.DagsterInstance, folder: Path) -> None:
        self.database = database
        self.instance = instance
        self.settings = Settings(home=folder)
        self.now = MONDAY - DAY
        self.clockwork = Clockwork(instance, self.settings, self._seconds)
        publish(self.database, "core", compile_location(defs.get_repository_def(), "core"))

    def _seconds(self) -> float:
        return self.now.timestamp()

    def say(self, text: str, account: str = "ada", **more: object) -> MessageView:
        more = {"address": HERE, "event_id": f"e{next(EVENTS)}", **more}
        self.database.inbox.receive([InboundMessage(account=account, text=text, **more)])
        (claimed,) = self.database.inbox.claim("w1", limit=9)
        Dispatcher(self.database, self.settings, worker="w1", switches=self.clockwork)(claimed)
        view = self.database.inbox.get(claimed.message_id)
        assert view is not None
        return view

    def told(self, text: str, account: str = "ada", **more: object) -> str:
        return "\n".join(reply.text for reply in self.say(text, account, **more).replies)

    def made(self, words: str = '"every day 9:00" greet name=Ada', account: str = "ada") -> Schedule:
        self.say(f"/schedule add {words}", account)
        assert "⏰" in self.told("yes", account)
        made = self.database.schedules.all()[-1]
        with self.database.engine.begin() as connection:  # as if it had been made on this test's clock
            values = {"at": self.now, "id": made.id}
            connection.execute(sa.text("update runbell.schedules set fired_until = :at where id = :id"), values)
        return made

    def tick(self, schedule: Schedule, at: datetime, now: datetime | None = None) -> list[str] | str:
        """Evaluate a tick, and return the instants that are fired for, or why there are none."""
        asked = tick_of(self.database, self.settings, self.clockwork, schedule.id, at, now or at)
        if isinstance(asked, dg.SkipReason):
            return str(asked.skip_message)
        return asked.run_config["ops"]["say_scheduled"]["config"]["instants"]

    def ring(self, schedule: Schedule, instants: list[str]) -> None:
        context = dg.build_op_context(instance=self.instance)
        say_scheduled(context, Firing(schedule=schedule.id, instants=instants), self.database, self.settings)

    def waiting(self) -> list[InboundMessage]:
        """Return what was said and not yet answered, and answer it."""
        said: list[InboundMessage] = []
        while claimed := self.database.inbox.claim("w1"):
            self.database.inbox.answer(claimed[0].message_id, [OutboundMessage(address=HERE, text="done")])
            said.append(claimed[0].message)
        return said

    def posts(self) -> list[str]:
        return [entry.text for entry in self.database.transcript.after(HERE, 0) if entry.role != "user"]


@pytest.fixture(scope="module")
def instance() -> Iterator[dg.DagsterInstance]:
    # Dagster's own storage in a folder: the states of schedules in PostgreSQL are tests/e2e/test_schedules.py's.
    with dg.instance_for_test() as instance:
        yield instance


@pytest.fixture
def chat(database: Database, instance: dg.DagsterInstance, tmp_path: Path) -> Chat:
    return Chat(database, instance, tmp_path)


def test_a_schedule_is_shown_with_its_next_three_times_and_made_only_after_the_yes(chat):
    asked = chat.say('/schedule add "every monday 9:00" greet name=Ada')
    before = chat.database.schedules.all()
    agreed = chat.told("yes")
    (schedule,) = chat.database.schedules.all()

    (question,) = asked.replies
    assert "/greet name=Ada" in question.text
    assert "`0 9 * * 1`, UTC" in question.text
    assert question.text.count("Mon 20") == 3
    assert [choice.label for choice in question.choices] == ["Yes", "No"]
    assert before == []
    assert schedule.id in agreed
    assert (schedule.what.cron, schedule.what.command, schedule.what.args) == ("0 9 * * 1", "greet", {"name": "Ada"})
    assert chat.clockwork.running([schedule.name]) == {schedule.name}


def test_a_no_makes_nothing_and_a_second_yes_no_second_one(chat):
    chat.say('/schedule add "every monday 9:00" greet name=Ada')
    chat.say("no")
    assert chat.database.schedules.all() == []

    (question,) = chat.say('/schedule add "every monday 9:00" greet name=Ada').replies
    yes = question.choices[0]
    assert isinstance(yes, Choice)
    chat.say(yes.text)
    again = chat.told(yes.text)

    assert "no longer waits" in again
    assert len(chat.database.schedules.all()) == 1


@pytest.mark.parametrize(
    ("said", "cron", "missed"),
    [
        ("/schedule add every monday 9:00 greet name=Ada", "0 9 * * 1", "once"),
        ("/schedule every weekday at 6pm missed=all /greet name=Ada", "0 18 * * 1-5", "all"),
        ("/schedule add 0 9 * * 1 greet name=Ada", "0 9 * * 1", "once"),
        ("/定时 添加 “每周一上午九点” 补跑=跳过 greet name=Ada", "0 9 * * 1", "skip"),
        ("/定时 每天 9:30 greet name=Ada", "30 9 * * *", "once"),
        ("／定时 每月1号8点 greet name=Ada", "0 8 1 * *", "once"),
    ],
)
def test_it_may_be_said_without_quotes_and_in_chinese(chat, said, cron, missed):
    chat.say(said)
    chat.say("是" if "定时" in said else "yes")

    (schedule,) = chat.database.schedules.all()
    assert (schedule.what.cron, schedule.what.missed) == (cron, missed)
    assert schedule.what.args == {"name": "Ada"}


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ('/schedule add "every mensday 9:00" greet name=Ada', "I don't understand `every mensday 9:00`"),
        ('/schedule add "every mensday 9:00" greet name=Ada', "The command was understood: `/greet`"),
        ('/schedule add "every monday 9:00" gret name=Ada', "Did you mean /greet?"),
        ('/schedule add "every monday 9:00" gret name=Ada', "The time was understood: every monday 9:00 (`0 9 * * 1`)"),
        ('/schedule add "every monday 9:00" greet', "name is missing"),
        ('/schedule add "every monday 9:00" greet name=Ada times=9', "times"),
        ('/schedule add "every monday 9:00" help', "Only workflows can be scheduled"),
        ('/schedule add "every monday 9:00" secretive key=12345678', "a schedule keeps none"),
        ('/schedule add "every monday 9:00" missed=twice greet name=Ada', "`skip`, `once` or `all`"),
        ("/schedule add", "Write when in quotes"),
        ("/schedule pause 123", "Which one?"),
        ("/schedule timezone Mars/Olympus", "There is no time zone"),
    ],
)
def test_what_can_not_be_is_explained_and_changes_nothing(chat, said, told):
    assert told in chat.told(said)
    assert "12345678" not in "\n".join(chat.posts())
    assert chat.told("yes") == "" or chat.database.schedules.all() == []
    assert chat.database.schedules.all() == []


def test_a_list_has_buttons_that_do_what_they_say_for_whom_they_may(chat):
    schedule = chat.made()
    (listed,) = chat.say("/schedule list").replies
    assert [one.label.split()[0] for one in listed.choices] == ["Pause", "Run", "Remove"]

    others = [chat.told(one.text, "bob") for one in listed.choices]
    assert all("Which one?" in told for told in others)
    assert "is paused" in chat.told(listed.choices[0].text)
    (paused,) = chat.say("/定时 列表").replies
    assert paused.choices[0].label == f"恢复 {schedule.id}"
    assert "已恢复" in chat.told(paused.choices[0].text)
    assert "runs" in chat.told(listed.choices[1].text)
    assert [message.command for message in chat.waiting()] == ["greet"]
    assert "is removed" in chat.told(listed.choices[2].text)
    assert chat.database.schedules.all() == []


def test_of_many_schedules_each_has_one_button_to_its_own(chat):
    for _ in range(4):
        chat.made()

    (listed,) = chat.say("/schedule list").replies
    (shown,) = chat.say(listed.choices[0].text).replies

    assert {one.label for one in listed.choices} == {f"Show {one.id}" for one in chat.database.schedules.all()}
    assert len(shown.choices) == 3


def test_a_schedule_made_over_rest_says_where_it_answers_and_how_to_read_it(chat):
    place = Address(channel="rest", conversation="nightly")

    made = chat.told('/schedule add "every day 9:00" greet name=Ada', address=place)

    (schedule,) = chat.database.schedules.all()
    assert f"in the conversation `nightly`, whose last answer `/schedule show {schedule.id}` shows" in made


def test_nobody_schedules_what_they_may_not_run_and_nobody_more_than_the_bound(chat):
    chat.settings = chat.settings.model_copy(
        update={
            "access": Access(default=["telegram:ada"]),
            "schedules": Schedules(per_principal=2),
        }
    )

    refused = chat.told('/schedule add "every day 9:00" greet name=Bob', "bob")
    for _ in range(2):
        chat.made()
    chat.say('/schedule add "every day 9:00" greet name=Ada')
    third = chat.told("yes")

    assert "You may not run /greet" in refused
    assert "No more can be kept" in third
    assert len(chat.database.schedules.all()) == 2


def test_the_hours_are_those_of_the_time_zone_that_a_person_has_told(chat):
    chat.say("/schedule timezone europe/berlin")
    question = chat.told('/schedule add "every day 9:00" greet name=Ada')
    chat.say("no")
    other = chat.told('/schedule add "every day 9:00 Asia/Tokyo" greet name=Ada', "bob")

    assert "Europe/Berlin" in question
    assert "(+01:00)" in question or "(+02:00)" in question
    assert "Asia/Tokyo" in other
    assert "(+09:00)" in other


def test_a_program_is_not_asked_back(chat):
    place = Address(channel="rest", conversation="ci")
    told = chat.told("/schedule add every day 9:00 greet name=Ada", address=place)

    (schedule,) = chat.database.schedules.all()
    assert schedule.id in told
    assert schedule.what.address == place


def test_it_is_listed_shown_paused_resumed_and_removed_by_its_owner_only(chat):
    mine = chat.made()
    on = chat.told("/schedule list")
    shown = chat.told(f"/schedule show {mine.id[:4]}")
    others = [chat.told(f"/schedule {verb} {mine.id}", "bob") for verb in ("show", "pause", "remove", "run-now")]
    chat.say(f"/schedule pause {mine.id}")
    off = (chat.clockwork.running([mine.name]), chat.told("/schedule"))
    chat.say(f"/定时 恢复 {mine.id}")
    again = chat.clockwork.running([mine.name])
    chat.say(f"/schedule remove {mine.id}")

    assert f"▶ [{mine.id}]" in on
    assert "0 9 * * *" in shown
    assert all("Which one?" in told for told in others)
    assert off[0] == set()
    assert "⏸" in off[1]
    assert again == {mine.name}
    assert chat.database.schedules.all() == []
    assert chat.clockwork.running([mine.name]) == set()


def test_a_switch_in_the_dagster_ui_is_what_the_chat_shows(chat):
    schedule = chat.made()
    (state,) = [one for one in chat.instance.all_instigator_state() if one.name == schedule.name]
    chat.instance.stop_schedule(state.instigator_origin_id, state.selector_id, None)

    assert "⏸" in chat.told("/schedule list")
    chat.say(f"/schedule resume {schedule.id}")
    (state,) = [one for one in chat.instance.all_instigator_state() if one.name == schedule.name]
    assert state.is_running


def test_each_row_is_a_definition_that_dagster_takes(chat):
    schedule = chat.made('"every monday 9:00 Europe/Berlin" greet name=Ada')

    (definition,) = schedules_from_chat(chat.database)

    assert definition.name == schedule.name == f"greet_{schedule.id}"
    assert definition.cron_schedule == "0 9 * * 1"
    assert definition.execution_timezone == "Europe/Berlin"
    assert definition.default_status is dg.DefaultScheduleStatus.STOPPED
    assert "telegram/42" in (definition.description or "")


def test_a_tick_says_the_command_in_its_conversation_in_its_owners_name_and_only_once(chat):
    schedule = chat.made()
    instants = chat.tick(schedule, MONDAY)
    threads = [threading.Thread(target=chat.ring, args=(schedule, instants)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (message,) = chat.waiting()

    assert instants == [MONDAY.isoformat()]
    assert (message.address, message.account, message.command, message.args) == (HERE, "ada", "greet", {"name": "Ada"})
    assert (message.trigger, message.source) == ("schedule", schedule.name)
    assert "dealt with already" in chat.tick(schedule, MONDAY)


def test_the_run_of_a_scheduled_command_is_its_owners_and_belongs_to_the_schedule(chat):
    schedule = chat.made()
    chat.ring(schedule, chat.tick(schedule, MONDAY))
    (claimed,) = chat.database.inbox.claim("w1")
    claim = Dispatcher(chat.database, chat.settings, worker="w1", switches=chat.clockwork)(claimed)

    assert claim is not None
    assert claim.principal_id == schedule.what.principal_id
    assert claim.priority == 10
    assert claim.request["tags"]["runbell/trigger"] == "schedule"
    assert claim.request["tags"]["dagster/schedule_name"] == schedule.name
    chat.database.inbox.answer(claimed.message_id, [OutboundMessage(address=HERE, text="Hello Ada")])
    assert "**greet** took" in chat.told("/why")
    assert "Hello Ada" in chat.told(f"/show {claim.run_id[:8]}")


def test_a_scheduled_run_does_not_hold_up_what_people_say(chat):
    schedule = chat.made()
    chat.ring(schedule, chat.tick(schedule, MONDAY))
    (timer,) = chat.database.inbox.claim("w1", limit=9)
    Dispatcher(chat.database, chat.settings, worker="w1", switches=chat.clockwork)(timer)

    assert chat.told("/whoami") != ""
    assert chat.say("/greet name=Bob").status.value == "running"


@pytest.mark.parametrize(
    ("missed", "late", "fired"),
    [
        ("skip", timedelta(minutes=1), 1),
        ("skip", timedelta(hours=1), 0),
        ("once", timedelta(hours=1), 1),
        ("all", timedelta(hours=1), 4),
    ],
)
def test_ticks_missed_while_the_platform_was_down_follow_the_schedules_policy(chat, missed, late, fired):
    schedule = chat.made(f'"every day 9:00" missed={missed} greet name=Ada')
    thursday = MONDAY + 3 * DAY

    # Dagster's daemon evaluates the latest tick only.
    instants = chat.tick(schedule, thursday, thursday + late)
    if isinstance(instants, list):
        chat.ring(schedule, instants)

    assert len(chat.waiting()) == fired
    assert ("missed by 1:00:00" in instants) == (fired == 0)
    assert len(chat.tick(schedule, thursday + DAY)) == 1 or missed == "skip"


def test_what_was_missed_while_it_was_paused_is_not_made_up_for(chat):
    schedule = chat.made('"every day 9:00" missed=all greet name=Ada')
    chat.say(f"/schedule pause {schedule.id}")
    chat.now = MONDAY + 5 * DAY
    chat.say(f"/schedule resume {schedule.id}")

    assert chat.tick(schedule, MONDAY + 6 * DAY) == [(MONDAY + 6 * DAY).isoformat()]


def test_a_tick_is_left_out_while_the_one_before_is_not_answered(chat):
    schedule = chat.made()
    chat.ring(schedule, chat.tick(schedule, MONDAY))

    assert "not answered yet" in chat.tick(schedule, MONDAY + DAY)
    chat.waiting()
    assert chat.tick(schedule, MONDAY + 2 * DAY) == [(MONDAY + 2 * DAY).isoformat()]


def _lose_right(chat: Chat) -> None:
    chat.settings = chat.settings.model_copy(update={"access": Access(default=["chief"])})


def _disable(chat: Chat) -> None:
    (schedule,) = chat.database.schedules.all()
    chat.database.principals.disable(schedule.what.principal_id)


def _change_hands(chat: Chat) -> None:
    other = chat.database.principals.resolve("default", "telegram", "bob")
    chat.database.principals.link("default", "telegram", "ada", other.id)


def _remove_command(chat: Chat) -> None:
    chat.database.commands.replace("core", [])


def _lose_conversation(chat: Chat) -> None:
    for item in iter(lambda: chat.database.outbox.lease(["telegram"], "gateway"), []):
        for one in item:
            chat.database.outbox.record(one, Delivery(state="failed", error="bot was kicked"))


@pytest.mark.parametrize(
    ("loses", "reason"),
    [
        (_lose_right, "may not run /greet"),
        (_disable, "may not use Runbell any more"),
        (_change_hands, "no longer belongs to"),
        (_remove_command, "no command /greet any more"),
        (_lose_conversation, "bot was kicked"),
    ],
)
def test_it_pauses_with_a_notice_when_the_right_the_command_or_the_conversation_is_gone(
    chat, loses: Callable[[Chat], None], reason
):
    schedule = chat.made()
    loses(chat)
    ticks = [chat.tick(schedule, MONDAY), chat.tick(schedule, MONDAY)]

    assert reason in ticks[0]
    assert "paused" in ticks[1]
    assert chat.clockwork.running([schedule.name]) == set()
    assert chat.waiting() == []
    assert len([text for text in chat.posts() if f"The schedule `{schedule.id}`" in text and reason in text]) == 1


def test_a_schedule_goes_with_its_account_when_that_is_tied_to_another_person(chat):
    schedule = chat.made()
    bob = chat.database.principals.resolve("default", "telegram", "bob")
    code = chat.database.linking.issue(bob, Address(channel="telegram", conversation="bob"))
    ada = chat.database.principals.resolve("default", "telegram", "ada")
    assert chat.database.linking.redeem(code, Account("telegram", "ada"), ada).outcome == "tied"

    assert f"▶ [{schedule.id}]" in chat.told("/schedule list", "bob")
    assert chat.tick(schedule, MONDAY) == [MONDAY.isoformat()]


def test_the_right_is_looked_at_again_when_the_command_is_said(chat):
    schedule = chat.made()
    instants = chat.tick(schedule, MONDAY)
    _lose_right(chat)

    with pytest.raises(dg.Failure, match="may not run"):
        chat.ring(schedule, instants)

    assert chat.waiting() == []
    assert "⏸" in chat.posts()[-1]


def test_run_now_says_it_at_once_and_does_not_count_as_a_tick(chat):
    schedule = chat.made()
    chat.say(f"/schedule run-now {schedule.id}")
    (message,) = chat.waiting()

    assert message.command == "greet"
    assert chat.tick(schedule, MONDAY) == [MONDAY.isoformat()]


def test_long_paused_schedules_are_swept_and_those_that_run_stay(chat):
    paused, running = chat.made(), chat.made('"every day 10:00" greet name=Ada')
    chat.database.schedules.pause(paused.id, "lost")
    with chat.database.engine.begin() as connection:
        connection.execute(
            sa.text("update runbell.schedules set paused_at = now() - interval '400 days' where paused_at is not null")
        )

    assert chat.database.retention.sweep(Keep())["schedules"] == 1
    assert [one.id for one in chat.database.schedules.all()] == [running.id]
