"""What becomes of a claimed message, on a real PostgreSQL."""

import itertools
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from integrations.database import ClaimedMessage, Database, RunClaim
from integrations.errors import LeaseLost, Unavailable
from integrations.memory.values import Scope
from integrations.messages import Address, InboundMessage, MessageStatus, OutboundMessage, run_id_for
from integrations.settings import Settings
from orchestration.commands.catalogue import compile_location
from orchestration.commands.dispatch import Dispatcher
from orchestration.commands.proposals import present
from orchestration.commands.publishing import load, publish
from tests.typed_jobs import defs as typed
from tests.workflows import defs

HERE = Address(channel="web", conversation="c1")
EVENTS = itertools.count()


class RecordedMemory:
    """Remembers which scopes were forgotten; refuses while it is down."""

    def __init__(self, *, up: bool = True) -> None:
        self.forgotten: list[Scope] = []
        self.up = up

    def forget(self, scope: Scope) -> int:
        if not self.up:
            raise Unavailable("Chroma is away")
        self.forgotten.append(scope)
        return 3


@pytest.fixture
def memory() -> RecordedMemory:
    return RecordedMemory()


@pytest.fixture
def dispatch(database: Database, memory: RecordedMemory) -> Dispatcher:
    publish(database, "core", compile_location(defs.get_repository_def(), "core"))
    return Dispatcher(database, Settings(), worker="w1", memory=memory)


def claimed(database: Database, text: str = "", *, account: str = "ada", **more) -> ClaimedMessage:
    more = {"address": HERE, "event_id": f"e{next(EVENTS)}", **more}
    database.inbox.receive([InboundMessage(account=account, account_name=account.title(), text=text, **more)])
    (message,) = database.inbox.claim("w1")
    return message


def answer_to(database: Database, message: ClaimedMessage) -> str:
    view = database.inbox.get(message.message_id)
    assert view.status in (MessageStatus.ANSWERED, MessageStatus.FAILED)
    return "\n".join(reply.text for reply in view.replies)


def say(database: Database, dispatch: Dispatcher, text: str, **more) -> str:
    """Say something that is answered on the spot."""
    message = claimed(database, text, **more)
    assert dispatch(message) is None
    return answer_to(database, message)


def finish(database: Database, claim: RunClaim, said: str = "done") -> None:
    database.inbox.answer(claim.message_id, [OutboundMessage(address=HERE, text=said)], run_id=claim.run_id)
    database.runs.finish(claim)


def test_a_typed_command_becomes_its_run_claimed_by_this_worker(database, dispatch):
    message = claimed(database, "/greet Ada times=2", traceparent=f"00-{'a' * 32}-{'b' * 16}-01")

    claim = dispatch(message)

    assert claim.run_id == run_id_for(message.message_id)
    assert (claim.location, claim.job) == ("core", "greet")
    assert claim.request["run_config"] == {"ops": {"greet_op": {"config": {"name": "Ada", "times": 2}}}}
    tags = claim.request["tags"]
    assert tags["runbell/message"] == message.message_id
    assert tags["runbell/command"] == "greet"
    assert tags["runbell/trigger"] == "message"
    assert tags["runbell/trace_id"] == "a" * 32
    assert database.inbox.get(message.message_id).status == "running"


def test_a_default_that_depends_on_now_is_read_when_the_command_starts(database, dispatch):
    publish(database, "typed", compile_location(typed.get_repository_def(), "typed"))
    message = claimed(database, "/later")

    dispatch(message)

    (claim,) = database.runs.claim("typed", "w2")
    said = datetime.fromisoformat(claim.request["run_config"]["ops"]["do_later"]["config"]["at"])
    assert said - message.message.received_at < timedelta(days=2)
    assert (said.hour, said.minute) == (9, 0)
    assert claim.request["run_config"]["ops"]["do_later"]["config"]["every"] == "PT1H"


def test_a_command_of_another_location_is_left_to_its_workers(database, dispatch):
    publish(database, "examples", compile_location(defs.get_repository_def(), "examples"))

    assert dispatch(claimed(database, "/examples-greet Ada")) is None

    (claim,) = database.runs.claim("examples", "w2")
    assert (claim.location, claim.job) == ("examples", "greet")


def test_a_command_published_after_the_catalogue_was_read_is_found_at_once(database, dispatch):
    say(database, dispatch, "/help")
    publish(database, "late", [load(database).find("greet").model_copy(update={"name": "newest", "location": "late"})])

    assert dispatch(claimed(database, "/newest Ada")) is None
    assert database.runs.claim("late", "w2")


def test_an_invalid_command_is_explained_and_nothing_runs(database, dispatch):
    answer = say(database, dispatch, "/greet Ada times=9")

    assert "times: expected a whole number (from 1 to 3), not '9'." in answer
    assert "/greet Ada times=9\n                 ^" in answer
    assert "/greet NAME… [times=1]" in answer
    assert database.runs.latest(tenant="default") == []


def test_an_unknown_command_gets_the_nearest_name(database, dispatch):
    assert "Did you mean /greet?" in say(database, dispatch, "/gret Ada")
    assert "你是想输入 /问好 吗？" in say(database, dispatch, "/问号 小王")


def test_a_structured_command_is_checked_the_same_way(database, dispatch):
    rest = Address(channel="rest", conversation="r1")

    good = dispatch(claimed(database, address=rest, command="greet", args={"name": "Ada", "times": "2"}))
    bad = claimed(database, address=Address(channel="rest", conversation="r2"), command="greet", args={"times": 9})

    assert good.request["run_config"]["ops"]["greet_op"]["config"] == {"name": "Ada", "times": 2}
    assert good.request["tags"]["runbell/trigger"] == "rest"
    assert dispatch(bad) is None
    assert database.inbox.get(bad.message_id).status == "failed"
    assert "name is missing" in answer_to(database, bad)


def test_a_structured_command_with_a_strange_name_is_not_free_text(database, dispatch):
    message = claimed(database, command="no such/command", args={})

    assert dispatch(message) is None
    assert "There is no command" in answer_to(database, message)


def test_free_text_becomes_the_assistant_job(database, dispatch):
    message = claimed(database, "What is the capital of France?")

    claim = dispatch(message)

    assert (claim.location, claim.job) == ("core", "assistant")
    assert claim.request["run_config"] == {"ops": {"receive": {"config": {"message_id": message.message_id}}}}


def test_an_empty_message_is_answered_without_a_run(database, dispatch):
    assert "empty" in say(database, dispatch, " \n ")


def test_the_control_words_are_those_the_inbox_lets_overtake(database, dispatch):
    for text in ("/help", "/取消", "／状态", "/STATUS now"):
        database.inbox.receive([InboundMessage(address=HERE, event_id=f"e{next(EVENTS)}", account="ada", text=text)])

    assert len(database.inbox.claim("w1", limit=10, words=dispatch.words)) == 4


def test_help_lists_what_may_be_typed_and_explains_one(database, dispatch):
    listed = say(database, dispatch, "/help")
    assert "`/greet` — Say hello to somebody." in listed
    assert "hidden" not in listed
    assert "`/cancel`" in listed

    one = say(database, dispatch, "/help greet")
    assert "/greet NAME… [times=1]" in one
    assert "- `times` (a whole number (from 1 to 3); default 1)" in one
    assert "Greet Ada" in one

    chinese = say(database, dispatch, "/帮助 问好")
    assert "打招呼" in chinese
    assert "必填" in chinese
    assert "Did you mean `/help greet`?" in say(database, dispatch, "/help gret")


def test_whoami_tells_account_and_roles(database, dispatch):
    answer = say(database, dispatch, "/whoami")

    assert "**Ada**" in answer
    assert "`ada` on web" in answer


def test_status_shows_own_runs_and_only_counts_those_of_others(database, dispatch):
    mine = dispatch(claimed(database, "/greet Ada"))
    theirs = dispatch(claimed(database, "/greet Bob", account="bob", address=Address(channel="web", conversation="c2")))
    database.workers.beat("w1", location="core", pid=7, threads=8, busy=2)

    answer = say(database, dispatch, "/status", address=Address(channel="web", conversation="c3"))

    assert mine.run_id[:8] in answer
    assert theirs.run_id[:8] not in answer
    assert "1 more" in answer
    assert "core: 2/8" in answer


def test_status_without_workers_says_what_to_do(database, dispatch):
    assert "`runbell up`" in say(database, dispatch, "/status")
    assert "没有存活的工作进程" in say(database, dispatch, "/状态")


def test_runs_lists_the_last_runs_with_their_pages(database, dispatch):
    claim = dispatch(claimed(database, "/greet Ada"))
    finish(database, claim)

    answer = say(database, dispatch, "/runs")

    assert f"✅ greet [{claim.run_id[:8]}](http://127.0.0.1:3000/runs/{claim.run_id})" in answer


def test_runs_are_told_in_the_time_zone_of_whoever_asks(database, dispatch):
    claim = dispatch(claimed(database, "/greet Ada"))
    finish(database, claim)
    began = database.runs.get(claim.run_id).created_at.astimezone(ZoneInfo("Asia/Shanghai"))

    before = say(database, dispatch, "/runs")
    say(database, dispatch, "/schedule timezone Asia/Shanghai")

    assert before.endswith(" UTC")
    assert say(database, dispatch, "/runs").endswith(f"{began:%Y-%m-%d %H:%M:%S} (+08:00)")
    assert f"{began:%H:%M:%S} (+08:00)" in say(database, dispatch, f"/show {claim.run_id[:8]}")


def test_show_tells_what_became_of_a_run_and_why_where_its_time_went(database, dispatch):
    claim = dispatch(claimed(database, "/greet Ada"))
    finish(database, claim)
    database.usage.record(tenant="default", model="tiny", tokens_in=12, tokens_out=3, total_ms=7.0, run_id=claim.run_id)

    shown = say(database, dispatch, f"/show {claim.run_id[:8]}")
    explained = say(database, dispatch, "/why")

    assert f"**greet** [{claim.run_id[:8]}](http://127.0.0.1:3000/runs/{claim.run_id}) · answered" in shown
    assert "Asked: /greet Ada" in shown
    assert "Answered: done" in shown
    assert "- waited for a worker: " in explained
    assert "- worked until the answer: " in explained
    assert "the model tiny: 7 ms, 12 tokens read, 3 written" in explained
    assert "首个词" not in say(database, dispatch, "/为什么")


def test_others_runs_are_neither_shown_nor_explained(database, dispatch):
    theirs = dispatch(claimed(database, "/greet Bob", account="bob", address=Address(channel="web", conversation="c2")))

    assert "You have no run whose id begins" in say(database, dispatch, f"/show {theirs.run_id}")
    assert "You have started nothing yet" in say(database, dispatch, "/why")


def control(database: Database, dispatch: Dispatcher, text: str, **more) -> str:
    """Say a control command while the conversation is busy: it overtakes."""
    more = {"address": HERE, "account": "ada", **more}
    database.inbox.receive([InboundMessage(event_id=f"e{next(EVENTS)}", text=text, **more)])
    (message,) = database.inbox.claim("w1", words=dispatch.words)
    assert dispatch(message) is None
    return answer_to(database, message)


def test_cancel_ends_what_runs_in_this_conversation(database, dispatch):
    claim = dispatch(claimed(database, "/greet Ada"))

    answer = control(database, dispatch, "/cancel")

    assert "Cancelling greet" in answer
    assert database.runs.cancels([claim.run_id]) == {claim.run_id}


def test_cancel_finds_a_run_by_the_beginning_of_its_id(database, dispatch):
    claim = dispatch(claimed(database, "/greet Ada"))

    elsewhere = Address(channel="web", conversation="c9")
    answer = say(database, dispatch, f"/取消 {claim.run_id[:8]}", address=elsewhere)

    assert "正在取消 greet" in answer
    assert database.runs.get(claim.run_id).cancel_requested


def test_nobody_cancels_the_run_of_another(database, dispatch):
    claim = dispatch(claimed(database, "/greet Ada"))

    here = control(database, dispatch, "/cancel", account="bob")
    by_id = control(database, dispatch, f"/cancel {claim.run_id[:8]}", account="bob")

    assert "somebody else's" in here
    assert "You have no run" in by_id
    assert not database.runs.get(claim.run_id).cancel_requested


def test_an_administrator_cancels_any_run(database, dispatch):
    claim = dispatch(claimed(database, "/greet Ada"))
    database.principals.resolve("default", "web", "root", roles=("user", "admin"))

    assert "Cancelling" in control(database, dispatch, f"/cancel {claim.run_id}", account="root")


def test_cancel_with_nothing_to_cancel_says_so(database, dispatch):
    assert "Nothing runs" in say(database, dispatch, "/cancel")
    assert "at least 4" in say(database, dispatch, "/cancel a")
    finished = dispatch(claimed(database, "/greet Ada"))
    finish(database, finished)
    assert "ended already" in say(database, dispatch, f"/cancel {finished.run_id}")


def test_forget_asks_first_and_then_removes_transcript_and_recollections(database, dispatch, memory):
    say(database, dispatch, "/whoami")
    principal = database.principals.resolve("default", "web", "ada")

    assert "/forget yes" in say(database, dispatch, "/forget")
    assert memory.forgotten == []

    assert "Forgotten" in say(database, dispatch, "/forget yes")
    assert memory.forgotten == [Scope.principal("default", principal.id)]
    assert [entry.text[:7] for entry in database.transcript.recent(HERE)] == ["/forget", "🧹 Forgo"]


def test_in_a_group_only_an_administrator_makes_it_forget(database, dispatch, memory):
    group = {"address": Address(channel="web", conversation="group"), "direct": False}
    database.principals.resolve("default", "web", "root", roles=("admin",))

    assert "only an administrator" in say(database, dispatch, "/forget yes", **group)
    assert memory.forgotten == []
    assert "Forgotten" in say(database, dispatch, "/forget yes", account="root", **group)
    assert memory.forgotten == [Scope.conversation("default", "web", "group")]


def proposed(database: Database, dispatch: Dispatcher, account: str, conversation: str, *, direct: bool) -> str:
    address = Address(channel="web", conversation=conversation)
    say(database, dispatch, "/whoami", account=account, address=address, direct=direct)
    principal = database.principals.resolve("default", "web", account)
    return database.proposals.put(address, principal.id, "(plan)", {"request": "my secret"}).id


def test_forgetting_takes_what_was_proposed_in_ones_direct_conversations(database, dispatch):
    mine = [proposed(database, dispatch, "ada", place, direct=True) for place in ("c1", "c2")]
    in_group = proposed(database, dispatch, "ada", "group", direct=False)
    of_bob = proposed(database, dispatch, "bob", "bobs", direct=True)

    assert "Forgotten" in say(database, dispatch, "/forget yes")

    assert [database.proposals.get(one) for one in mine] == [None, None]
    assert database.proposals.get(in_group)
    assert database.proposals.get(of_bob)


def test_forgetting_a_group_takes_what_was_proposed_to_anybody_there(database, dispatch):
    database.principals.resolve("default", "web", "root", roles=("admin",))
    in_group = [proposed(database, dispatch, who, "group", direct=False) for who in ("ada", "root")]
    direct = proposed(database, dispatch, "root", "c2", direct=True)
    group = {"address": Address(channel="web", conversation="group"), "direct": False}

    assert "Forgotten" in say(database, dispatch, "/forget yes", account="root", **group)

    assert [database.proposals.get(one) for one in in_group] == [None, None]
    assert database.proposals.get(direct)


def test_nothing_is_forgotten_by_half(database, dispatch, memory):
    say(database, dispatch, "/whoami")
    memory.up = False

    assert "nothing was removed" in say(database, dispatch, "/forget yes")
    assert len(database.transcript.recent(HERE)) == 4


def test_nothing_is_forgotten_while_an_answer_is_under_way(database, dispatch, memory):
    dispatch(claimed(database, "remember that I like tea"))

    assert "still being answered" in control(database, dispatch, "/forget yes")
    assert memory.forgotten == []


def propose(database: Database, account: str = "ada", **args):
    principal = database.principals.resolve("default", "web", account)
    return database.proposals.put(HERE, principal.id, "greet", args or {"name": "Ada"})


@pytest.mark.parametrize("text", ["yes", "OK", "好", "确认。"])
def test_yes_runs_exactly_the_proposed_command(database, dispatch, text):
    propose(database, name="Ada", times=2)

    claim = dispatch(claimed(database, text))

    assert claim.job == "greet"
    assert claim.request["run_config"] == {"ops": {"greet_op": {"config": {"name": "Ada", "times": 2}}}}


def test_a_second_yes_runs_nothing_more(database, dispatch):
    propose(database)
    finish(database, dispatch(claimed(database, "yes")))

    assert "Nothing here waits" in say(database, dispatch, "yes")


def test_one_yes_routed_by_two_workers_at_once_runs_the_command_once(database, dispatch):
    propose(database)
    message = claimed(database, "yes")

    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda _: _quietly(dispatch, message), range(2)))

    assert sum(isinstance(result, RunClaim) for result in results) == 1
    assert len(database.runs.latest(tenant="default")) == 1


def _quietly(dispatch, message):
    try:
        return dispatch(message)
    except LeaseLost:
        return None


def test_no_closes_the_proposal(database, dispatch):
    propose(database)

    assert "nothing was run" in say(database, dispatch, "no")
    assert "Nothing here waits" in say(database, dispatch, "yes")


def test_somebody_elses_yes_is_no_yes(database, dispatch):
    propose(database, "ada")

    message = claimed(database, "yes", account="bob")
    assert dispatch(message) is None
    assert "Nothing here waits" in answer_to(database, message)


def test_a_yes_said_before_the_question_is_no_yes(database, dispatch):
    early = claimed(database, "yes")
    propose(database)

    assert dispatch(early) is None
    assert "Nothing here waits" in answer_to(database, early)


@pytest.mark.parametrize(("text", "told"), [("No.", "waits for your yes or no"), ("是", "没有等待你回答")])
def test_a_bare_yes_or_no_with_nothing_asked_needs_no_model(database, dispatch, text, told):
    assert told in say(database, dispatch, text)
    assert database.runs.latest(tenant="default") == []


def test_a_bare_yes_to_a_question_of_the_models_goes_to_the_model(database, dispatch):
    finish(database, dispatch(claimed(database, "tell me about ships")), "They float. Shall I tell you more?")

    assert dispatch(claimed(database, "yes")).job == "assistant"


def test_the_button_of_an_older_question_does_not_answer_a_newer_one(database, dispatch):
    spec = load(database).find("greet")
    older = propose(database, name="older")
    _, (yes, _) = present(spec, {"name": "older"}, older.id, "en")
    newer = propose(database, name="newer")

    assert "no longer waits" in say(database, dispatch, yes.text)
    _, (yes, _) = present(spec, {"name": "newer"}, newer.id, "zh")
    assert dispatch(claimed(database, yes.text)).request["run_config"]["ops"]["greet_op"]["config"]["name"] == "newer"


def test_a_proposal_whose_command_has_changed_is_explained(database, dispatch):
    propose(database, name="Ada", gone=1)

    message = claimed(database, "yes")

    assert dispatch(message) is None
    assert "has no argument 'gone'" in answer_to(database, message)
    assert database.runs.latest(tenant="default") == []


def test_a_disabled_principal_is_answered_politely_and_nothing_runs(database, dispatch):
    principal = database.principals.resolve("default", "web", "ada")
    database.principals.disable(principal.id)

    for text in ("/greet Ada", "/help", "hello"):
        assert "may not use" in say(database, dispatch, text)
    assert database.runs.latest(tenant="default") == []


def test_many_threads_route_at_once(database, dispatch):
    database.inbox.receive(
        [
            InboundMessage(
                address=Address(channel="web", conversation=f"t{n}"),
                event_id=f"t{n}",
                account=f"user{n % 5}",
                text=("/help", "/greet Ada", "hello", "/nonsense")[n % 4],
            )
            for n in range(40)
        ]
    )
    messages = database.inbox.claim("w1", limit=40)

    with ThreadPoolExecutor(8) as pool:
        claims = [claim for claim in pool.map(dispatch, messages) if claim]

    assert len(messages) == 40
    assert sorted(claim.job for claim in claims) == ["assistant"] * 10 + ["greet"] * 10
