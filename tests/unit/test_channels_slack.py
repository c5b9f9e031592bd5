"""Slack's payloads, in the shapes that docs.slack.dev shows, read into our messages; our messages as Block Kit."""

from collections.abc import Mapping

import pytest

from integrations.channels.slack import blocks
from integrations.channels.slack.api import Api
from integrations.channels.slack.inbound import Press, Reader, clean
from integrations.errors import InvalidInput
from integrations.messages import Address, Card, Field, Form, InboundMessage, OutboundMessage, Question, Step

READER = Reader("slack", "default")


def event(**fields: object) -> dict[str, object]:
    inner = {"type": "message", "user": "U1", "text": "hi", "channel": "D1", "ts": "17.1", "channel_type": "im"}
    return {
        "type": "event_callback",
        "team_id": "T1",
        "event_id": "Ev1",
        "authorizations": [{"team_id": "T1", "user_id": "UBOT", "is_bot": True}],
        "event": {key: value for key, value in (inner | fields).items() if value is not None},
    }


def read(payload: Mapping[str, object]) -> InboundMessage:
    found = READER.read(payload)
    assert isinstance(found, InboundMessage)
    return found


def test_a_mention_and_the_message_that_comes_with_it_are_one_event() -> None:
    said = "<@UBOT> digest"
    mention = read(event(type="app_mention", channel="C1", text=said, channel_type=None))
    twin = read(event(channel="C1", text=said, channel_type="channel"))

    assert mention.event_id == twin.event_id
    assert mention.text == twin.text == "digest"
    assert mention.address == twin.address == Address(channel="slack", conversation="C1/17.1")


def test_a_reply_in_a_thread_stays_in_its_thread() -> None:
    message = read(event(type="app_mention", channel="C1", text="<@UBOT> more", thread_ts="16.9"))

    assert message.address.conversation == "C1/16.9"
    assert message.subject == "16.9"


@pytest.mark.parametrize(
    "payload",
    [
        event(bot_id="B9"),
        event(user="UBOT"),
        event(subtype="channel_join"),
        event(subtype="bot_message"),
        event(channel="C1", text="people talk"),
        event(type="reaction_added"),
        {"type": "novelty"},
        {"type": "event_callback"},
        {"type": "block_actions"},
        {"type": "view_submission", "view": {"callback_id": "another"}},
    ],
)
def test_what_is_nothing_to_us_is_ignored(payload: dict[str, object]) -> None:
    assert READER.read(payload) is None


def test_an_edit_and_a_removal_name_the_message_they_are_about() -> None:
    now = {"type": "message", "user": "U1", "text": "new", "ts": "17.1", "edited": {"user": "U1", "ts": "18.0"}}
    before = {"type": "message", "user": "U1", "text": "old", "ts": "17.1"}
    changed = read(event(subtype="message_changed", message=now, previous_message=before, ts="18.0"))
    deleted = read(event(subtype="message_deleted", deleted_ts="17.1", previous_message=before, ts="19.0"))

    assert (changed.kind, changed.subject, changed.text) == ("edit", "17.1", "new")
    assert (deleted.kind, deleted.subject, deleted.text) == ("delete", "17.1", "")


def test_a_link_that_slack_unfolds_is_no_edit() -> None:
    same = {"type": "message", "user": "U1", "text": "https://a.b", "ts": "17.1"}

    assert READER.read(event(subtype="message_changed", message=same, previous_message=same)) is None


@pytest.mark.parametrize(
    ("command", "text", "expected"),
    [("/runbell", "digest a=b", "/digest a=b"), ("/runbell", "", "/help"), ("/digest", "a=b", "/digest a=b")],
)
def test_a_slash_command_is_a_command(command: str, text: str, expected: str) -> None:
    payload = {"command": command, "text": text, "user_id": "U1", "channel_id": "C1", "trigger_id": "1.2.a"}

    assert read(payload).text == expected


def test_a_button_below_a_message_with_an_own_thread_still_belongs_to_the_channel() -> None:
    payload = {
        "type": "block_actions",
        "user": {"id": "U1"},
        "container": {"message_ts": "17.1", "channel_id": "C1"},
        "message": {"ts": "17.1", "thread_ts": "17.1"},
        "trigger_id": "9.9.x",
        "actions": [{"action_id": "choice0", "value": "sealed"}],
    }
    found = READER.read(payload)

    assert isinstance(found, Press)
    assert found.message.address.conversation == "C1"


def test_what_is_malformed_is_invalid() -> None:
    with pytest.raises(InvalidInput):
        READER.read(event(ts=17))


def test_slacks_own_markup_becomes_markdown() -> None:
    said = "<@UBOT> ask <@U2|anna> in <#C1|ops> about <https://a.b/?x=1&amp;y|the page> &lt;b&gt; <!here>"

    assert clean(said, "UBOT") == "ask @anna in #ops about [the page](https://a.b/?x=1&y) <b> @here"


def test_a_card_keeps_to_slacks_limits() -> None:
    card = Card(
        title="t" * 200,
        text="body",
        state="running",
        fields=tuple(Field(name=f"f{n}", value="<v>" * 900) for n in range(25)),
        steps=(Step(name="fetch", state="succeeded", ms=1200),),
        url="https://a.b",
    )
    found = blocks.card_blocks(card)

    assert [block["type"] for block in found] == ["header", "markdown", "section", "section", "section", "context"]
    assert all(len(field["text"]) <= 2000 for block in found for field in block.get("fields", []))  # pyright: ignore
    assert "fetch · 1.2 s" in str(found)


def test_a_form_asks_and_reads_its_answers() -> None:
    questions = (Question(name="order", label="Order"), Question(name="fast", label="Fast?", kind="boolean"))
    form = Form(title="A title that is too long for a modal", command="refund", questions=questions)
    view = blocks.modal(form, "token C1/1.1 17.1")

    assert len(view["title"]["text"]) == 24  # pyright: ignore
    assert blocks.answers(form, {"q0": "A-1", "q1": "0"}) == {"order": "A-1", "fast": "true"}
    with pytest.raises(InvalidInput) as refused:
        blocks.answers(form, {"q0": "A-1", "q1": "7"})
    assert refused.value.field == "q1"


def test_what_replaces_a_message_leaves_none_of_its_blocks() -> None:
    message = OutboundMessage(address=Address(channel="slack", conversation="D1"), text="done")

    assert blocks.content(message, str) == {"markdown_text": "done"}
    assert blocks.content(message, str, replacing=True)["blocks"] == [{"type": "markdown", "text": "done"}]


@pytest.mark.parametrize(
    ("url", "slacks"),
    [
        ("https://files.slack.com/files-pri/T1-F1/a.txt", True),
        ("http://files.slack.com/a", False),
        ("https://files.slack.com.evil.example/a", False),
        ("https://slack.com@evil.example/a", False),
        ("https://127.0.0.1/a", False),
        ("file:///etc/passwd", False),
    ],
)
def test_our_token_goes_to_slack_only(url: str, slacks: bool) -> None:
    assert Api("xoxb-1", "https://slack.com/api/").is_slacks(url) is slacks
