"""What the real starter embedder and the fused score find: commands by sentences, recollections by questions.

`tuned` is the set on which the weights were chosen, `held_out` was written afterwards and measured once.
"""

import json
import secrets
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from integrations.memory import Memory, Note, Scope
from integrations.memory.ranking import ASK_BACK, cosines, fuse, lexical
from integrations.settings import Memory as Settings
from serving import catalogue
from serving.engines.minilm import MiniLM, load_embedder
from tests.chroma import ChromaServer

SETS: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "data" / "memory_routing.json").read_text(encoding="utf-8")
)
NOTES = (
    "My dog is called Rex and he is four years old.",
    "The quarterly review is on 3 December in Berlin.",
    "我的狗叫小黑，今年三岁了。",
    "项目的截止日期是十二月十五日。",
    "I'm allergic to peanuts.",
    "我们的服务器在上海的机房。",
    "I prefer answers in short bullet points.",
)


@pytest.fixture(scope="module")
def minilm(tmp_path_factory: pytest.TempPathFactory) -> MiniLM:
    home = tmp_path_factory.mktemp("home")
    catalogue.pull(home, "minilm-l6-v2")
    return load_embedder("minilm-l6-v2", home)


@pytest.fixture(scope="module")
def memory(minilm: MiniLM, chroma: ChromaServer) -> Iterator[Memory]:
    def embed(texts: Any) -> list[list[float]]:
        return [list(each.vector) for each in minilm.embed(texts)]

    settings = Settings(port=chroma.port)
    with closing(Memory(settings, embed, minilm.unknown_share, embedder=lambda: "minilm-l6-v2")) as memory:
        yield memory


@pytest.fixture(scope="module")
def scope(memory: Memory) -> Scope:
    scope = Scope.principal("default", secrets.token_hex(8))
    at = datetime(2026, 11, 21, tzinfo=UTC)
    memory.remember(scope, [Note(text, "Anna", at, f"m{number}") for number, text in enumerate(NOTES)])
    return scope


@pytest.mark.parametrize(
    ("name", "language", "right"),
    [("tuned", "english", 38), ("tuned", "chinese", 17), ("held_out", "english", 16), ("held_out", "chinese", 11)],
)
def test_sentences_find_their_commands_as_often_as_measured(minilm: MiniLM, name: str, language: str, right: int):
    router = Router(minilm, SETS[name]["commands"])

    assert sum(router.best(sentence)[0] == command for sentence, command in SETS[name][language]) >= right


@pytest.mark.parametrize("name", ["tuned", "held_out"])
def test_other_talk_is_never_taken_for_a_command(minilm: MiniLM, name: str):
    router = Router(minilm, SETS[name]["commands"])

    assert [sentence for sentence in SETS[name]["outside"] if router.best(sentence)[1] >= ASK_BACK] == []


@pytest.mark.parametrize(
    ("question", "note"),
    [
        ("What's my dog's name?", 0), ("when and where is the review", 1), ("狗叫什么名字", 2),
        ("截止日期是什么时候", 3), ("what food must I avoid", 4), ("服务器在哪里", 5),
        ("how should you format what you tell me", 6),
    ],
)  # fmt: skip
def test_a_question_finds_its_note(memory: Memory, scope: Scope, question: str, note: int):
    assert memory.query(scope, question)[0].text == NOTES[note]


@pytest.mark.parametrize("question", ["What is the capital of France?", "法国的首都", "how do I bake bread"])
def test_a_question_about_something_else_scores_low(memory: Memory, scope: Scope, question: str):
    assert all(found.score < 0.3 for found in memory.query(scope, question))


class Router:
    """The way the dispatcher asks: every description and example of every command."""

    def __init__(self, minilm: MiniLM, commands: dict[str, Any]) -> None:
        self._minilm = minilm
        pairs = [(name, text) for name, one in commands.items() for text in (one["description"], *one["examples"])]
        self._names, self._texts = zip(*pairs, strict=True)
        self._known = minilm.embed(self._texts)

    def best(self, sentence: str) -> tuple[str, float]:
        (own,) = self._minilm.embed([sentence])
        shares = [max(own.unknown_share, each.unknown_share) for each in self._known]
        scores = fuse(
            cosines(own.vector, [each.vector for each in self._known]), lexical(sentence, self._texts), shares
        )
        top = max(range(len(scores)), key=scores.__getitem__)
        return self._names[top], scores[top]
