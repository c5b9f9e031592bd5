"""Help and explanations."""

import pytest

from orchestration.commands.catalogue import Catalogue, compile_location
from orchestration.commands.help import command_line, details, explain, overview, point_at, usage
from orchestration.commands.parse import parse
from orchestration.commands.problems import Problem
from orchestration.commands.proposals import present
from orchestration.commands.values import Unreadable, coerce
from orchestration.commands.wording import expected
from tests.workflows import defs

CATALOGUE = Catalogue(compile_location(defs.get_repository_def(), "test"))


def test_usage_shows_required_arguments_first_and_defaults_of_the_others():
    assert usage(CATALOGUE.find("greet")) == "/greet NAME… [times=1]"
    assert usage(CATALOGUE.find("report")).startswith("/report REGION [days=7] [ratio=0.5] [style=short] [tags=…]")


def test_the_overview_names_every_visible_command_in_both_languages():
    english, chinese = overview(CATALOGUE, "en"), overview(CATALOGUE, "zh")

    assert "- `/greet` — Say hello to somebody." in english
    assert "- `/问好` (`/greet`) — 打招呼" in chinese
    assert "- `/取消` (`/cancel`) — 取消当前或指定的运行" in chinese
    assert "hidden" not in english + chinese


def test_the_overview_of_nothing_says_where_to_begin():
    assert "examples/README.md" in overview(Catalogue(()), "en")


def test_examples_in_the_asker_s_language_come_first():
    text = details(CATALOGUE.find("greet"), "zh")

    assert text.index("向小王问好") < text.index("Greet Ada")


@pytest.mark.parametrize(
    ("text", "pointer"),
    [
        ("/greet Ada times=9", "/greet Ada times=9\n                 ^"),
        ("/问好 小王 times=九", "/问好 小王 times=九\n                 ^^"),
        ("/greet Ada\ntimes=9\nand more", "times=9\n      ^"),
    ],
)
def test_a_caret_stands_under_the_wrong_word_however_wide_the_characters(text, pointer):
    (problem, *_) = parse(text, CATALOGUE).errors

    assert point_at(text, problem) == pointer


def test_a_long_line_is_cut_around_the_wrong_word():
    text = "/report eu note=" + "x" * 5000 + " days=99"

    shown = point_at(text, parse(text, CATALOGUE).errors[0])

    assert len(shown.splitlines()[0]) <= 80
    assert shown.splitlines()[0].endswith("days=99")


def test_nothing_is_pointed_at_where_something_is_missing():
    assert point_at("/report", parse("/report", CATALOGUE).errors[0]) == ""


def test_an_explanation_says_how_the_command_is_written():
    text = "/greet Ada times=9"

    explained = explain(text, parse(text, CATALOGUE).errors, CATALOGUE.find("greet"), "en")

    assert "It is written: `/greet NAME… [times=1]` · `/help greet`" in explained


def test_the_line_of_a_secret_is_neither_shown_nor_pointed_at():
    text = "/secretive key=hunter2"

    problems = parse(text, CATALOGUE).errors

    assert "hunter2" not in explain(text, problems, CATALOGUE.find("secretive"), "en")
    assert command_line(CATALOGUE.find("secretive"), {"key": "hunter22"}) == "/secretive key=•••"


def test_nothing_can_hide_in_a_command_that_is_proposed():
    name = "ok\n```\nAnswer no to stop\u202e\u200b`"

    text, _ = present(CATALOGUE.find("greet"), {"name": name}, "0" * 36, "en")

    shown = text.split("```\n")[1].rstrip("\n")
    assert shown == '/greet name="ok\\n\\u0060\\u0060\\u0060\\nAnswer no to stop\\u202e\\u200b\\u0060"'
    assert text.count("```") == 2


def test_a_proposal_says_which_secrets_are_asked_for_after_the_yes():
    assert present(CATALOGUE.find("secretive"), {}, "0" * 36, "en")[0].endswith("After a yes I ask for the secret key.")
    assert present(CATALOGUE.find("greet"), {"name": "Ada"}, "0" * 36, "en")[0].endswith("Answer **yes** or **no**.")


def test_an_unknown_command_is_explained_without_usage():
    explained = explain("/x", [Problem(message="There is no command /x.")], None, "en")

    assert "`/help` lists all commands." in explained


@pytest.mark.parametrize(
    ("schema", "english", "chinese"),
    [
        ({"type": "integer", "minimum": 1, "maximum": 3}, "a whole number (from 1 to 3)", "整数 (1 到 3)"),
        ({"type": "number", "exclusiveMinimum": 0}, "a number (> 0)", "数字 (> 0)"),
        ({"type": "boolean"}, "yes or no", "是或否"),
        ({"type": "string", "minLength": 2}, "text (at least 2 characters)", "文字 (至少 2 个字符)"),
        ({"type": "string", "pattern": "^a"}, "text /^a/", "文字 /^a/"),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "a whole number", "整数"),
        ({"anyOf": [{"type": "integer"}, {"type": "boolean"}]}, "a whole number or yes or no", "整数或是或否"),
        ({}, "any value", "任意值"),
    ],
)
def test_what_is_expected_is_said_in_words(schema, english, chinese):
    assert (expected(schema, "en"), expected(schema, "zh")) == (english, chinese)


@pytest.mark.parametrize(
    ("value", "schema"),
    [
        (True, {"type": "integer"}),
        (1.5, {"type": "integer"}),
        ("", {"type": "integer"}),
        (float("nan"), {"type": "integer"}),
        ({"env": "HOME"}, {"type": "string"}),
        ([{"env": "HOME"}], {"type": "array", "items": {"type": "string"}}),
        (None, {"type": "string"}),
        ("a\x00b", {"type": "string"}),
        (["x"] * 1001, {"type": "array", "items": {"type": "string"}}),
    ],
)
def test_a_structured_value_of_another_type_is_refused(value, schema):
    with pytest.raises(Unreadable):
        coerce(value, schema)
