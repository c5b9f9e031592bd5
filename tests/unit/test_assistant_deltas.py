"""What answers say is shown in order, once, and many answers share what it costs."""

import threading
import time
from collections import defaultdict
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from integrations.database import Database
from integrations.errors import Unavailable
from integrations.messages import Address
from orchestration.ops.answering.deltas import Deltas
from orchestration.ops.answering.values import Heard

ADDRESS = Address(channel="web", conversation="c")


class Written:
    """Stands in a database's place: keeps what is published, and refuses what it is told to."""

    def __init__(self) -> None:
        self.progress = self
        self.batches: list[list[str]] = []
        self.bodies: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.begun: list[str] = []
        self.refuses: dict[str, Exception] = {}
        self.may_write = threading.Event()
        self.may_write.set()

    def publish_all(self, said: list[tuple[str, Address, dict[str, Any]]], *, begun: list[str]) -> list[int]:
        self.may_write.wait(10)
        for text, error in self.refuses.items():
            if any(text in str(body) for _, _, body in said):
                raise error
        self.batches.append([message_id for message_id, _, _ in said])
        for message_id, _, body in said:
            self.bodies[message_id].append(body)
        self.begun += begun
        return [1] * len(said)

    def text(self, message_id: str) -> str:
        return "".join(body.get("text", "") for body in self.bodies[message_id])


@pytest.fixture
def written() -> Written:
    return Written()


def speaking(written: Written, message_id: str, *, again: bool = False) -> Deltas:
    heard = Heard(
        message_id, ADDRESS, "p", direct=True, text="", characters=0, language="en", accepted_at=datetime.now(UTC)
    )
    return Deltas(cast("Database", cast("object", written)), heard, again=again)


def test_words_of_many_answers_leave_in_order_and_each_once(written: Written) -> None:
    def answer(name: str) -> None:
        with speaking(written, name) as deltas:
            for number in range(50):
                deltas.say(f"{name}{number} ")

    threads = [threading.Thread(target=answer, args=[f"m{number}"]) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    for number in range(20):
        assert written.text(f"m{number}").split() == [f"m{number}{word}" for word in range(50)]


def test_what_many_answers_say_meanwhile_is_one_transaction(written: Written) -> None:
    written.may_write.clear()
    open_ones = [speaking(written, name) for name in ("first", "second", "third")]
    for deltas in open_ones:
        deltas.__enter__()
        deltas.say("word")
    written.may_write.set()
    for deltas in open_ones:
        deltas.__exit__(None, None, None)

    assert len(written.batches) <= 2
    assert sorted(name for batch in written.batches for name in batch) == ["first", "second", "third"]


def test_the_first_words_are_shown_at_once_and_noted(written: Written) -> None:
    with speaking(written, "m") as deltas:
        deltas.say("word")
        until = time.monotonic() + 10
        while not written.begun and time.monotonic() < until:
            time.sleep(0.001)

        assert written.text("m") == "word"
    assert written.begun == ["m"]


def test_what_differs_in_the_end_is_taken_back_first(written: Written) -> None:
    with speaking(written, "m") as deltas:
        deltas.say("Pariss")
        deltas.finish("Paris.")

    kinds = [body["type"] for body in written.bodies["m"]]
    assert kinds[-2:] == ["reset", "delta"]
    assert written.bodies["m"][-1]["text"] == "Paris."


def test_blanks_around_what_was_said_are_no_reason_to_take_it_back(written: Written) -> None:
    with speaking(written, "m") as deltas:
        deltas.say(" Paris. ")
        deltas.finish("Paris.\n\nIt may be wrong.")

    assert all(body["type"] == "delta" for body in written.bodies["m"])
    assert written.text("m").split() == ["Paris.", "It", "may", "be", "wrong."]


def test_an_earlier_attempt_is_taken_back(written: Written) -> None:
    with speaking(written, "m", again=True):
        pass

    assert written.bodies["m"] == [{"type": "reset"}]


def test_a_text_that_can_t_be_stored_harms_its_own_message_only(written: Written) -> None:
    written.refuses["bad"] = ValueError("no such character")
    written.may_write.clear()
    with speaking(written, "good") as good, speaking(written, "bad") as bad:
        bad.say("bad")
        good.say("good")
        written.may_write.set()

    assert written.text("good") == "good"
    assert written.text("bad") == ""


def test_a_database_that_is_away_fails_no_answer(written: Written) -> None:
    written.refuses["word"] = Unavailable("away")

    with speaking(written, "m") as deltas:
        deltas.say("word")

    assert written.batches == []
