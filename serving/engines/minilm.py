"""all-MiniLM-L6-v2 and BERT embedders of its form on onnxruntime, without torch.

Weights come from the safetensors file as shipped, the graph from `minilm_graph`. 4-6 ms for a short text.
"""

import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from integrations.errors import Misconfigured
from serving.schema import Embedding
from serving.shelf import InstalledModel, find, verify

# Before the first import of onnxruntime: at import it writes a device id and opens an event store.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

MAX_TOKENS = 256
BATCH_TOKENS = 2048  # bounds the memory of one pass


def load_embedder(name: str, home: Path) -> "MiniLM":
    """Check the model's files against their checksums (wrong weights would load silently), then load them."""
    model = find(home, name, kind="embedder", engine="minilm")
    verify(model)
    try:
        return MiniLM(model, threads=max(1, len(os.sched_getaffinity(0)) // 2))
    except (ValueError, KeyError, OSError) as error:
        raise Misconfigured(f"The embedder {name} can't be loaded: {error}. Run: runbell models pull {name}") from error


def try_out(folder: str) -> None:
    """Load a model's folder and embed a word; raises whatever is wrong with it."""
    model = InstalledModel(name="it", kind="embedder", engine="minilm", source="", files={}, folder=Path(folder))
    try:
        (embedding,) = MiniLM(model).embed(["word"])
    except KeyError as error:
        raise Misconfigured(f"It has no {error.args[0]}.") from error
    if not all(map(math.isfinite, embedding.vector)):
        raise Misconfigured("Its vectors are no numbers.")


class MiniLM:
    """Sentence embeddings of 384 numbers (other models: their hidden size). Texts are cut at 256 tokens."""

    def __init__(self, model: InstalledModel, threads: int = 1) -> None:
        import onnxruntime as ort
        from safetensors.numpy import load_file
        from tokenizers import Tokenizer

        from serving.engines import minilm_graph

        self.name = model.name
        weights = {
            name: value
            for name, value in load_file(model.folder / "model.safetensors").items()
            if not name.startswith("pooler.") and not name.endswith("position_ids")
        }
        config = json.loads((model.folder / "config.json").read_text(encoding="utf-8"))
        graph = minilm_graph.build(config, {name: value.shape for name, value in weights.items()})
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.enable_cpu_mem_arena = False
        values = [ort.OrtValue.ortvalue_from_numpy(value) for value in weights.values()]
        options.add_external_initializers(list(weights), values)
        self._session: Any = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self._size = int(config["hidden_size"])
        self._tokenizer: Any = Tokenizer.from_file(str(model.folder / "tokenizer.json"))
        self._unknown: int = self._tokenizer.token_to_id("[UNK]")
        # As shipped it pads and cuts at 128.
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(MAX_TOKENS)

    def embed(self, texts: Sequence[str]) -> list[Embedding]:
        """Return one embedding per text. Blocks."""
        tokens: list[list[int]] = [encoded.ids for encoded in self._tokenizer.encode_batch(list(texts))]
        vectors = np.empty((len(tokens), self._size), np.float32)
        order = sorted(range(len(tokens)), key=lambda i: len(tokens[i]))
        while order:  # the longest first, as many of about its length as fit into the bound
            count = max(1, BATCH_TOKENS // len(tokens[order[-1]]))
            group, order = order[-count:], order[:-count]
            vectors[group] = self._run([tokens[i] for i in group])
        return [
            Embedding(vector=tuple(vector), tokens=len(ids), unknown_share=self._share(ids[1:-1]))
            for vector, ids in zip(vectors.tolist(), tokens, strict=True)
        ]

    def unknown_share(self, texts: Sequence[str]) -> list[float]:
        """Return per text the share of tokens that the model does not know (most Chinese, for one)."""
        return [self._share(encoded.ids[1:-1]) for encoded in self._tokenizer.encode_batch(list(texts))]

    def _share(self, ids: list[int]) -> float:
        return sum(token == self._unknown for token in ids) / max(1, len(ids))

    def _run(self, group: list[list[int]]) -> NDArray[np.float32]:
        shape = len(group), max(map(len, group))
        ids, mask = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        for row, tokens in enumerate(group):
            ids[row, : len(tokens)], mask[row, : len(tokens)] = tokens, 1
        return self._session.run(None, {"input_ids": ids, "attention_mask": mask})[0]
