"""An engine with random weights of a given shape, made on the device: for measuring speed where nothing can be fetched.

Chosen in models.yaml by `engine: benchmarks.shaped_engine`; `options.shape` is a name in SHAPES. Every token is a word.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from serving.engines.transformers import Transformers
from serving.fleet import ModelSpec
from serving.schema import Embedding

SHAPES: dict[str, dict[str, int]] = {
    # Qwen2-7B: 7.6 billion parameters, 15.2 GB in bfloat16.
    "qwen2-7b": {
        "vocab_size": 152_064,
        "hidden_size": 3584,
        "intermediate_size": 18_944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "max_position_embeddings": 32_768,
    },
    "toy": {
        "vocab_size": 2_048,
        "hidden_size": 128,
        "intermediate_size": 256,
        "num_hidden_layers": 2,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
        "max_position_embeddings": 8_192,
    },
}
QUANTIZED = {"int8": "Int8WeightOnlyConfig", "fp8": "Float8DynamicActivationFloat8WeightConfig"}


def load(config: ModelSpec, home: Path) -> Transformers:  # noqa: ARG001 - every engine is loaded alike
    """Make the weights and start the engine."""
    model = make(str(config.options["shape"]), str(config.options.get("device") or "cpu"), config.quantization)
    return Transformers(config, model, tokenizer(int(model.config.vocab_size)))


def make(shape: str, device: str, quantization: str | None) -> Any:  # noqa: ANN401 - no types without torch
    """Return a model of that shape; bfloat16 on CUDA, float32 elsewhere."""
    import torch
    import transformers

    torch.manual_seed(1)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16 if device.startswith("cuda") else torch.float32)
    try:
        with torch.device(device):
            config = transformers.Qwen2Config(
                **SHAPES[shape], tie_word_embeddings=False, bos_token_id=None, eos_token_id=None
            )
            model = transformers.Qwen2ForCausalLM(config).eval()
    finally:
        torch.set_default_dtype(before)
    model.generation_config.eos_token_id = None
    if quantization:
        import torchao.quantization as ao

        ao.quantize_(model, getattr(ao, QUANTIZED[quantization])())
    return model


def tokenizer(size: int) -> Any:  # noqa: ANN401 - no types without torch
    """Return a tokenizer for which `w17` is token 17, and every token is one word."""
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers

    bare = Tokenizer(models.WordLevel({f"w{index}": index for index in range(size)}, unk_token="w0"))
    bare.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    template = "{% for m in messages %}{{ m['content'] }} {% endfor %}"
    return transformers.PreTrainedTokenizerFast(tokenizer_object=bare, chat_template=template)


def load_embedder(name: str, home: Path) -> "Hashes":  # noqa: ARG001 - every embedder is loaded alike
    """Return what stands in an embedder's place: Serve wants one, and nothing is fetched here."""
    return Hashes(name)


class Hashes:
    """Vectors out of a digest."""

    def __init__(self, name: str) -> None:
        self.name = name

    def embed(self, texts: Sequence[str]) -> list[Embedding]:
        """Return one vector per text."""
        return [Embedding(vector=_unit(text), tokens=1, unknown_share=0.0) for text in texts]

    def unknown_share(self, texts: Sequence[str]) -> list[float]:
        """Nothing is unknown."""
        return [0.0 for _ in texts]


def _unit(text: str) -> tuple[float, ...]:
    numbers = [byte - 127.5 for byte in hashlib.sha256(text.encode()).digest()]
    norm = sum(number * number for number in numbers) ** 0.5
    return tuple(number / norm for number in numbers)
