"""Which command a sentence means. Vectors here count words; figures with the real embedder: ARCHITECTURE.md."""

import dagster as dg
import pytest

from examples.definitions import defs as examples
from orchestration.commands.catalogue import compile_location
from orchestration.commands.retrieval import Retrieval, arguments_in, questions_for
from orchestration.jobs.digest import digest
from serving.scripted import ScriptedModels
from tests.workflows import defs

NOTHING = dg.ResourceDefinition.none_resource()
CORE = dg.Definitions(jobs=[digest], resources={"database": NOTHING, "settings": NOTHING})
COMMANDS = {
    spec.name: spec
    for spec in (
        *compile_location(examples.get_repository_def(), "examples"),
        *compile_location(CORE.get_repository_def(), "core"),
    )
}
TEST_COMMANDS = {spec.name: spec for spec in compile_location(defs.get_repository_def(), "test")}


def retrieval() -> Retrieval:
    models = ScriptedModels()
    return Retrieval(models.embed, models.unknown_share, models.embedder)


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("Is example.com up?", "health"),
        ("is https://python.org up", "health"),
        ("summarise these documents", "summary"),
        ("show me the sales by region", "sales"),
        ("what happened yesterday?", "digest"),
        ("检查一下 example.com 是不是挂了", "health"),
        ("总结一下这些文档", "summary"),
        ("看一下今年的销售额", "sales"),
        ("昨天发生了什么事", "digest"),
    ],
)
def test_a_sentence_near_an_example_means_its_command(text, command):
    found = retrieval().find(text, list(COMMANDS.values()))

    assert found is not None
    assert (found.command.name, found.sure, found.questions) == (command, True, ())


@pytest.mark.parametrize("text", ["", "你好", "我的狗叫小黑", "thanks", "法国的首都是哪里", "x" * 10_000])
def test_everything_else_is_free_text(text):
    assert retrieval().find(text, list(COMMANDS.values())) is None


def test_an_argument_that_is_missing_is_asked_for():
    found = retrieval().find("Check whether our servers answer", list(COMMANDS.values()))

    assert (found.command.name, found.sure) == ("health", True)
    assert found.questions[0].startswith("Web addresses or host names? (`urls`:")


def test_a_sentence_that_misses_an_argument_must_be_nearer_to_be_sure():
    def embed(texts):
        return [[1.0, 0.0] if text.startswith("where") else [0.6, 0.8] for text in texts]

    finder = Retrieval(embed, lambda texts: [0.0 for _ in texts], lambda: "scripted")
    health = [COMMANDS["health"]]

    assert finder.find("where lives example.com", health).sure
    assert not finder.find("where lives my aunt", health).sure


def test_without_commands_nothing_is_found():
    assert retrieval().find("Is example.com up?", []) is None


def test_a_hidden_command_is_never_found():
    hidden = COMMANDS["health"].model_copy(update={"hidden": True})

    assert retrieval().find("Is example.com up?", [hidden]) is None


def test_vectors_of_examples_are_made_once_per_embedder():
    calls: list[int] = []
    embedders = ["scripted"]
    models = ScriptedModels()

    def embed(texts):
        calls.append(len(texts))
        return models.embed(texts)

    finder = Retrieval(embed, models.unknown_share, lambda: embedders[0])
    for host in ("one.example", "two.example", "three.example"):
        finder.find(f"please look at {host}", list(COMMANDS.values()))

    assert calls[1:] == [1, 1]

    embedders[0] = "newer"
    finder.find("please look at four.example", list(COMMANDS.values()))

    assert calls[-1] == calls[0]


@pytest.mark.parametrize(
    ("text", "command", "args"),
    [
        ("Is example.com up?", "health", {"urls": ["example.com"]}),
        (
            "check https://a.example/x?y=1, and b.example.org.",
            "health",
            {"urls": ["https://a.example/x?y=1", "b.example.org"]},
        ),
        ("检查一下example.com，还有10.0.0.5。", "health", {"urls": ["example.com", "10.0.0.5"]}),
        ("mail ada@example.com about it", "health", {}),
        ("sales by region", "sales", {"by": "region"}),
        ("sales by region and by product", "sales", {}),
        ("sales of 2025", "sales", {"year": 2025}),
        ("sales of 1999", "sales", {}),
        ("sales of 2025 and 2026", "sales", {}),
        ("summarise 3 documents", "summary", {"limit": 3}),
        ('summarise the folder "contracts"', "summary", {"folder": "contracts"}),
        ("总结“合同”文件夹", "summary", {"folder": "合同"}),
        ("what happened today", "digest", {"day": "today"}),
        ("health of example.com timeout_s=3", "health", {"urls": ["example.com"], "timeout_s": 3.0}),
    ],
)
def test_only_certain_arguments_are_taken(text, command, args):
    assert arguments_in(text, COMMANDS[command]) == args


@pytest.mark.parametrize(
    ("text", "args"),
    [("greet “Ada Lovelace” 2 times", {"name": "Ada Lovelace", "times": 2}), ("greet Ada 7 times", {})],
)
def test_a_value_that_does_not_fit_is_not_taken(text, args):
    assert arguments_in(text, TEST_COMMANDS["greet"]) == args


def test_what_is_missing_is_asked_in_the_language_of_the_sentence():
    greet = TEST_COMMANDS["greet"]

    assert questions_for(greet, {}, "greet somebody") == ("Whom to greet? (`name`: text)",)
    assert questions_for(greet, {}, "打个招呼") == ("要问候的人？（`name`：文字）",)
    assert questions_for(greet, {"name": "Ada"}, "greet Ada") == ()
