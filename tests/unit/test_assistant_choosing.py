"""What a strong model chose is checked, however it is written."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from integrations.memory.values import Recollection
from orchestration.commands.spec import Argument, CommandSpec
from orchestration.ops.answering.choosing import AnswerOnly, choice_schema, read_choice
from orchestration.ops.answering.values import Recalled

GREET = CommandSpec(
    name="greet",
    location="core",
    job="greet",
    description="Say hello",
    arguments=(
        Argument(
            name="name", path=("ops", "greet_op", "config", "name"), json_schema={"type": "string"}, required=True
        ),
        Argument(
            name="times", path=("ops", "greet_op", "config", "times"), json_schema={"type": "integer", "maximum": 3}
        ),
    ),
)
OPEN = CommandSpec(
    name="open",
    location="core",
    job="open",
    arguments=(
        Argument(name="door", path=("door",), json_schema={"type": "string"}, required=True),
        Argument(name="pin", path=("pin",), json_schema={"type": "string"}, required=True, secret=True),
    ),
)
NOTE = Recollection("1", "The window is Tuesday.", "Ada (web)", 0.9, datetime.now(UTC), "m")
RECALLED = Recalled(passages=(NOTE,))


def chosen(reply: object):
    return read_choice(json.dumps({"reply": reply}), [GREET], RECALLED, "en")


def test_an_answer_comes_with_the_notes_that_it_names():
    choice = chosen({"answer": "Tuesday.", "notes": [1, 7]})

    assert (choice.answer, choice.notes, choice.command) == ("Tuesday.", (NOTE,), None)


def test_a_command_is_taken_with_checked_arguments():
    choice = chosen({"command": "greet", "args": {"name": "Ada", "times": 2}})

    assert (choice.command, choice.args, choice.problems) == ("greet", {"name": "Ada", "times": 2}, ())


@pytest.mark.parametrize("args", [{}, {"name": "Ada", "times": 9}, {"name": "Ada", "shell": "rm -rf /"}, "x", None])
def test_wrong_arguments_are_told_and_not_proposed(args):
    choice = chosen({"command": "greet", "args": args})

    assert choice.command == "greet"
    assert choice.problems


def test_an_unknown_command_is_no_command():
    assert chosen({"command": "format_disk", "args": {}}).command is None


@pytest.mark.parametrize("name", ["pin", "PIN"])
def test_a_secret_is_not_taken_from_a_model(name):
    choice = read_choice(
        json.dumps({"reply": {"command": "open", "args": {"door": "back", name: "1234"}}}), [OPEN], RECALLED, "en"
    )

    assert choice.args == {"door": "back"}
    assert choice.problems == ("secret arguments are given by people, who type the command",)


def test_a_secret_that_is_missing_keeps_nothing_from_being_proposed():
    choice = read_choice('{"reply": {"command": "open", "args": {"door": "back"}}}', [OPEN], RECALLED, "en")

    assert (choice.args, choice.problems) == ({"door": "back"}, ())


def test_a_model_is_not_told_of_secrets():
    assert '"door"' in json.dumps(choice_schema([OPEN]))
    assert '"pin"' not in json.dumps(choice_schema([OPEN]))


@pytest.mark.parametrize("text", ["Paris.", '{"reply": 3}', "[1]", '{"reply"', "{}}{", ""])
def test_what_is_no_choice_is_read_as_plain_words_or_nothing(text):
    choice = read_choice(text, [GREET], RECALLED, "en")

    assert choice.command is None


def test_an_answer_cut_off_by_the_limit_is_still_read():
    assert read_choice('{"reply": {"answer": "It is Tue', [GREET], RECALLED, "en").answer == "It is Tue"


@given(st.text(max_size=200), st.integers(1, 7))
@example("\\", 1)
@example("C:\\u12", 1)
@example('好 😀 "!"', 1)
def test_the_answer_streams_out_of_growing_json(answer, step):
    whole = json.dumps({"reply": {"answer": answer, "notes": []}})
    heard: list[str] = []
    hear = AnswerOnly(heard.append)

    for start in range(0, len(whole), step):
        hear(whole[start : start + step])

    assert "".join(heard) == answer


def test_a_command_streams_nothing():
    heard: list[str] = []
    AnswerOnly(heard.append)('{"reply": {"command": "greet", "args": {"name": "answer"}}}')

    assert heard == []


def test_the_schema_allows_an_answer_or_a_known_command():
    schema = choice_schema([GREET])

    assert "greet" in json.dumps(schema)
    assert schema["additionalProperties"] is False
