"""Loops of a small model are found where they begin."""

import time

import pytest

from orchestration.ops.answering.repetition import end_at_sentence, loop_start


def test_a_phrase_three_times_in_a_row_is_a_loop():
    text = "The autumn, a leaf is born, a leaf is born, a leaf is born,"

    start = loop_start(text)

    assert start is not None
    assert text[:start].count("leaf") == 1


def test_a_whole_sentence_said_twice_is_a_loop():
    text = "I am glad you are here. I can help. I am glad you are here."

    assert loop_start(text) == text.rindex(" I am")


@pytest.mark.parametrize("text", ["Paris.", "1. a\n2. b\n3. c", "----------", "| a | b |\n|---|---|", "Yes. No. Yes."])
def test_ordinary_text_is_no_loop(text):
    assert loop_start(text) is None


def test_looking_for_loops_takes_little_time():
    text = "ab" * 20_000 + "c" + "lorem ipsum dolor sit amet " * 10

    began = time.monotonic()
    loop_start(text)

    assert time.monotonic() - began < 0.5


def test_what_follows_the_last_sentence_is_cut():
    assert end_at_sentence("The sky is blue because of air. When light") == "The sky is blue because of air."
    assert (
        end_at_sentence("天空是蓝色的，因为空气会散射更多的蓝色的光线。当光")
        == "天空是蓝色的，因为空气会散射更多的蓝色的光线。"
    )


def test_half_a_sentence_ends_in_an_ellipsis():
    assert end_at_sentence("In the heart of autumn,") == "In the heart of autumn…"
    assert end_at_sentence("") == ""


def test_a_long_text_without_an_end_takes_little_time_at_each_of_its_words():
    text = " ".join(f"word-{number}" for number in range(2_000))

    began = time.process_time()
    for _ in range(100):
        assert loop_start(text, 9) is None

    assert time.process_time() - began < 0.5


def test_a_sentence_that_comes_again_is_found_with_its_last_word():
    text = "I am glad you are here. I can help. I am glad you are here"

    assert loop_start(text, 5) is None
    assert loop_start(f"{text}.", 1) == text.rindex(" I am")
