"""Models behind a cache: a text is embedded once, and what the model is, is asked now and then."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from integrations.errors import Misconfigured, Unavailable
from integrations.settings import Settings
from orchestration import model_cache
from orchestration.model_cache import CachingModels
from orchestration.resources import build
from serving.client import ScriptedModels


class Counting(ScriptedModels):
    """Counts the texts that it embedded."""

    def __init__(self) -> None:
        super().__init__()
        self.embedded: list[str] = []
        self.up = True
        self.by, self.then_by = "scripted", ""
        self._counting = threading.Lock()

    def embed(self, texts, *, traceparent=None):
        with self._counting:
            self.embedded += texts
            self.by = self.then_by or self.by
        return super().embed(texts, traceparent=traceparent)

    def embedder(self):
        return self.by

    def describe(self):
        if not self.up:
            raise Unavailable("The model is away.")
        return super().describe()


def test_a_text_is_embedded_once_and_comes_back_in_its_place():
    models = Counting()
    cached = CachingModels(models)

    first = cached.embed(["a", "b", "a"])
    second = cached.embed(["b", "c"])

    assert models.embedded == ["a", "b", "c"]
    assert first[0] == first[2]
    assert second == models.embed(["b", "c"])


def test_the_cache_is_bounded():
    models = Counting()
    cached = CachingModels(models)
    cached.embed([f"text {number}" for number in range(model_cache.TEXTS + 1)])

    cached.embed(["text 0"])
    cached.embed(["long " * model_cache.LONGEST] * 2)
    cached.embed(["long " * model_cache.LONGEST])

    assert models.embedded.count("text 0") == 2
    assert models.embedded.count("long " * model_cache.LONGEST) == 2


def test_another_embedder_makes_vectors_of_its_own():
    models = Counting()
    cached = CachingModels(models)
    cached.embed(["a"])

    models.by = "newer"
    cached.embed(["a", "a"])

    assert models.embedded == ["a", "a"]


def test_vectors_of_an_embedder_that_goes_meanwhile_are_not_kept():
    models = Counting()
    cached = CachingModels(models)
    models.then_by = "newer"
    cached.embed(["a"])

    cached.embed(["a"])
    models.by = "scripted"
    cached.embed(["a"])

    assert models.embedded == ["a", "a", "a"]


def test_what_a_caller_does_to_its_vector_is_not_done_to_others():
    cached = CachingModels(Counting())

    cached.embed(["a"])[0][0] = 99.0
    cached.embed(["a"])[0].clear()

    assert cached.embed(["a"]) == Counting().embed(["a"])


def test_texts_that_were_known_are_counted(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(model_cache, "VECTORS", model_cache.Counts())
    cached = CachingModels(Counting())

    cached.embed(["a", "b", "a"])
    cached.embed(["a", "c"])

    assert model_cache.VECTORS.texts == (5, 2)  # the second "a" of the first call, and that of the second


def test_many_threads_get_their_own_vectors():
    cached = CachingModels(Counting())
    texts = [f"text {number % 50}" for number in range(400)]

    with ThreadPoolExecutor(8) as pool:
        vectors = list(pool.map(lambda text: cached.embed([text])[0], texts))

    assert vectors == Counting().embed(texts)


def test_a_failure_is_not_remembered():
    models = Counting()
    cached = CachingModels(models)
    models.up = False
    with pytest.raises(Unavailable):
        cached.describe()

    models.up = True

    assert cached.describe().name == "scripted"


def test_without_a_database_it_says_what_to_do():
    with pytest.raises(Misconfigured, match="RUNBELL_DATABASE__URL"):
        build(Settings(database={"url": None}))


def test_equal_settings_share_their_objects(tmp_path):
    settings = Settings(home=tmp_path, database={"url": "postgresql://nobody@127.0.0.1:1/x"})

    first, second = build(settings), build(settings.model_copy())

    assert first["database"] is second["database"]
    assert set(first) == {"settings", "database", "models", "memory", "offers", "examinee"}
