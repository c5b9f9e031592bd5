"""Whether a passage answers a question. The scores are those that MiniLM gave."""

import sys
from datetime import UTC, datetime, timedelta

import pytest

from integrations.memory.values import Recollection
from orchestration.ops.answering.support import best, only_memory_knows, says_no_more

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def passage(text: str, score: float, *, at: datetime = NOON) -> Recollection:
    return Recollection(id=text[:8], text=text, source="Ada (web)", score=score, at=at, message_id="m")


@pytest.mark.parametrize(
    ("question", "text", "score"),
    [
        ("What is my name?", "My name is Ada.", 0.55),
        ("When is the deploy window?", "the deploy window is Tuesday 9:00", 0.75),
        ("what time is the deployment", "the deploy window is Tuesday 9:00", 0.73),
        ("Where do I live?", "I live in Berlin and work on billing.", 0.37),
        ("How much may I refund?", "The refund limit without approval is 200 euros.", 0.63),
        ("部署窗口是什么时候？", "部署窗口是周二九点", 0.5),
        ("我叫什么名字？", "我叫小明", 0.5),
    ],
)
def test_a_passage_that_answers_is_found(question, text, score):
    assert best(question, [passage(text, score)]) is not None


@pytest.mark.parametrize(
    ("question", "text", "score"),
    [
        ("What is the capital of Germany?", "The capital of France is Paris.", 0.47),
        ("Is Berlin in Germany?", "I live in Berlin and work on billing.", 0.54),
        ("What is Ada Lovelace famous for?", "My name is Ada.", 0.50),
        ("What is a database?", "The staging database runs on db-7.", 0.42),
        ("What is your name?", "My name is Ada.", 0.55),
        ("How are you?", "I am tired today", 0.36),
        ("Hello", "My name is Ada.", 0.34),
        ("我叫什么名字？", "我的狗叫旺财", 0.63),
        ("你是谁？", "我的狗叫旺财", 0.52),
        ("", "My name is Ada.", 0.9),
    ],
)
def test_a_passage_that_is_only_alike_is_not_quoted(question, text, score):
    assert best(question, [passage(text, score)]) is None


def test_of_two_passages_that_answer_the_later_counts():
    old = passage("The deploy window is Tuesday.", 0.75)
    new = passage("The deploy window is Friday.", 0.74, at=NOON + timedelta(days=1))

    assert best("When is the deploy window?", [old, new]) is new


@pytest.mark.parametrize("line", ["word{}", "{}", "deploy{}ment", "部署{}窗口"])
def test_a_paste_of_twice_as_many_lines_takes_twice_as_many_steps(line):
    def steps(lines: int) -> int:
        paste = "\n".join(line.format(_letters(number)) for number in range(10_000, 10_000 + lines))
        counted = 0

        def count(*_: object) -> None:
            nonlocal counted
            counted += 1

        sys.setprofile(count)
        try:
            best(paste, [passage(paste[:2_000], 0.4)] * 8)
        finally:
            sys.setprofile(None)
        return counted

    assert steps(4_000) < 2.2 * steps(2_000)


@pytest.mark.parametrize(
    ("word", "other"),
    [("deploy", "deployment"), ("deployments", "deployed"), ("planning", "planned"), ("db-7", "db-7")],
)
def test_words_are_alike_but_for_their_endings(word, other):
    assert says_no_more(word, other)
    assert says_no_more(other, word)


@pytest.mark.parametrize(
    ("word", "other"), [("plan", "planetary"), ("run", "runs"), ("db-7", "db-8"), ("dev-10", "dev-1")]
)
def test_other_words_are_not(word, other):
    assert not says_no_more(word, other)
    assert not says_no_more(other, word)


def _letters(number: int) -> str:
    return "".join(chr(ord("a") + int(digit)) for digit in str(number))


def test_a_sentence_may_use_the_words_of_its_sources_only():
    note, question = "The deploy window is Tuesday 9:00", "When is the deploy window?"

    assert says_no_more("The deploy window is Tuesday 9:00.", note, question)
    assert not says_no_more("The deploy window is Monday.", note, question)
    assert not says_no_more("It is Tuesday at 10:00.", note, question)
    assert not says_no_more("It is.", note, question)


def test_what_only_memory_can_know_is_told_from_what_a_model_may_say():
    assert only_memory_knows("What is my name?")
    assert only_memory_knows("When did we deploy?")
    assert only_memory_knows("我的生日是哪天？")
    assert not only_memory_knows("What is the capital of France?")
    assert not only_memory_knows("What should I cook tonight?")
    assert not only_memory_knows("Write an email to my boss")
