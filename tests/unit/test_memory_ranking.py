"""Words, characters and vectors in one score."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integrations.memory.ranking import ASK_BACK, FREE_TEXT, cosines, distinctive, fuse, lexical

SENTENCES = json.loads((Path(__file__).parents[1] / "data" / "memory_routing.json").read_text(encoding="utf-8"))[
    "tuned"
]
TEXTS = [(name, text) for name, one in SENTENCES["commands"].items() for text in (one["description"], *one["examples"])]


def test_the_same_words_score_highest():
    scores = lexical("my dog Rex", ["The weather is fine.", "My dog is called Rex.", "Rex the king."])

    assert scores[1] == max(scores)
    assert scores[0] == 0


def test_an_equal_text_scores_one():
    assert lexical("预订会议室", ["预订会议室", "别的"])[0] == pytest.approx(1.0)


def test_case_width_and_endings_do_not_matter():
    first, second = lexical("MEETINGS １２３", ["meeting 123", "other"])

    assert first == pytest.approx(1.0)
    assert second == 0


def test_chinese_is_compared_by_characters():
    scores = lexical("服务器在哪里", ["我的狗叫小黑", "我们的服务器在上海"])

    assert scores[0] < FREE_TEXT < scores[1]


def test_words_that_everything_contains_count_little():
    texts = ["report alpha", "report beta", "report gamma", "unrelated alpha"]

    scores = lexical("report alpha", texts)

    assert scores[3] > scores[1]


def test_a_long_passage_can_still_match_well():
    passage = "The rotation of passwords happens on Mondays. " + "Many other words stand around it here. " * 20

    assert lexical("password rotation", [passage, "nothing"])[0] > ASK_BACK


def test_a_query_of_nothing_but_punctuation_matches_nothing():
    assert lexical("?!。", ["?!。", "a"]) == [0, 0]


def test_an_unreadable_text_is_ranked_by_its_characters_alone():
    assert fuse([0.9, 0.1], [0.2, 0.6], 0.5) == [0.2, 0.6]


def test_a_readable_text_is_ranked_by_its_vector_first():
    scores = fuse([0.8, 0.3], [0.0, 0.9], 0.0)

    assert scores[0] > scores[1]


def test_each_text_may_have_its_own_share_of_unknown_tokens():
    assert fuse([0.9, 0.9], [0.1, 0.1], [0.0, 1.0]) == [pytest.approx(0.92), pytest.approx(0.1)]


@given(
    st.lists(st.tuples(st.floats(-1, 1), st.floats(0, 1), st.floats(0, 1)), max_size=20),
)
def test_fused_scores_lie_between_0_and_1(rows: list[tuple[float, float, float]]):
    scores = fuse([row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows])

    assert all(0 <= score <= 1 for score in scores)


@given(st.text(max_size=200), st.lists(st.text(max_size=200), max_size=8))
def test_lexical_scores_lie_between_0_and_1_for_any_text(query: str, texts: list[str]):
    assert all(0 <= score <= 1.0000001 for score in lexical(query, texts))


def test_the_cosine_of_an_empty_vector_is_zero():
    assert cosines([1, 0], [[1, 0], [0, 2], [0, 0]]) == [1, 0, 0]
    assert cosines([1, 0], []) == []


def test_a_literal_search_asks_for_rare_words_and_chinese_pairs():
    assert distinctive("When is the deadline?") == ["deadlin"]
    assert "截止" in distinctive("截止日期是什么")


@pytest.mark.parametrize(("language", "right"), [("english", 27), ("chinese", 18)])
def test_words_alone_find_the_command_as_often_as_measured(language: str, right: int):
    found = [_best(sentence)[0] == command for sentence, command in SENTENCES[language]]

    assert sum(found) >= right


def test_words_alone_start_no_command_for_other_talk():
    assert [sentence for sentence in SENTENCES["outside"] if _best(sentence)[1] >= ASK_BACK] == []


def _best(sentence: str) -> tuple[str, float]:
    scores = lexical(sentence, [text for _, text in TEXTS])
    best = max(range(len(TEXTS)), key=lambda index: scores[index])
    return TEXTS[best][0], scores[best]
