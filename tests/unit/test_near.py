"""What was perhaps meant is near to what was typed."""

import pytest

from integrations.near import near

COMMANDS = ["health", "h", "help", "sales", "s", "status", "digest", "schedule", "summary", "体检", "销售", "问好"]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("helth", "health"), ("salse", "sales"), ("digset", "digest"), ("sched", "schedule"), ("问号", "问好")],
)
def test_a_mistyped_name_is_found(typed: str, meant: str) -> None:
    assert near(typed, COMMANDS) == [meant]


@pytest.mark.parametrize("typed", ["frobnicate", "xyzzy", "qwhqw", "gibberish", "hh", "hs", "吃饭", "", "x" * 10_000])
def test_nonsense_is_near_to_nothing(typed: str) -> None:
    assert near(typed, COMMANDS) == []


def test_several_are_told_with_the_nearest_first() -> None:
    assert near("summry", ["summit", "summary", "sums"], most=2) == ["summary", "summit"]
