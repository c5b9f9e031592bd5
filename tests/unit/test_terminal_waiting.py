"""What the command line tells of a message that waits for a decision."""

import pytest

from orchestration.terminal.answers import Waiting

WAIT = {"text": "⏳ `/pay order=7` waits for approval `abc` by manager.", "approval_id": "abc"}


def test_a_wait_for_an_approval_is_told_once_with_how_to_answer(capsys: pytest.CaptureFixture[str]) -> None:
    waiting = Waiting()

    waiting({"waits_for": WAIT})
    waiting({"waits_for": WAIT})

    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("by manager") == 1
    assert "/approve abc" in told.err
    assert "send '/deny abc'" in told.err


def test_another_wait_is_told_in_its_own_words(capsys: pytest.CaptureFixture[str]) -> None:
    Waiting()({"waits_for": {"text": "waits for the event x", "approval_id": None}})

    assert capsys.readouterr().err == "⏳ waits for the event x\n"
