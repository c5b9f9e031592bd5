"""What is removed from texts, what is refused, and what must stay."""

import pytest

from integrations.errors import InvalidInput
from integrations.security.text import check_name, check_value, clean


@pytest.mark.parametrize(
    "text",
    [
        "hello",
        "两行\n中文，全角。",
        "tab\there",
        "👩‍👩‍👧‍👦 family",
        "مرحبا \u200f mark",
        "\u2067isolated\u2069",
        "e\u0301",
    ],
)
def test_harmless_text_stays_as_it_is(text: str) -> None:
    assert clean(text) == text


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("a\r\nb\rc", "a\nb\nc"),
        ("bell\x07 escape\x1b[31m", "bell escape[31m"),
        ("delete\x7f c1\x9b31m", "delete c131m"),
        ("user\u202etxt.exe", "usertxt.exe"),
        ("\u202aembedded\u202c \u202doverridden\u202c", "embedded overridden"),
    ],
)
def test_control_and_override_characters_are_removed(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned


@pytest.mark.parametrize("text", ["a\x00b", "\ud800", "好\udfff"])
def test_what_no_database_can_hold_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        clean(text)


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "a\u202eb", "a\x00"])
def test_names_hold_nothing_invisible(name: str) -> None:
    with pytest.raises(InvalidInput):
        check_name(name, field="conversation")


@pytest.mark.parametrize("value", [float("nan"), {"a": ["\x00"]}, {"\ud800": 1}, {"a": float("inf")}])
def test_values_that_json_or_the_database_refuse_are_refused(value: object) -> None:
    with pytest.raises(InvalidInput):
        check_value(value, field="args")


def test_endless_nesting_is_refused() -> None:
    value: object = 1
    for _ in range(100):
        value = [value]

    with pytest.raises(InvalidInput, match="deep"):
        check_value(value, field="args")
