"""What the assistant says of itself."""

import pytest

from orchestration.ops.answering.wording import (
    general_talk,
    introduction,
    is_introduction,
    is_pleasantry,
    no_chinese,
    without_notes,
)


@pytest.mark.parametrize(
    "text",
    ["Who are you?", "hi, who are you", "What can you do?", "What is your name?", "help", "你是谁？", "你能做什么"],
)
def test_questions_about_runbell_are_recognised(text):
    assert is_introduction(text)


@pytest.mark.parametrize(
    "text", ["who are you to say that", "What can you do about the outage?", "help Bob with his report", "你是谁的朋友"]
)
def test_other_questions_are_not(text):
    assert not is_introduction(text)


def test_an_introduction_needs_no_model():
    assert "a language model" in introduction("en", None, [])
    assert "语言模型" in introduction("zh", None, [])


@pytest.mark.parametrize("text", ["Hello", "hi there!", "Thanks a lot!", "Good night", "你好", "谢谢！"])
def test_pleasantries_are_recognised(text):
    assert is_pleasantry(text)


@pytest.mark.parametrize("text", ["Hello, what is the capital of France?", "there is a fire", "你好，法国的首都是哪里"])
def test_more_than_a_pleasantry_is_not_one(text):
    assert not is_pleasantry(text)


def test_notes_under_an_answer_are_no_part_of_it():
    assert without_notes(f"Paris.\n\n{general_talk('en', 'm')}") == "Paris."
    assert without_notes(f"巴黎。\n\n{general_talk('zh', 'm')}") == "巴黎。"


def test_a_greeting_in_chinese_is_returned():
    assert no_chinese("你好", "smollm2-135m").startswith("你好！")
    assert not no_chinese("法国的首都是哪里？", "smollm2-135m").startswith("你好")
