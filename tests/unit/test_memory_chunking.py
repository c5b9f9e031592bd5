"""Cutting long texts into passages."""

import re

from hypothesis import given
from hypothesis import strategies as st

from integrations.memory.chunking import MAX_WEIGHT, split, weight


def test_a_short_text_stays_whole():
    assert split("Hello, world.\nHow are you?") == ["Hello, world.\nHow are you?"]


def test_blank_texts_have_no_passages():
    assert split("") == split(" \n\t\n ") == []


def test_english_is_cut_after_a_sentence():
    passages = split("The quick brown fox jumps over the lazy dog. " * 60)

    assert len(passages) > 1
    assert all(passage.endswith("dog.") for passage in passages)


def test_chinese_is_cut_after_a_sentence():
    passages = split("我们的服务器在上海的机房里运行。你知道吗？" * 40)

    assert len(passages) > 1
    assert all(passage[-1] in "。？" for passage in passages)


def test_paragraphs_are_preferred_to_sentences():
    first, second = "One. Two. " * 60, "Three. Four. " * 60

    assert split(f"{first}\n\n{second}") == [first.strip(), second.strip()]


def test_a_decimal_point_ends_no_sentence():
    passages = split("It costs 3.14159265 euros in all" + ", and more" * 100)

    assert any("3.14159265" in passage for passage in passages)


def test_text_without_any_border_is_cut_at_the_limit():
    assert [weight(passage) <= MAX_WEIGHT for passage in split("字" * 1000)] == [True] * 5


@given(st.text(alphabet=st.sampled_from("ab .!?\n。？字库😀é"), max_size=3000))
def test_no_text_is_lost_and_no_passage_is_too_heavy(text: str):
    passages = split(text, max_weight=50)

    assert _solid("".join(passages)) == _solid(text)
    assert all(0 < weight(passage) <= 50 for passage in passages)


def _solid(text: str) -> str:
    return re.sub(r"\s", "", text)
