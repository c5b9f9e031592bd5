"""What the intelligent robot's callbacks say, read without any connection."""

from typing import Any

import pytest

from integrations.channels.wecom import robot_events
from integrations.channels.wecom.robot_events import Displaced, Entered, Media, Press, Said
from integrations.channels.wecom.robot_socket import check
from integrations.errors import RateLimited, Rejected, Unavailable
from integrations.messages import utc_now


def read(**body: Any) -> object:
    given = {"msgid": "m1", "from": {"userid": "lin"}, "chattype": "single", **body}
    return robot_events.read(given, "default", utc_now())


def text(content: object, **more: Any) -> object:
    return read(msgtype="text", text={"content": content}, **more)


@pytest.mark.parametrize(
    ("content", "said"),
    [("@Runbell  hello", "hello"), ("hello @all", "hello @all"), ("@机器人\u2005你好", "你好"), (" hi ", "hi")],
)
def test_in_a_group_the_mention_is_not_part_of_what_is_said(content: str, said: str) -> None:
    found = text(content, chattype="group", chatid="G1")

    assert isinstance(found, Said)
    assert (found.message.text, found.message.address.conversation) == (said, "G1")


def test_alone_nothing_is_cut() -> None:
    found = text("@lin hello", chatid="ignored")

    assert isinstance(found, Said)
    assert (found.message.text, found.message.address.conversation) == ("@lin hello", "lin")


def test_texts_and_pictures_may_be_mixed() -> None:
    items = [
        {"msgtype": "text", "text": {"content": "look"}},
        {"msgtype": "image", "image": {"url": "https://x", "aeskey": "k"}},
        {"msgtype": "image"},
        "nonsense",
    ]
    found = read(msgtype="mixed", mixed={"msg_item": items})

    assert isinstance(found, Said)
    assert (found.message.text, found.files) == ("look", (Media("https://x", "k", "image"),))


@pytest.mark.parametrize(
    "body",
    [
        {"msgtype": "text", "text": {"content": " "}},
        {"msgtype": "text", "text": {"content": 7}},
        {"msgtype": "text", "text": "hello"},
        {"msgtype": "text", "text": {"content": "hi"}, "from": {}},
        {"msgtype": "text", "text": {"content": "hi"}, "msgid": ""},
        {"msgtype": "event", "event": {"eventtype": "template_card_event"}},
        {"msgtype": "event", "event": []},
        {},
    ],
)
def test_what_nobody_said_is_nothing(body: dict[str, Any]) -> None:
    assert read(**body) is None


def test_events_are_told_apart() -> None:
    pressed = {"event_key": "token", "task_id": "t1"}
    press = read(msgtype="event", event={"eventtype": "template_card_event", "template_card_event": pressed})

    assert isinstance(press, Press)
    assert (press.token, press.message.kind, press.message.subject) == ("token", "action", "t1")
    assert read(msgtype="event", event={"eventtype": "enter_chat"}) == Entered()
    assert read(msgtype="event", event={"eventtype": "disconnected_event"}) == Displaced()


@pytest.mark.parametrize(("code", "error"), [(45009, RateLimited), (-1, Unavailable), (40058, Rejected)])
def test_a_code_says_what_to_do(code: int, error: type[Exception]) -> None:
    check({"errcode": 0})
    with pytest.raises(error, match=str(code)):
        check({"errcode": code, "errmsg": "x"})
