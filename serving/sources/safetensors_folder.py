"""A model as a folder of safetensors, in the form of the Hugging Face hub: what belongs to it, and is it whole.

An embedder is one that says how its vectors are pooled, as sentence-transformers has it.
"""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any, cast

from integrations.errors import InvalidInput

WEIGHTS = ".safetensors"
BESIDE = (".json", ".txt", ".jinja", ".model")
POOLING = "1_Pooling/config.json"
KEPT_POOLING = "pooling.json"
_BERT = {"model_type": "bert", "hidden_act": "gelu", "position_embedding_type": "absolute"}


def files_of(files: Collection[str]) -> list[str]:
    """Return the files of the uppermost folder that make the model up, config.json first; none where it is no model.

    Never pickles (*.bin, *.pt) or Python: reading them would run what somebody else wrote.
    """
    top = sorted(file for file in files if "/" not in file and not file.startswith("."))
    weights = [file for file in top if file.endswith(WEIGHTS)]
    # Some repositories hold the same weights once more in their maker's own form.
    weights = [file for file in weights if not file.startswith("consolidated")] or weights
    if not weights or "config.json" not in top:
        return []
    beside = [file for file in top if file.endswith(BESIDE) and file != "config.json"]
    return ["config.json", *beside, *([POOLING] if POOLING in files else []), *weights]


def kept_as(file: str) -> str:
    """Return a file's name on the shelf, where a model has no folders within."""
    return KEPT_POOLING if file == POOLING else Path(file).name


def check(folder: Path) -> None:
    """Raise `InvalidInput` where an engine could not open it; reads the heads of the weights only."""
    _object(folder / "config.json")
    if not (folder / "tokenizer.json").is_file():
        raise InvalidInput("It has no tokenizer.json, which its engine needs.", field="reference")
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        told: Any = _json(index)
        parts = cast("dict[str, object]", told.get("weight_map", {}) if isinstance(told, dict) else {})
        missing = sorted({str(part) for part in parts.values() if not (folder / str(part)).is_file()})
        if missing:
            raise InvalidInput(f"It has no {missing[0]}, which its index names.", field="reference")
    for path in folder.glob(f"*{WEIGHTS}"):
        _look_into(path)


def check_embedder(folder: Path) -> None:
    """Raise `InvalidInput` where the engine minilm would make other vectors than the model's maker means."""
    config, pooling = _object(folder / "config.json"), _object(folder / KEPT_POOLING)
    wrong = [f"{key} {config[key]}" for key, known in _BERT.items() if config.get(key, known) != known]
    others = [key for key, on in pooling.items() if key.startswith("pooling_mode_") and on is True]
    if others != ["pooling_mode_mean_tokens"]:
        wrong.append(f"pooling {', '.join(others) or 'unknown'}")
    if wrong:
        told = "The engine minilm opens embedders of BERT's form whose vectors are the mean of their tokens"
        raise InvalidInput(f"{told}; this one has {', '.join(wrong)}.", field="reference")


def _object(path: Path) -> dict[str, object]:
    found = _json(path)
    if not isinstance(found, dict):
        raise InvalidInput(f"{path.name} is no JSON object.", field="reference")
    return cast("dict[str, object]", found)


def _json(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidInput(f"{path.name} can't be read: {error}", field="reference") from error


def _look_into(path: Path) -> None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as weights:
            weights.keys()
    except (SafetensorError, OSError) as error:
        raise InvalidInput(f"{path.name} holds no safetensors: {error}", field="reference") from error
