"""Losing the connection and coming back: nothing is lost, nothing is shown or done twice."""

from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.browser.chat import Chat
from tests.browser.script import Answer, Gate, Lose, Op, Settle, assistant, delta
from tests.browser.standin import Standin


def test_a_message_said_while_disconnected_is_sent_once_when_the_connection_is_back(
    chat: Chat, standin: Standin
) -> None:
    standin.away = True
    standin.drop()
    chat.wait_state("waiting")
    turn = chat.say("are you there?")
    expect(turn).to_contain_text("Will be sent when the connection is back")
    standin.away = False
    assert chat.wait_answer() == "You said: are you there?"
    assert len(standin.said("are you there?")) == 1
    expect(chat.said_by_user).to_have_count(1)


def test_a_lost_acceptance_leads_to_one_message(chat: Chat, standin: Standin) -> None:
    standin.lose_accepted = 1
    chat.say("once")
    chat.wait_answer()
    chat.wait_state("ready")
    sent = [frame["event_id"] for frame in standin.received if frame["type"] == "message"]
    assert len(sent) == 2
    assert len(set(sent)) == 1
    assert len(standin.said("once")) == 1
    expect(chat.said_by_user).to_have_count(1)
    expect(chat.answers).to_have_count(1)


def test_an_unsent_message_survives_reloading_the_page(chat: Chat, standin: Standin) -> None:
    standin.away = True
    standin.drop()
    chat.wait_state("waiting")
    chat.say("keep me")
    standin.away = False
    chat.page.reload()
    assert chat.wait_answer() == "You said: keep me"
    assert len(standin.said("keep me")) == 1
    assert chat.page.evaluate("Object.keys(localStorage).filter(key => key.includes('unsent'))") == []


def test_a_connection_lost_while_tokens_stream_is_made_up_for(chat: Chat, standin: Standin) -> None:
    standin.scripts["long"] = [
        Op("think", "started"), delta("one "), Gate("cut"), delta("two "), Gate("back"), delta("three"), Gate("end"),
        Answer("one two three"), Settle(),
    ]  # fmt: skip
    chat.say("long")
    expect(chat.streaming).to_have_text("one")
    standin.drop()
    standin.open("cut")
    standin.wait_at("back")
    expect(chat.streaming).to_have_text("one two")
    standin.open("back")
    expect(chat.streaming).to_have_text("one two three")
    standin.open("end")
    assert chat.wait_answer() == "one two three"
    expect(chat.turns).to_have_count(1)


def test_an_answer_that_came_while_disconnected_is_there_after_coming_back(chat: Chat, standin: Standin) -> None:
    standin.scripts["long"] = assistant(Answer("one two three four"), hold="middle")
    chat.say("long")
    chat.wait_token()
    standin.away = True
    standin.drop()
    chat.wait_state("waiting")
    standin.open("middle")
    standin.away = False
    assert chat.wait_answer() == "one two three four"
    expect(chat.streaming).to_have_count(0)
    expect(chat.turns).to_have_count(1)


def test_frames_that_come_twice_change_nothing(chat: Chat, standin: Standin) -> None:
    standin.twice = True
    chat.say("twice")
    assert chat.wait_answer() == "You said: twice"
    chat.wait_op("remember", "succeeded")
    expect(chat.turns).to_have_count(1)
    expect(chat.answers).to_have_count(1)
    assert len(chat.ops()) == 6


def test_progress_lost_on_the_way_is_fetched_anew(chat: Chat, standin: Standin) -> None:
    lost = Lose({"type": "delta", "text": "two "})
    standin.scripts["gap"] = [delta("one "), lost, delta("three"), Gate("end"), Answer("one two three"), Settle()]
    chat.say("gap")
    expect(chat.streaming).to_have_text("one two three")
    standin.open("end")
    chat.wait_answer()


def test_reloading_shows_the_conversation_and_what_is_running(chat: Chat, standin: Standin) -> None:
    chat.say("first")
    chat.wait_answer()
    standin.scripts["second"] = assistant(Answer("one two three four"), hold="middle")
    chat.say("second")
    chat.wait_token()
    chat.page.reload()
    chat.wait_tokens("one two")
    chat.wait_op("think", "started")
    expect(chat.said_by_user).to_have_count(2)
    standin.open("middle")
    assert chat.wait_answer() == "one two three four"


def test_two_tabs_show_the_same_conversation(chat: Chat, new_page: Callable[..., Page], standin: Standin) -> None:
    other = Chat(new_page(chat.page.context)).open(chat.page.url)
    chat.say("hello")
    assert other.wait_answer() == "You said: hello"
    expect(other.said_by_user).to_have_count(1)
    expect(chat.said_by_user).to_have_count(1)


def test_a_refused_message_can_be_edited_sent_again_or_discarded(chat: Chat, standin: Standin) -> None:
    standin.problems["too much"] = "100 messages wait already."
    turn = chat.say("too much")
    expect(turn).to_contain_text("Not sent: 100 messages wait already.")
    chat.page.reload()
    expect(chat.said_by_user).to_contain_text("Not sent")
    chat.page.get_by_role("button", name="Edit").click()
    expect(chat.box).to_have_value("too much")
    expect(chat.said_by_user).to_have_count(0)
    chat.box.press("Enter")
    expect(chat.said_by_user).to_contain_text("Not sent")
    del standin.problems["too much"]
    chat.page.get_by_role("button", name="Send again").click()
    assert chat.wait_answer() == "You said: too much"
    expect(chat.said_by_user).to_have_count(1)


def test_a_session_that_ended_is_told_and_nothing_is_lost(chat: Chat, standin: Standin) -> None:
    standin.locked = True
    standin.drop()
    chat.wait_state("locked")
    expect(chat.banner).to_contain_text("not signed in")
    chat.say("later")
    standin.locked = False
    chat.page.get_by_role("button", name="I have signed in").click()
    assert chat.wait_answer() == "You said: later"
    expect(chat.banner).to_be_hidden()


def test_without_a_network_the_page_says_so_and_comes_back_by_itself(chat: Chat) -> None:
    chat.page.context.set_offline(True)
    chat.wait_state("offline")
    expect(chat.banner).to_contain_text("No network")
    chat.say("kept")
    chat.page.context.set_offline(False)
    assert chat.wait_answer() == "You said: kept"


def test_a_long_loss_shows_a_banner_with_a_button(chat: Chat, standin: Standin) -> None:
    standin.away = True
    standin.drop()
    expect(chat.banner).to_contain_text("The connection is lost")
    standin.away = False
    chat.page.get_by_role("button", name="Try now").click()
    chat.wait_state("ready")
    expect(chat.banner).to_be_hidden()


def test_pauses_between_attempts_grow_and_are_jittered(chat: Chat, standin: Standin) -> None:
    standin.away = True
    waits = chat.page.evaluate("""async () => {
        const { Connection } = await import("/app/connection.js");
        const waits = [];
        for (const random of [() => 0, () => 1]) {
            const mine = [];
            await new Promise((done) => {
                const connection = new Connection({
                    url: () => `ws://${location.host}/v1/chat?conversation=x`, hello: () => ({}), random,
                    diagnose: async () => null, onframe: () => {},
                    onstate: (state) => {
                        if (state !== "waiting") return;
                        mine.push(connection.retryAt - Date.now());
                        if (mine.length === 3) setTimeout(() => (connection.close(), done()));
                    },
                });
                connection.open();
            });
            waits.push(mine);
        }
        return waits;
    }""")
    lowest, highest = waits
    for index, base in enumerate([400, 800, 1600]):
        assert base / 2 - 20 <= lowest[index] <= base / 2 + 20
        assert base - 20 <= highest[index] <= base + 20


def test_conversations_are_kept_apart_and_listed(chat: Chat, standin: Standin) -> None:
    chat.say("about apples")
    chat.wait_answer()
    chat.new_conversation()
    expect(chat.turns).to_have_count(0)
    chat.say("about pears")
    chat.wait_answer()
    expect(chat.conversations).to_have_count(2)
    chat.conversations.filter(has_text="about apples").click()
    expect(chat.answers).to_have_count(1)
    expect(chat.answers).to_contain_text("apples")
    assert len({message.conversation for message in standin.messages.values()}) == 2
    chat.page.go_back()
    expect(chat.answers).to_contain_text("pears")


def test_a_draft_waits_in_its_conversation(chat: Chat) -> None:
    chat.say("first")
    chat.wait_answer()
    chat.box.fill("half a thought")
    chat.new_conversation()
    expect(chat.box).to_have_value("")
    chat.conversations.filter(has_text="first").click()
    expect(chat.box).to_have_value("half a thought")
    chat.page.reload()
    expect(chat.box).to_have_value("half a thought")


def test_a_link_to_a_conversation_opens_it(chat: Chat, new_page: Callable[..., Page]) -> None:
    chat.say("hello")
    chat.wait_answer()
    other = Chat(new_page()).open(chat.page.url)
    assert other.wait_answer() == "You said: hello"
    expect(other.conversations).to_have_count(1)


def test_a_new_version_of_the_gateway_asks_for_a_reload(chat: Chat, standin: Standin) -> None:
    standin.version = 2
    standin.drop()
    expect(chat.notices).to_contain_text("Runbell was updated.")
    chat.notices.get_by_role("button", name="Reload").click()
    chat.wait_state("ready")
    expect(chat.notices).to_have_count(0)
