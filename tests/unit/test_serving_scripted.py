import threading

import pytest

from integrations.errors import Overloaded, Unavailable
from serving.client import ScriptedModels
from serving.schema import ChatMessage, ChatRequest


def ask(text: str, max_tokens: int = 64) -> ChatRequest:
    return ChatRequest(messages=(ChatMessage(role="user", content=text),), max_tokens=max_tokens)


def test_scripted_answers_are_spoken_word_by_word_in_order():
    models = ScriptedModels(["Good  morning,\n张伟 👋"])

    chunks = list(models.stream(ask("hi")))

    assert "".join(chunk.text for chunk in chunks) == "Good  morning,\n张伟 👋"
    assert len(chunks) > 3
    assert chunks[-1].finish_reason == "stop"
    assert chunks[-1].usage.tokens_out == len(chunks) - 1


def test_a_scripted_error_is_raised_in_place_of_the_answer():
    models = ScriptedModels([Overloaded("full")])

    with pytest.raises(Overloaded, match="full"):
        list(models.stream(ask("hi")))


def test_without_a_script_the_question_is_repeated():
    models = ScriptedModels()

    assert "".join(chunk.text for chunk in models.stream(ask("你好"))) == "You said: 你好"


def test_a_long_answer_is_cut_at_max_tokens_and_says_so():
    chunks = list(ScriptedModels(["a b c d"]).stream(ask("hi", max_tokens=2)))

    assert [chunk.text for chunk in chunks] == ["a", " b", ""]
    assert chunks[-1].finish_reason == "length"


def test_a_script_slower_than_its_deadline_is_unavailable():
    with pytest.raises(Unavailable, match="in time"):
        list(ScriptedModels(["a b c"], delay_s=5).stream(ask("hi"), timeout_s=0.05))


def test_a_closed_gate_holds_the_answer_until_it_opens():
    gate = threading.Event()
    stream = ScriptedModels(["a b"], gate=gate).stream(ask("hi"), timeout_s=5)
    gate.set()

    assert next(stream).text == "a"


def test_closing_a_stream_is_remembered():
    models = ScriptedModels(["a b c"])
    stream = models.stream(ask("hi"))
    next(stream)
    stream.close()

    assert models.closed_early == 1


def test_like_texts_get_near_vectors():
    report, again, weather = ScriptedModels().embed(["check the health report", "health report check", "天气怎么样"])

    def dot(a: list[float], b: list[float]) -> float:
        return sum(x * y for x, y in zip(a, b, strict=True))

    assert dot(report, report) == pytest.approx(1)
    assert dot(report, again) > 0.7
    assert dot(report, weather) < 0.3
