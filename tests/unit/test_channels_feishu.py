"""What Feishu's events say, and the frames of its long connection; shapes as lark-oapi's own tests record them."""

import json
from typing import Any

import pytest

from integrations.channels.feishu.cards import build, write
from integrations.channels.feishu.frames import CONTROL, DATA, Frame, decode, encode
from integrations.channels.feishu.inbound import Pressed, Recalled, Said, read
from integrations.channels.feishu.socket import Parts, checked
from integrations.errors import InvalidInput, Rejected
from integrations.messages import Address, Choice, OutboundMessage

BOT = {"key": "@_user_1", "id": {"open_id": "ou_bot", "union_id": "on_1"}, "name": "Runbell", "tenant_key": "t"}
EVE = {"key": "@_user_2", "id": {"open_id": "ou_eve"}, "name": "Eve", "tenant_key": "t"}


def event(kind: str, content: object, *, sender: str = "user", **more: Any) -> dict[str, Any]:
    message = {"message_id": "om_1", "chat_id": "oc_1", "chat_type": "group", "message_type": kind, **more}
    message["content"] = content if isinstance(content, str) else json.dumps(content)
    who = {"sender_id": {"open_id": "ou_ann"}, "sender_type": sender, "tenant_key": "t"}
    header = {"event_id": "e1", "event_type": "im.message.receive_v1", "token": "v", "app_id": "cli"}
    return {"schema": "2.0", "header": header, "event": {"sender": who, "message": message}}


def said(document: dict[str, Any]) -> Said:
    found = read(document)
    assert isinstance(found, Said)
    return found


def test_mentions_become_names_and_our_own_falls_away() -> None:
    found = said(event("text", {"text": "@_user_1 ask @_user_2 and @_all 好"}, mentions=[BOT, EVE]))

    assert found.spoken("ou_bot") == "ask @Eve and @all 好"
    assert found.mentions("ou_bot")


def test_rich_text_keeps_links_code_and_pictures() -> None:
    rows: list[list[dict[str, str]]] = [
        [
            {"tag": "at", "user_id": "@_user_1"},
            {"tag": "text", "text": " see "},
            {"tag": "a", "text": "a", "href": "b"},
        ],
        [{"tag": "img", "image_key": "img_1"}],
        [{"tag": "code_block", "language": "PYTHON", "text": "x = 1\n"}],
    ]
    found = said(event("post", {"title": "Title", "content": rows}, mentions=[BOT]))

    assert found.spoken("ou_bot") == "Title\n see [a](b)\n\n```python\nx = 1\n```"
    assert [(file.key, file.kind) for file in found.files] == [("img_1", "image")]


def test_a_thread_of_a_group_is_a_conversation_of_its_own() -> None:
    assert said(event("text", {"text": "hi"})).conversation == "oc_1/om_1"
    assert said(event("text", {"text": "hi"}, root_id="om_0")).conversation == "oc_1/om_0"
    assert said(event("text", {"text": "hi"}, chat_type="p2p")).conversation == "oc_1"


@pytest.mark.parametrize(
    "document",
    [
        event("text", {"text": "hi"}, sender="app"),
        event("sticker", {"file_key": "f"}),
        {"schema": "2.0", "header": {"event_type": "im.chat.updated_v1"}, "event": {}},
        {"schema": "2.0", "header": {"event_type": "card.action.trigger"}, "event": {"action": {"value": {"x": 1}}}},
        {},
    ],
)
def test_what_is_not_for_us_is_passed_over(document: dict[str, Any]) -> None:
    assert read(document) is None


@pytest.mark.parametrize(
    "document",
    [
        event("text", "no JSON"),
        event("text", "[" * 100_000),
        event("text", {"text": "hi"}, message_id="../x"),
        event("file", {"file_key": 7}),
        event("text", {"text": "hi"}, chat_id=None),
    ],
)
def test_what_lacks_its_ids_is_refused(document: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        read(document)


def test_a_press_must_come_from_the_chat_its_button_was_made_for() -> None:
    value = {"token": "T", "conversation": "oc_1/om_0"}
    pressed: dict[str, Any] = {
        "operator": {"open_id": "ou_ann"},
        "action": {"tag": "button", "value": value},
        "context": {"open_message_id": "om_9", "open_chat_id": "oc_1"},
    }
    document: dict[str, Any] = {"header": {"event_type": "card.action.trigger", "event_id": "e9"}, "event": pressed}

    assert read(document) == Pressed("card:e9", "om_9", "oc_1/om_0", "ou_ann", "T", None)
    pressed["context"] = {"open_message_id": "om_9", "open_chat_id": "oc_2"}
    with pytest.raises(InvalidInput, match="another chat"):
        read(document)


def test_taking_back_is_told_by_the_message() -> None:
    header = {"event_type": "im.message.recalled_v1", "event_id": "e"}
    document: dict[str, Any] = {"header": header, "event": {"message_id": "om_1", "chat_id": "oc_1"}}

    assert read(document) == Recalled("recall:om_1", "om_1", "oc_1")


def test_a_card_carries_the_sealed_text_and_its_conversation() -> None:
    message = OutboundMessage(
        address=Address(channel="feishu", conversation="oc_1/om_0"),
        text='say "ok"\n好',
        choices=(Choice(label="Yes", text="/yes", style="danger"),),
    )
    card = build(message, lambda text: f"sealed {text}", lambda _: "")

    assert card["body"]["elements"][0] == {"tag": "markdown", "content": 'say "ok"\n好'}
    assert '"value":{"token":"sealed /yes","conversation":"oc_1/om_0"}' in write(card)


def test_frames_survive_writing_and_reading() -> None:
    frame = Frame(DATA, 7, 2**63, 5, {"type": "event", "名": "值"}, "gzip", "json", "数据".encode() * 100, "log")

    assert decode(encode(frame)) == frame
    assert encode(Frame(CONTROL, 1, headers={"type": "ping"})) == bytes.fromhex(
        "0800100018012000" + "2a0c" + "0a0474797065" + "120470696e67"
    )


@pytest.mark.parametrize("data", [b"\xff", b"\x2a\xff\x01a", b"\x0b", b"\x80" * 12, b"\x42\x05abc"])
def test_no_frames_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidInput):
        decode(data)


def test_parts_are_joined_in_their_order() -> None:
    parts = Parts()
    headers = {"message_id": "m", "sum": "2"}

    assert parts.join(Frame(DATA, headers={**headers, "seq": "1"}, payload=b"b")) is None
    assert parts.join(Frame(DATA, headers={**headers, "seq": "0"}, payload=b"a")) == b"ab"


@pytest.mark.parametrize("url", ["ws://msg-frontier.feishu.cn/", "wss://evil.example/", "wss://127.0.0.1/", ""])
def test_long_connections_lead_to_the_vendor_only(url: str) -> None:
    assert checked("wss://msg-frontier.feishu.cn/ws/v2?a=1", local=False)
    with pytest.raises(Rejected):
        checked(url, local=False)
