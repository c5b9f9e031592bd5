"""What the chat replica adds to an engine: bounds, deadlines, a trace, and life without a model."""

import asyncio
from pathlib import Path

import pytest

from integrations import telemetry
from integrations.errors import Misconfigured, Unavailable
from serving.deployment import Chat
from serving.engines import check_engine
from serving.fleet import ModelSpec
from serving.schema import ChatChunk, ChatMessage, ChatRequest, Failure, ModelInfo

REQUEST = ChatRequest(messages=(ChatMessage(role="user", content="hi"),))


@pytest.fixture
async def chat(tmp_path: Path) -> Chat:
    (tmp_path / "there").touch()
    return Chat(ModelSpec(engine="tests.scripted_engine", name="mine", slots=1), str(tmp_path))


async def collect(chat: Chat, timeout_s: float = 5, traceparent: str | None = None) -> list[ChatChunk | Failure]:
    return [item async for item in chat.stream(REQUEST, timeout_s, traceparent)]


async def test_an_engine_of_ones_own_is_chosen_by_its_modules_name(chat: Chat):
    chat._engine.model.gate.set()

    items = await collect(chat)

    assert [item.text for item in items] == ["first", ""]
    assert await chat.describe() == ModelInfo(name="mine", engine="scripted", context_tokens=9)


@pytest.mark.parametrize("name", ["opnai", "minilm", "minilm_graph"])
def test_an_engine_that_there_is_not_is_refused_with_those_that_there_are(name: str):
    with pytest.raises(Misconfigured, match=rf"no engine '{name}'.*llama_cpp, openai"):
        check_engine(name)


@pytest.mark.parametrize("name", ["llama_cpp", "openai", "my_package.my_engine"])
def test_an_engine_of_ours_or_of_ones_own_is_taken(name: str):
    check_engine(name)


async def test_a_deadline_ends_the_generation_and_is_told(chat: Chat):
    items = await collect(chat, timeout_s=0.05)

    assert items[-1] == Failure(kind="Unavailable", message="The model did not finish within 0.05 s.", after=1.0)
    assert chat._engine.model.left == 1


async def test_leaving_the_stream_leaves_the_engine(chat: Chat):
    stream = chat.stream(REQUEST, 5)
    await anext(stream)
    await stream.aclose()
    await asyncio.sleep(0)

    assert chat._engine.model.left == 1
    assert (chat.load()["busy"], chat.load()["waiting"]) == (0, 0)


async def test_one_more_than_the_bound_is_turned_away(chat: Chat):
    asked = [asyncio.create_task(collect(chat)) for _ in range(1 + chat._spec.queue)]
    await asyncio.sleep(0.01)

    refused = await collect(chat)
    chat._engine.model.gate.set()
    answered = await asyncio.gather(*asked)

    assert [item.kind for item in refused] == ["Overloaded"]
    assert refused[0].after >= 1
    assert all(items[-1].finish_reason == "stop" for items in answered)
    assert chat.load()["busy"] == 0


async def test_the_generation_is_a_span_of_the_callers_trace(chat: Chat):
    chat._engine.model.gate.set()
    with telemetry.capture() as spans:
        await collect(chat, traceparent=f"00-{'a' * 32}-{'b' * 16}-01")

    span = next(span for span in spans.get_finished_spans() if span.name == "model.generate")
    assert f"{span.context.trace_id:032x}" == "a" * 32
    assert span.attributes["tokens_out"] == 1


async def test_a_missing_model_is_told_and_loaded_when_it_is_there(tmp_path: Path):
    chat = Chat(ModelSpec(engine="tests.scripted_engine", slots=1), str(tmp_path))
    before = await collect(chat)
    chat.check_health()
    (tmp_path / "there").touch()

    chat._engine._next_at = 0.0
    await chat.describe()
    await chat._engine._reload
    after = await chat.describe()

    assert [(item.kind, "Run: touch" in item.message) for item in before] == [("Misconfigured", True)]
    assert isinstance(after, ModelInfo)


async def test_closing_closes_the_engine(chat: Chat):
    await chat.close()

    assert chat._engine.model.closed


async def test_out_of_memory_fails_the_request_and_asks_for_a_fresh_process_once_others_ended(tmp_path: Path):
    (tmp_path / "there").touch()
    chat = Chat(ModelSpec(engine="tests.scripted_engine", name="mine", slots=2), str(tmp_path))
    engine = chat._engine.model
    hungry, other = chat.stream(REQUEST, 5), chat.stream(REQUEST, 5)
    await anext(hungry)
    await anext(other)
    engine.raises = MemoryError()
    engine.gate.set()

    failure = [item async for item in hungry][-1]
    chat.check_health()  # the other is still under way
    refused = await collect(chat)
    ended = [item async for item in other][-1]

    assert (failure.kind, "ran out of memory" in failure.message) == ("Unavailable", True)
    assert [item.kind for item in refused] == ["Lost"]
    assert ended.finish_reason == "stop"
    with pytest.raises(Unavailable, match="being replaced"):
        chat.check_health()


async def test_a_model_that_does_not_fit_is_told_and_its_process_lives_on(tmp_path: Path):
    (tmp_path / "there").touch()
    chat = Chat(ModelSpec(engine="tests.scripted_engine", name="mine", options={"large": True}), str(tmp_path))

    items = await collect(chat)
    chat.check_health()

    assert [(item.kind, "does not fit into the memory" in item.message) for item in items] == [("Misconfigured", True)]


async def test_a_hanging_engine_is_told_to_serve(chat: Chat):
    chat._engine.model.hangs = Unavailable("It hangs.")

    with pytest.raises(Unavailable, match="It hangs"):
        chat.check_health()
