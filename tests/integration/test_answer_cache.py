"""Answers that are given again, kept in PostgreSQL or in a real Redis: for whom, how long, how many, and without it."""

import logging
import socket
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from integrations.database import Database
from integrations.errors import Misconfigured, Unavailable
from integrations.redis_answers import RedisAnswers
from orchestration.answer_cache import Answers, RememberingModels
from serving.client import ScriptedModels
from serving.fleet import Fleet
from serving.schema import ChatMessage, ChatRequest, Origin
from tests.redis import redis_server

FLEET = Fleet.model_validate(
    {
        "models": {"m": {"engine": "llama_cpp"}, "e": {"engine": "minilm", "capabilities": ["embed"]}},
        "routes": {"only": {"candidates": ["m"], "cache_s": 600}},
    }
)


@pytest.fixture(scope="module")
def redis() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder, redis_server(Path(folder)) as url:  # a socket's path must be short
        yield url


@pytest.fixture(params=["postgresql", "redis"])
def answers(request: pytest.FixtureRequest, database: Database) -> Iterator[Answers]:
    if request.param == "postgresql":
        yield database.answers
        return
    kept = RedisAnswers(SecretStr(request.getfixturevalue("redis")))
    kept._redis.flushall()
    yield kept
    kept.close()


def of(tenant: str, principal: str | None, text: str = "hi") -> ChatRequest:
    origin = Origin(tenant=tenant, principal_id=principal)
    return ChatRequest(messages=(ChatMessage(role="user", content=text),), model="only", origin=origin)


def asked(answers: Answers, *requests: ChatRequest) -> int:
    """Ask, and return how often a model was."""
    models = ScriptedModels()
    remembering = RememberingModels(models, answers, "acme", lambda: FLEET)
    for request in requests:
        said = "".join(chunk.text for chunk in remembering.stream(request))
        assert said.strip() == f"You said: {request.messages[0].content}".strip()
    return len(models.requests)


def test_the_same_request_of_the_same_person_is_asked_once(answers: Answers):
    assert asked(answers, of("acme", "p", "你好 👋"), of("acme", "p", "你好 👋")) == 1


@pytest.mark.parametrize("other", [of("acme", "q"), of("acme", None), of("other", "p"), of("acme", "p", "hi ")])
def test_nobody_is_told_what_another_was_told(answers: Answers, other: ChatRequest):
    assert asked(answers, of("acme", "p"), other) == 2


def test_answers_are_forgotten_in_time_and_bounded(answers: Answers, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("integrations.database.answer_cache.MOST", 3)
    now = datetime.now(UTC)
    for number in range(5):
        answers.put("acme", str(number), "m", "text", now + timedelta(seconds=60))
    answers.put("acme", "long", "m", "x" * 200_000, now + timedelta(seconds=60))

    kept = [name for name in (*"01234", "long") if answers.get("acme", name, now)]

    assert kept == ["2", "3", "4"]
    assert answers.get("acme", "4", now) == ("m", "text")
    assert answers.get("acme", "4", now + timedelta(seconds=61)) is None
    assert answers.get("other", "4", now) is None


def test_redis_itself_forgets_what_is_over(redis: str):
    kept = RedisAnswers(SecretStr(redis))
    kept._redis.flushall()

    kept.put("acme", "d", "m", "text", datetime.now(UTC) + timedelta(seconds=60))

    lives = [kept._redis.pttl(key) for key in kept._redis.keys("runbell:*")]
    assert len(lives) == 2
    assert 50_000 < min(lives) <= 60_000 < max(lives) <= 30 * 86_400_000
    kept.close()


def test_without_redis_models_answer_and_it_is_told_once_and_when_it_is_back(
    tmp_path: Path, database: Database, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO, logger="orchestration.answer_cache")
    now = [1000.0]
    with tempfile.TemporaryDirectory() as folder:
        kept = RedisAnswers(SecretStr(f"unix://{folder}/redis.sock"), lambda: now[0])
        models = ScriptedModels()
        remembering = RememberingModels(models, kept, "acme", lambda: FLEET)

        for _ in range(3):
            assert list(remembering.stream(of("acme", "p")))[-1].finish_reason == "stop"
        now[0] += 60
        with redis_server(Path(folder)):
            for _ in range(3):
                list(remembering.stream(of("acme", "p")))
        kept.close()

    assert len(models.requests) == 4
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
        "models answer without the cache of answers",
        "the cache of answers is back",
    ]


def test_a_redis_that_is_silent_holds_nobody_up():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        kept = RedisAnswers(SecretStr(f"redis://127.0.0.1:{silent.getsockname()[1]}/0"))
        began = time.monotonic()
        for _ in range(20):
            with pytest.raises(Unavailable, match=r"cache\.url"):
                kept.get("acme", "d", datetime.now(UTC))
        kept.close()

    assert time.monotonic() - began < 5


def test_an_address_that_is_none_is_told_with_its_setting():
    with pytest.raises(Misconfigured, match=r"cache\.url"):
        RedisAnswers(SecretStr("http://somewhere"))
