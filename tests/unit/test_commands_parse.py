"""What a text asks for."""

import json
import time

import dagster as dg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestration.commands.binding import bind_values
from orchestration.commands.catalogue import Catalogue, compile_location
from orchestration.commands.help import command_line
from orchestration.commands.parse import Parsed, parse
from orchestration.commands.vocabulary import yes_or_no
from tests.workflows import Report, defs

CATALOGUE = Catalogue(compile_location(defs.get_repository_def(), "test"))
REPORT = CATALOGUE.find("report")

TABLE = [
    # English
    ("/greet Ada", "greet", {"name": "Ada"}),
    ("/greet Ada Lovelace", "greet", {"name": "Ada Lovelace"}),
    ("/greet  Ada   Lovelace ", "greet", {"name": "Ada   Lovelace"}),
    ("/greet name=Ada", "greet", {"name": "Ada"}),
    ('/greet name="Ada Lovelace" times=2', "greet", {"name": "Ada Lovelace", "times": 2}),
    ("/greet name='Ada Lovelace'", "greet", {"name": "Ada Lovelace"}),
    ("/greet --name Ada --times 3", "greet", {"name": "Ada", "times": 3}),
    ("/greet --name=Ada --times=3", "greet", {"name": "Ada", "times": 3}),
    ("/greet Ada times=3", "greet", {"name": "Ada", "times": 3}),
    ("/greet times=3 Ada Lovelace", "greet", {"name": "Ada Lovelace", "times": 3}),
    ('/greet "Ada Lovelace"', "greet", {"name": "Ada Lovelace"}),
    ('/greet the "great" one', "greet", {"name": 'the "great" one'}),
    ("/greet what's up", "greet", {"name": "what's up"}),
    ("/greet 'tis the season", "greet", {"name": "'tis the season"}),
    ("/greet a=b", "greet", {"name": "a=b"}),
    ("/greet -- times=3", "greet", {"name": "times=3"}),
    ("/greet say --loud", "greet", {"name": "say --loud"}),
    ("/greet http://example.com/?times=3", "greet", {"name": "http://example.com/?times=3"}),
    ("/greet Ada\nLovelace", "greet", {"name": "Ada\nLovelace"}),
    ("  /greet Ada", "greet", {"name": "Ada"}),
    ("/GREET Ada", "greet", {"name": "Ada"}),
    ("/hi Ada", "greet", {"name": "Ada"}),
    ("/greet NAME=Ada", "greet", {"name": "Ada"}),
    ('/greet ""', "greet", {"name": ""}),
    (r'/greet name="say \"hi\" \\ there"', "greet", {"name": r'say "hi" \ there'}),
    ("/greet 😀 👩‍👩‍👧", "greet", {"name": "😀 👩‍👩‍👧"}),
    ("/report eu", "report", {"region": "eu"}),
    ("/report EU", "report", {"region": "eu"}),
    ("/report europe", "report", {"region": "eu"}),
    ("/report us 3 0.25", "report", {"region": "us", "days": 3, "ratio": 0.25}),
    ("/report us ratio=1e-1", "report", {"region": "us", "ratio": 0.1}),
    ("/report us tags=a,b", "report", {"region": "us", "tags": ["a", "b"]}),
    ("/report us tags=a, b, c chart=no", "report", {"region": "us", "tags": ["a", "b", "c"], "chart": False}),
    ('/report us tags=["a","b c"]', "report", {"region": "us", "tags": ["a", "b c"]}),
    ("/report us tags=[a,b]", "report", {"region": "us", "tags": ["a", "b"]}),
    ('/report us tags="a,b",c', "report", {"region": "us", "tags": ["a,b", "c"]}),
    ("/report us tags=a tags=b", "report", {"region": "us", "tags": ["a", "b"]}),
    ("/report us weights=1,2.5", "report", {"region": "us", "weights": [1.0, 2.5]}),
    ("/report us --chart", "report", {"region": "us", "chart": True}),
    ("/report us --no-chart", "report", {"region": "us", "chart": False}),
    ("/report us --chart off", "report", {"region": "us", "chart": False}),
    ("/report us --chart style=long", "report", {"region": "us", "chart": True, "style": "long"}),
    ("/report us limit=null", "report", {"region": "us", "limit": None}),
    ("/report us limit=+7", "report", {"region": "us", "limit": 7}),
    ("/report us note=none", "report", {"region": "us", "note": "none"}),
    ('/report us extra={"a":1}', "report", {"region": "us", "extra": {"a": 1}}),
    ("/weekly", "weekly", {}),
    ("/legacy http://example.com tries=5", "legacy", {"url": "http://example.com", "tries": 5}),
    ("/echo anything goes = here", "echo", {"word_op": "anything goes = here"}),
    ("/both greet_op.name=a second_greet_op.name=b", "both", {"greet_op.name": "a", "second_greet_op.name": "b"}),
    # Chinese
    ("／greet 小王", "greet", {"name": "小王"}),
    ("/问好 小王", "greet", {"name": "小王"}),
    ("／问好　小王　times＝２", "greet", {"name": "小王", "times": 2}),
    ("/问好：小王", "greet", {"name": "小王"}),
    ("/问好 name＝“小 王”", "greet", {"name": "小 王"}),
    ("/问好 name：小王", "greet", {"name": "小王"}),
    ("/问好 「小 王」", "greet", {"name": "小 王"}),
    ("/问好 你好：世界", "greet", {"name": "你好：世界"}),
    ("/问好 －－name 小王 －－times ３", "greet", {"name": "小王", "times": 3}),
    ("/report 亚洲 tags＝甲，乙、丙", "report", {"region": "亚洲", "tags": ["甲", "乙", "丙"]}),
    ("/report 亚洲 tags=“甲，乙”，丙", "report", {"region": "亚洲", "tags": ["甲，乙", "丙"]}),
    ("/report 亚洲 chart=否", "report", {"region": "亚洲", "chart": False}),
    ("/report 亚洲 ratio=０．５", "report", {"region": "亚洲", "ratio": 0.5}),
    ("/legacy http：／／example.com", "legacy", {"url": "http://example.com"}),
]


@pytest.mark.parametrize(("text", "command", "args"), TABLE)
def test_a_typed_command_becomes_its_arguments(text, command, args):
    parsed = parse(text, CATALOGUE)

    assert parsed.errors == ()
    assert (parsed.kind, parsed.command, parsed.args) == ("command", command, args)


@pytest.mark.parametrize(
    ("text", "command", "args"),
    [
        ("/help", "help", {}),
        ("/help greet", "help", {"name": "greet"}),
        ("/help?", "help", {}),
        ("/帮助 问好", "help", {"name": "问好"}),
        ("／取消", "cancel", {}),
        ("/cancel 0f3a", "cancel", {"run": "0f3a"}),
        ("/状态", "status", {}),
        ("/status", "status", {}),
        ("/runs", "runs", {}),
        ("/whoami", "whoami", {}),
        ("/forget yes", "forget", {"confirm": "yes"}),
        ("/忘记 是", "forget", {"confirm": "是"}),
    ],
)
def test_a_control_command_is_known_as_one(text, command, args):
    parsed = parse(text, CATALOGUE)

    assert (parsed.kind, parsed.command, parsed.args, parsed.errors) == ("control", command, args, ())


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "hello",
        "how do I /greet",
        "/",
        "／",
        "//",
        "/ greet",
        "/etc/passwd is readable",
        "// a note",
        "/?",
        "你好",
    ],
)
def test_everything_else_is_free_text(text):
    assert parse(text, CATALOGUE).kind == "free"


@pytest.mark.parametrize(
    ("text", "word", "expected", "suggestion"),
    [
        ("/gret Ada", "gret", "a command from /help", "greet"),
        ("/greet Ada times=9", "9", "a whole number (from 1 to 3)", None),
        ("/greet Ada times=two", "two", "a whole number (from 1 to 3)", None),
        ("/greet Ada times=1.5", "1.5", "a whole number (from 1 to 3)", None),
        ("/greet Ada times=", "", "a whole number (from 1 to 3)", None),
        ("/greet Ada times=2 times=3", "3", None, None),
        ("/report eu dayz=3", "dayz", None, "days"),
        ("/report eu --dayz 3", "dayz", None, "days"),
        ("/report eurpe", "eurpe", "one of: eu, us, 亚洲", None),
        ("/report eu style=lon", "lon", "one of: short, long", "long"),
        ("/report eu ratio=0", "0", "a number (> 0, ≤ 1)", None),
        ("/report eu ratio=nan", "nan", "a number (> 0, ≤ 1)", None),
        ("/report eu chart=maybe", "maybe", "yes or no", None),
        ("/report eu tags=a,b,c,d", "a,b,c,d", "a list, separated by commas (at most 3), of text", None),
        ("/report eu extra=[1]", "[1]", 'a JSON object like {"key": "value"}', None),
        ("/weekly eu 1 1 long a b c d", "a,b,c,d", "a list, separated by commas (at most 3), of text", None),
        ("/status now", "now", None, None),
    ],
)
def test_an_error_points_at_the_word_and_shows_what_was_expected(text, word, expected, suggestion):
    (problem, *_) = parse(text, CATALOGUE).errors

    assert problem.word == word
    assert text[problem.start : problem.end].replace(" ", ",").endswith(word)
    assert problem.suggestion == suggestion
    if expected:
        assert problem.expected == expected
        assert word in problem.message


def test_what_is_missing_is_asked_for():
    (problem,) = parse("/report", CATALOGUE).errors

    assert problem.argument == "region"
    assert problem.message == "region is missing: expected one of: eu, us, 亚洲, as in /report region=…"


def test_errors_are_told_in_the_language_of_the_asker():
    assert parse("/问好 小王 times=九", CATALOGUE).errors[0].message == "times：应为整数 (1 到 3)，而不是“九”。"
    assert parse("/问号 小王", CATALOGUE).errors[0].message.startswith("没有命令 /问号。")


def test_a_secret_is_never_echoed():
    parsed = parse("/secretive key=hunter2", CATALOGUE)

    assert "hunter2" not in parsed.model_dump_json()


def test_a_structured_argument_cannot_reach_the_environment_of_the_worker():
    args, problems = bind_values(CATALOGUE.find("greet"), {"name": {"env": "RUNBELL_TOKEN"}}, "en")

    assert args == {}
    assert problems


def test_structured_arguments_may_be_typed_values_or_text():
    values = {"region": "us", "days": "3", "tags": ["a"], "weights": [1], "chart": "no", "ratio": 1}

    args, problems = bind_values(REPORT, values, "en")

    assert problems == []
    assert args == {"region": "us", "days": 3, "tags": ["a"], "weights": [1.0], "chart": False, "ratio": 1.0}
    assert isinstance(args["ratio"], float)


def test_the_result_has_the_form_of_the_public_contract():
    assert set(parse("/greet Ada", CATALOGUE).model_dump()) == {"kind", "command", "args", "errors"}


@pytest.mark.parametrize(
    "text",
    [
        "/greet " + "a" * 99_000,
        "/greet " + "a " * 49_000,
        "/greet " + '"' * 99_000,
        "/greet " + "'a " * 33_000,
        "/greet " + '"\\' * 49_000,
        "/greet " + "“「『‘" * 24_000,
        "/report " + "x=1 " * 24_000,
        "/report " + "--x " * 24_000,
        "/report eu tags=" + "a," * 49_000,
        "/report eu tags=" + ", " * 49_000,
        "/report eu tags=" + "[" * 99_000,
        "/report eu extra=" + '{"a":' * 19_000,
        "/report eu limit=" + "9" * 99_000,
        "/" + "a" * 99_000,
        "/greet " + "times=" * 16_000,
        "/greet name=" + "“" * 99_000,
        "/greet " + "\n" * 99_000,
        "\u200b" * 99_000 + "/greet",
        " " * 99_000 + "/greet",
    ],
)
def test_a_huge_text_takes_bounded_time(text):
    started_at = time.thread_time()

    parsed = parse(text, CATALOGUE)

    assert time.thread_time() - started_at < 2.0
    assert all(len(problem.message) < 1000 for problem in parsed.errors)


STARTS = ["/greet", "/report", "／问好", "/help", "name=", "times＝", "--name", "--no-chart", "--"]
MARKS = ["“", "”", '"', "'", "，", "、", "：", "[", "]", "{", "}", "\\", "\x00", "\u202e", "\ud800"]
VALUES = ["eu", "亚洲", "1", "-1", "1e999", "null"]
WORDS = st.one_of(st.sampled_from([*STARTS, *MARKS, *VALUES]), st.text(max_size=8))


@settings(max_examples=400, deadline=None)
@given(st.lists(WORDS, max_size=12).map(" ".join) | st.lists(WORDS, max_size=12).map("".join))
def test_no_text_makes_it_raise(text):
    parsed = parse(text, CATALOGUE)

    assert isinstance(parsed, Parsed)
    for problem in parsed.errors:
        assert 0 <= problem.start <= problem.end <= len(text)
        assert problem.message


@settings(max_examples=300, deadline=None)
@given(st.lists(WORDS, max_size=10).map(lambda words: "/report " + " ".join(words)))
def test_what_is_accepted_is_what_dagster_and_pydantic_accept(text):
    parsed = parse(text, CATALOGUE)
    if parsed.errors or parsed.kind != "command":
        return

    config = REPORT.run_config_for(parsed.args)

    dg.validate_run_config(defs.get_job_def("report"), config)
    Report(**config["ops"]["report_op"]["config"])
    json.dumps(parsed.args, allow_nan=False).encode()


ARGS = st.fixed_dictionaries(
    {"region": st.sampled_from(["eu", "us", "亚洲"])},
    optional={
        "days": st.integers(1, 31),
        "ratio": st.floats(0, 1, exclude_min=True),
        "style": st.sampled_from(["short", "long"]),
        "tags": st.lists(st.text("ab ,，\"'\\[“”", min_size=1, max_size=5).filter(str.strip), max_size=3),
        "weights": st.lists(st.floats(-1e6, 1e6), max_size=3),
        "chart": st.booleans(),
        "note": st.text("ab =，：\"'\\-/“”小", max_size=10),
        "extra": st.dictionaries(st.text("ab", min_size=1), st.integers(-9, 9), max_size=2),
    },
)


@settings(max_examples=300, deadline=None)
@given(ARGS)
def test_the_command_line_that_is_shown_means_exactly_its_arguments(args):
    parsed = parse(command_line(REPORT, args), CATALOGUE)

    assert parsed.errors == ()
    assert parsed.args == args


@pytest.mark.parametrize("text", ["yes", "Y", " ok ", "OK!", "好", "好的。", "是", "确认", "可以"])
def test_these_mean_yes(text):
    assert yes_or_no(text) is True


@pytest.mark.parametrize("text", ["no", "N", "不", "不要", "取消", "否。"])
def test_these_mean_no(text):
    assert yes_or_no(text) is False


@pytest.mark.parametrize("text", ["", "yesterday", "no idea", "好不好", "是什么", "ok then do it", "y" * 100_000])
def test_anything_else_is_neither(text):
    assert yes_or_no(text) is None
