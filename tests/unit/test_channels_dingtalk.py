"""What DingTalk's callbacks say; shapes as dingtalk-stream reads them."""

import json
from typing import Any

import pytest

from integrations.channels.dingtalk.inbound import Pressed, Said, read_message, read_press
from integrations.errors import InvalidInput


def message(**more: Any) -> dict[str, Any]:
    return {
        "conversationId": "cid1==",
        "conversationType": "2",
        "chatbotUserId": "$:LWCP:bot",
        "msgId": "msg1",
        "senderId": "$:LWCP:ann",
        "senderNick": "安\u202e",
        "senderStaffId": "ann01",
        "msgtype": "text",
        "text": {"content": " 部署 now "},
        **more,
    }


def said(data: dict[str, Any]) -> Said:
    found = read_message(data)
    assert found is not None
    return found


def test_a_group_hears_a_text_without_the_blank_of_the_mention() -> None:
    found = said(message())

    assert (found.text, found.conversation, found.account, found.name) == ("部署 now", "cid1==", "ann01", "安")
    assert not found.direct


def test_one_person_is_known_by_staff_id_and_a_guest_by_the_session() -> None:
    assert said(message(conversationType="1")).conversation == "user/ann01"
    guest = said(message(conversationType="1", senderStaffId=None))
    assert (guest.conversation, guest.account) == ("session/cid1==", "$:LWCP:ann")


def test_rich_text_audio_and_files_are_read() -> None:
    rich = {"richText": [{"text": "look "}, {"type": "picture", "downloadCode": "c1"}, {"text": "here"}]}
    audio = {"downloadCode": "c2", "recognition": "你好", "duration": 1}
    file = {"downloadCode": "c3", "fileName": "a.pdf", "fileId": "1", "spaceId": "2"}

    found = said(message(msgtype="richText", content=rich))
    assert (found.text, [part.code for part in found.files]) == ("look here", ["c1"])
    assert said(message(msgtype="audio", content=audio)).text == "你好"
    assert [part.name for part in said(message(msgtype="file", content=file)).files] == ["a.pdf"]


@pytest.mark.parametrize("more", [{"senderId": "$:LWCP:bot"}, {"msgtype": "unknown"}, {"text": {"content": "  "}}])
def test_what_is_not_for_us_is_passed_over(more: dict[str, Any]) -> None:
    assert read_message(message(**more)) is None


@pytest.mark.parametrize(
    "more", [{"msgId": None}, {"senderId": 5}, {"conversationId": "a b"}, {"msgtype": "file", "content": {}}]
)
def test_what_lacks_its_ids_is_refused(more: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        read_message(message(**more))


def test_a_press_tells_who_and_what() -> None:
    params = {"token": "T", "conversation": "cid1=="}
    content = json.dumps({"cardPrivateData": {"actionIds": ["b1"], "params": params}})
    data = {"userId": "ann01", "outTrackId": "card1", "content": content}

    assert read_press(data, "card:f1") == Pressed("card:f1", "ann01", "cid1==", "T", "card1")
    assert read_press({**data, "content": "{}"}, "card:f1") is None
    with pytest.raises(InvalidInput):
        read_press({**data, "content": "no JSON"}, "card:f1")
