"""Real starter models on a real Ray Serve: through handles, as ops ask, and over HTTP, as OpenAI's client asks."""

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import openai
import pytest

from integrations.errors import InvalidInput, Overloaded, Unavailable
from serving.client import ServeModels
from serving.handles import shared_loop
from serving.schema import ChatChunk, ChatMessage, ChatRequest
from tests.serving import RayHead, ServedModels, asking, running, starter_models, wait_for

pytestmark = [
    pytest.mark.timeout(240),
    # Ray leaves sockets and subprocess handles of its own behind in this process.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

LONG = "Tell a very long story about the sea, with many chapters."


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedModels]:
    home = tmp_path_factory.mktemp("home")
    starter_models(home)
    with running(ServedModels(RayHead(), home, slots=2, context_tokens=1024)) as served:
        yield served


@pytest.fixture(scope="module")
def models(served: ServedModels) -> Iterator[ServeModels]:
    with asking(served) as models:
        yield models


@pytest.fixture
def http(served: ServedModels) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served.url, headers=served.authorization, timeout=60) as client:
        yield client


def ask(text: str, **options: object) -> ChatRequest:
    return ChatRequest(messages=(ChatMessage(role="user", content=text),), **options)


def text_of(chunks: list[ChatChunk]) -> str:
    return "".join(chunk.text for chunk in chunks)


def test_an_answer_streams_token_by_token_with_its_numbers(models: ServeModels):
    chunks = list(models.stream(ask("What is the capital of France?", max_tokens=24, temperature=0)))

    assert "Paris" in text_of(chunks)
    assert len(chunks) > 4
    usage = chunks[-1].usage
    assert usage.tokens_in > 10
    assert 1 <= usage.tokens_out <= 24
    assert 0 < usage.first_token_ms <= usage.total_ms


def test_pieces_travel_as_messages_and_not_as_objects_of_ray(models: ServeModels):
    models.describe()
    door = models._door

    async def begin() -> tuple[bool, ChatChunk]:
        handle = await door.handle(door.app("smollm2-135m"), streamed=True)
        response = handle.stream.remote(ask("Hello", max_tokens=1), 30, None)
        return response.by_reference, await anext(response)

    by_reference, first = asyncio.run_coroutine_threadsafe(begin(), shared_loop()).result(30)
    assert by_reference is False, "Ray has moved `_by_reference`: see serving/grpc_streams.py"
    assert first.finish_reason in {None, "length", "stop"}


def test_others_in_the_same_process_ask_too_also_after_the_first_one_was_closed(models: ServeModels):
    models.describe()
    second = ServeModels()
    assert second.describe() == models.describe()
    second.close()

    third = ServeModels()
    assert text_of(list(third.stream(ask("What is the capital of France?", max_tokens=8, temperature=0))))
    third.close()


def test_the_model_tells_what_it_is(models: ServeModels):
    info = models.describe()

    assert (info.name, info.engine, info.context_tokens) == ("smollm2-135m", "llama_cpp", 1024)
    assert info.constrains
    assert not info.strong


def test_prompts_are_counted_by_the_models_own_tokenizer(models: ServeModels):
    request = ask("What is the capital of France?", max_tokens=1)

    counted = models.count_tokens(request.messages)

    assert counted == list(models.stream(request))[-1].usage.tokens_in


def test_closing_the_iterator_frees_the_slot(models: ServeModels):
    for _ in range(6):  # three times as many as there are slots
        stream = models.stream(ask(LONG, max_tokens=900))
        next(stream)
        stream.close()

    began = time.monotonic()
    chunks = list(models.stream(ask("Say hello.", max_tokens=4)))
    assert chunks[-1].finish_reason is not None
    assert time.monotonic() - began < 5


def test_a_model_slower_than_its_deadline_is_unavailable_and_stops(models: ServeModels):
    began = time.monotonic()
    with pytest.raises(Unavailable, match=r"within 0\.4 s"):
        list(models.stream(ask(LONG, max_tokens=900), timeout_s=0.4))

    assert time.monotonic() - began < 2
    assert list(models.stream(ask("Say hello.", max_tokens=4)))[-1].finish_reason is not None


def test_an_answer_is_held_to_its_json_schema(models: ServeModels):
    schema = {
        "type": "object",
        "properties": {"command": {"enum": ["report", "digest"]}, "days": {"type": "integer"}},
        "required": ["command", "days"],
        "additionalProperties": False,
    }
    request = ask("Send me the report of 3 days.", max_tokens=60, temperature=0, json_schema=schema)

    value = json.loads(text_of(list(models.stream(request))))

    assert set(value) == {"command", "days"}
    assert value["command"] in {"report", "digest"}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "nonsense"},
        {"$ref": "http://127.0.0.1:9/schema.json"},
        {"type": "object", "not": {"required": ["a"]}},  # llama.cpp can't, and generates freely without a word
    ],
)
def test_a_schema_that_cannot_be_met_is_invalid_input(models: ServeModels, schema: dict[str, object]):
    with pytest.raises(InvalidInput, match=r"Schema|ref"):
        list(models.stream(ask("Say hello in one word.", max_tokens=400, json_schema=schema)))


def test_a_prompt_longer_than_the_context_is_invalid_input(models: ServeModels):
    with pytest.raises(InvalidInput, match="too long"):
        list(models.stream(ask("word " * 3000)))


def test_characters_made_of_several_tokens_arrive_whole(models: ServeModels):
    schema = {"const": "张伟 👩‍👩‍👧‍👦 naïve ﬁ"}

    chunks = list(models.stream(ask("Go.", max_tokens=120, json_schema=schema)))

    assert json.loads(text_of(chunks)) == schema["const"]
    assert "\ufffd" not in text_of(chunks)


def test_requests_run_together_and_too_many_are_turned_away(models: ServeModels):
    def one(_: int) -> str:
        try:
            return text_of(list(models.stream(ask("Say hello.", max_tokens=8), timeout_s=60)))
        except Overloaded:
            return "overloaded"

    with ThreadPoolExecutor(40) as pool:
        # Two slots, and eight times as many wait: 18, less what the watcher asks.
        answers = list(pool.map(one, range(40)))

    assert 0 < answers.count("overloaded") <= 24
    assert sum(answer not in {"", "overloaded"} for answer in answers) >= 16


def test_texts_of_many_callers_are_embedded_in_order(models: ServeModels):
    texts = [f"number {i}" for i in range(300)]
    together = models.embed(texts)

    with ThreadPoolExecutor(8) as pool:
        alone = list(pool.map(lambda i: models.embed([texts[i]])[0], [0, 7, 150, 299]))

    for index, vector in zip([0, 7, 150, 299], alone, strict=True):
        assert sum(a * b for a, b in zip(together[index], vector, strict=True)) == pytest.approx(1, abs=1e-4)


def test_the_embedder_says_what_it_does_not_know(models: ServeModels):
    english, chinese = models.unknown_share(["a report about the sea", "给我看今天的健康报告"])

    assert english == 0
    assert chinese > 0.3


def test_a_malformed_trace_context_does_no_harm(models: ServeModels):
    malformed = list(models.stream(ask("Say hello.", max_tokens=2), traceparent="nonsense"))
    well = list(models.stream(ask("Say hello.", max_tokens=2), traceparent=f"00-{'a' * 32}-{'b' * 16}-01"))

    assert malformed[-1].usage
    assert well[-1].usage


def test_the_model_that_embeds_is_known_by_its_name(models: ServeModels):
    assert models.embedder() == "minilm-l6-v2"


def test_openais_client_streams_and_embeds(served: ServedModels):
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key=served.token, max_retries=0) as client:
        stream = client.chat.completions.create(
            model="smollm2-135m",
            messages=[{"role": "user", "content": "What is the capital of France?"}],
            max_tokens=16,
            temperature=0,
            stream=True,
            stream_options={"include_usage": True},
        )
        events = list(stream)
        whole = client.chat.completions.create(
            model="default", messages=[{"role": "user", "content": "Say hello."}], max_tokens=4
        )
        vectors = client.embeddings.create(model="minilm-l6-v2", input=["one", "two"])
        names = {model.id for model in client.models.list()}

    text = "".join(event.choices[0].delta.content or "" for event in events if event.choices)
    assert "Paris" in text
    assert events[-1].usage.completion_tokens > 0
    assert whole.choices[0].message.content
    assert [len(item.embedding) for item in vectors.data] == [384, 384]
    assert names == {"smollm2-135m", "deep", "default", "fast", "minilm-l6-v2"}


@pytest.mark.parametrize("header", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic abc"}])
def test_nobody_asks_without_the_token(served: ServedModels, header: dict[str, str]):
    answer = httpx.post(f"{served.url}/v1/chat/completions", json={}, headers=header)

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"


def test_without_a_token_file_everyone_is_refused(served: ServedModels, http: httpx.Client):
    token = served.home / "token"
    kept = token.rename(served.home / "token.kept")
    try:
        assert http.get("/v1/models").status_code == 401
        token.write_text("")
        assert httpx.get(f"{served.url}/v1/models", headers={"Authorization": "Bearer"}).status_code == 401
    finally:
        kept.rename(token)
    assert http.get("/v1/models").status_code == 200


@pytest.mark.parametrize(
    ("change", "status", "said"),
    [
        ({"tools": []}, 400, "tools"),
        ({"n": 2}, 400, "n"),
        ({"messages": []}, 400, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, 400, "role"),
        ({"temperature": 9}, 400, "temperature"),
        ({"model": "gpt-9"}, 404, "smollm2-135m"),
        ({"messages": [{"role": "user", "content": "word " * 3000}]}, 400, "too long"),
        ({"messages": [{"role": "user", "content": "word " * 3000}], "stream": True}, 400, "too long"),
        ({"response_format": {"type": "json_schema"}}, 400, "json_schema"),
    ],
)
def test_bad_requests_are_told_what_is_wrong(http: httpx.Client, change: dict, status: int, said: str):
    body = {"model": "smollm2-135m", "messages": [{"role": "user", "content": "hi"}], **change}

    answer = http.post("/v1/chat/completions", json=body)

    assert answer.status_code == status
    assert said in answer.json()["error"]["message"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff\xfe", b'"text"'])
def test_malformed_bodies_are_refused(http: httpx.Client, body: bytes):
    answer = http.post("/v1/chat/completions", content=body, headers={"Content-Type": "application/json"})

    assert answer.status_code == 400
    assert answer.json()["error"]["message"]


def test_large_bodies_are_refused(http: httpx.Client):
    def pieces() -> Iterator[bytes]:
        for _ in range(20):
            yield b" " * 100_000

    declared = http.post("/v1/embeddings", json={"model": "minilm-l6-v2", "input": "x" * 2_000_000})
    counted = http.post("/v1/embeddings", content=pieces(), headers={"Content-Type": "application/json"})

    assert declared.status_code == 413
    assert counted.status_code == 413


def test_leaving_over_http_frees_the_slot(http: httpx.Client):
    body = {"model": "default", "messages": [{"role": "user", "content": LONG}], "max_tokens": 900, "stream": True}
    for _ in range(4):
        with http.stream("POST", "/v1/chat/completions", json=body) as answer:
            next(answer.iter_lines())

    began = time.monotonic()
    short = http.post("/v1/chat/completions", json={**body, "stream": False, "max_tokens": 4})
    assert short.status_code == 200
    assert time.monotonic() - began < 5


def test_a_killed_replica_is_replaced_and_its_caller_told(served: ServedModels, models: ServeModels):
    failed: list[Exception] = []
    started = threading.Event()

    def listen() -> None:
        try:
            for _ in models.stream(ask(LONG, max_tokens=900), timeout_s=60):
                started.set()
        except Unavailable as error:
            failed.append(error)

    listener = threading.Thread(target=listen)
    listener.start()
    assert started.wait(30)
    replica = next(p for p in served.ray.processes() if "ServeReplica:model-smollm2" in " ".join(p.cmdline()))
    replica.kill()
    listener.join(15)

    assert failed
    wait_for(lambda: _answers(models), 60, "a new replica")


def _answers(models: ServeModels) -> bool:
    try:
        return bool(list(models.stream(ask("Say hello.", max_tokens=2), timeout_s=20)))
    except Unavailable:
        return False


def test_a_corrupt_model_is_named_and_answers_again_once_pulled(served: ServedModels, models: ServeModels):
    folder = served.home / "models" / "smollm2-135m"
    path = next(folder.glob("*.gguf"))
    with path.open("r+b") as file:
        file.seek(50_000_000)
        file.write(b"rubbish!")
    replica = next(p for p in served.ray.processes() if "ServeReplica:model-smollm2" in " ".join(p.cmdline()))
    replica.kill()

    wait_for(lambda: path.name in served.problem(), 60, "the problem to be told")
    said = served.problem()
    answer = httpx.get(f"{served.url}/v1/models", headers=served.authorization, timeout=30)

    assert "is corrupt" in said
    assert "runbell models pull smollm2-135m" in said
    assert not served.ready_file.exists()
    assert answer.status_code == 503
    assert "corrupt" in answer.json()["error"]["message"]

    starter_models(served.home)
    served.wait_ready(60)
    assert _answers(models)
