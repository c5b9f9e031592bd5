"""Pulling an embedder from a hub: a tiny BERT with real weights, of which each byte is looked at."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import BertProcessing

from integrations.errors import InvalidInput, Rejected
from serving import catalogue
from serving.engines.minilm import load_embedder
from tests.depot import Depot, open_depot

SIZE, INNER, WORDS = 8, 16, ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "sea", "sun"]
CONFIG: dict[str, Any] = {
    "model_type": "bert", "architectures": ["BertModel"], "hidden_act": "gelu", "hidden_size": SIZE,
    "num_hidden_layers": 1, "num_attention_heads": 2, "layer_norm_eps": 1e-12,
}  # fmt: skip
POOLING = {"word_embedding_dimension": SIZE, "pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}
CLS = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
BESIDE = {"pytorch_model.bin": b"pickle", "onnx/model.onnx": b"x", "2_Normalize/config.json": b"{}"}


def weights() -> dict[str, np.ndarray[Any, np.dtype[np.float32]]]:
    layer = "encoder.layer.0."
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (len(WORDS), SIZE),
        "embeddings.position_embeddings.weight": (16, SIZE),
        "embeddings.token_type_embeddings.weight": (2, SIZE),
    }
    for name in ("embeddings.LayerNorm", f"{layer}attention.output.LayerNorm", f"{layer}output.LayerNorm"):
        shapes |= {f"{name}.weight": (SIZE,), f"{name}.bias": (SIZE,)}
    for name in ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"):
        shapes |= {f"{layer}{name}.weight": (SIZE, SIZE), f"{layer}{name}.bias": (SIZE,)}
    for name, sizes in (("intermediate.dense", (INNER, SIZE)), ("output.dense", (SIZE, INNER))):
        shapes |= {f"{layer}{name}.weight": sizes, f"{layer}{name}.bias": sizes[:1]}
    chance = np.random.default_rng(1)
    return {name: chance.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def tokenizer() -> bytes:
    made = Tokenizer(WordPiece({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]"))
    made.pre_tokenizer = Whitespace()
    made.post_processor = BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return made.to_str().encode()


def as_json(value: object) -> bytes:
    return json.dumps(value).encode()


MODEL = {
    "config.json": as_json(CONFIG),
    "tokenizer.json": tokenizer(),
    "modules.json": b"[]",
    "1_Pooling/config.json": as_json(POOLING),
    "model.safetensors": save(weights()),
}
KEPT = {"config.json", "tokenizer.json", "modules.json", "pooling.json", "model.safetensors"}
HUB = "/maker/Tiny-Vectors/"


@pytest.fixture
def depot(monkeypatch: pytest.MonkeyPatch) -> Iterator[Depot]:
    with open_depot() as depot:
        monkeypatch.setenv("HF_ENDPOINT", depot.url)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        depot.files |= {HUB + name: body for name, body in (MODEL | BESIDE).items()}
        yield depot


def test_an_embedder_is_pulled_from_a_hub_without_pickles_and_embeds(tmp_path: Path, depot: Depot):
    model = catalogue.pull(tmp_path, "maker/Tiny-Vectors")

    assert (model.name, model.kind, model.engine) == ("tiny-vectors", "embedder", "minilm")
    assert set(model.files) == KEPT == {path.name for path in model.folder.iterdir()} - {"model.json"}
    catalogue.verify(model)
    sea, again, sun = load_embedder("tiny-vectors", tmp_path).embed(["sea", "sea", "sun"])
    assert math.isclose(sum(number**2 for number in sea.vector), 1, rel_tol=1e-5)
    assert sea == again != sun


def test_a_download_that_breaks_off_goes_on(tmp_path: Path, depot: Depot):
    depot.breaks_after += [10**9] * 4 + [1000]

    catalogue.verify(catalogue.pull(tmp_path, "maker/Tiny-Vectors"))


def test_weights_that_are_not_as_promised_are_removed_and_the_rest_kept(tmp_path: Path, depot: Depot):
    depot.lies[f"{HUB}model.safetensors"] = "0" * 64
    with pytest.raises(Rejected, match=r"model\.safetensors is not what its checksum promises, and was removed"):
        catalogue.pull(tmp_path, "maker/Tiny-Vectors")
    assert catalogue.installed(tmp_path) == []

    depot.asked.clear()
    depot.lies.clear()
    catalogue.pull(tmp_path, "maker/Tiny-Vectors")

    fetched = {path.rpartition("/")[2] for method, path, _ in depot.asked if method == "GET" and "api" not in path}
    assert fetched == {"model.safetensors"}


@pytest.mark.parametrize(
    ("name", "body", "said"),
    [
        ("1_Pooling/config.json", as_json(POOLING | CLS), "has pooling pooling_mode_cls_token"),
        ("1_Pooling/config.json", b"[]", "pooling.json is no JSON object"),
        ("config.json", as_json(CONFIG | {"model_type": "mpnet"}), "has model_type mpnet"),
        ("config.json", as_json(CONFIG | {"hidden_act": "relu"}), "has hidden_act relu"),
        ("config.json", as_json(CONFIG | {"num_hidden_layers": 2}), "minilm can't load it: It has no encoder.layer.1"),
        ("tokenizer.json", b"{}", "minilm can't load it"),
    ],
)
def test_whose_vectors_would_be_others_than_its_maker_means_is_refused_and_not_kept(
    tmp_path: Path, depot: Depot, name: str, body: bytes, said: str
):
    depot.files[HUB + name] = body

    with pytest.raises(InvalidInput, match=said):
        catalogue.pull(tmp_path, "maker/Tiny-Vectors")

    assert catalogue.installed(tmp_path) == []


def test_an_embedders_folder_on_this_machine_is_copied(tmp_path: Path):
    for name, body in MODEL.items():
        path = tmp_path / "mine" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)

    model = catalogue.pull(tmp_path / "home", str(tmp_path / "mine"))

    assert (model.kind, set(model.files)) == ("embedder", KEPT)
