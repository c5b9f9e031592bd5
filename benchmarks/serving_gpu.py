"""A model of Qwen2-7B's shape on one CUDA device: the engine alone, through a Ray Serve handle, and over HTTP.

    python benchmarks/serving_gpu.py [--json] [--out FILE] [--shape toy] [--concurrency 1,8,32,128] [--tokens 128]

Runs on any machine with torch, transformers and what Runbell itself needs; installs and downloads nothing: the weights
are random, made on the device. In one run: the bandwidth of copies on the device; the least time of one decoding step
(bytes of the weights that it reads / bandwidth); tokens per second and time to the first token at each concurrency, the
three ways; INT8 and FP8 beside bfloat16 where torchao is there; whether greedy tokens are those of `generate`. Without
CUDA it takes the small shape and the CPU: the same code, other numbers. Each way runs in processes of its own.
"""

import argparse
import asyncio
import contextlib
import importlib.util
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import asking, shaped_engine
from benchmarks.ending import end, started, unwinding
from benchmarks.serve_place import TOKEN, served

if TYPE_CHECKING:
    from serving.client import ServeModels

ROOT = Path(__file__).parent.parent
MODEL = "shaped"
ROUNDS = 2
CHECKED = 4


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--out", type=Path, help="write the results there too")
    parser.add_argument("--shape", choices=sorted(shaped_engine.SHAPES))
    parser.add_argument("--concurrency", default="1,8,32,128")
    parser.add_argument("--words", type=int, default=512, help="tokens of a prompt")
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--part", choices=["alone", "serve"], help="for the program itself")
    parser.add_argument("--quantization")
    asked = parser.parse_args()
    levels = [int(level) for level in asked.concurrency.split(",")]
    if asked.part:
        measure = _alone if asked.part == "alone" else _serve
        print("RESULT " + json.dumps(measure(asked, levels)))
        return 0
    results = _all(asked)
    text = json.dumps(results, indent=None if asked.json else 2)
    if asked.out:
        asked.out.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    print(text)
    return 0


def _all(asked: argparse.Namespace) -> dict[str, Any]:
    results = _part(asked, "alone")
    results |= _part(asked, "serve")
    alone, handle = results["alone"], results.get("handle")
    levels = list(alone)
    if handle:
        results["handle_of_alone"] = {
            level: round(handle[level]["tokens_per_s"] / alone[level]["tokens_per_s"], 3) for level in levels
        }
    single = alone[levels[0]]["tokens_per_s"]
    results["single_of_floor"] = round(single / results["floor_tokens_per_s"], 3)
    results["most_of_single"] = round(alone[levels[-1]]["tokens_per_s"] / single, 1)
    if importlib.util.find_spec("torchao") is not None:
        for name in shaped_engine.QUANTIZED:
            results[name] = _part(asked, "alone", quantization=name).get("alone")
    else:
        results["quantized"] = "torchao is not here"
    return results


def _part(asked: argparse.Namespace, part: str, *, quantization: str | None = None) -> dict[str, Any]:
    """Run one way in a process of its own, so that its memory is free afterwards."""
    command = [sys.executable, __file__, "--part", part, "--concurrency", asked.concurrency]
    command += ["--words", str(asked.words), "--tokens", str(asked.tokens)]
    command += ["--shape", asked.shape] if asked.shape else []
    command += ["--quantization", quantization] if quantization else []
    with unwinding():
        process = started(command, orphaned=signal.SIGTERM, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            said, complained = (stream.decode() for stream in process.communicate())
        finally:
            end(process)
    line = next((line for line in said.splitlines() if line.startswith("RESULT ")), None)
    if line is None:
        return {f"{part}_failed": (complained or said)[-2000:]}
    return dict(json.loads(line.removeprefix("RESULT ")))


def _spec(asked: argparse.Namespace, levels: Sequence[int]) -> dict[str, Any]:
    import torch

    cuda = torch.cuda.is_available()
    return {
        "engine": "benchmarks.shaped_engine",
        "slots": max(levels),
        "context_tokens": asked.words + asked.tokens + 64,
        "request_timeout_s": 600,
        "load_timeout_s": 600,
        "quantization": asked.quantization,
        "resources": {"gpus": 1 if cuda else 0},
        "options": {
            "shape": asked.shape or ("qwen2-7b" if cuda else "toy"),
            "device": "cuda" if cuda else "cpu",
            "max_batch_tokens": 8192,
        },
    }


def _alone(asked: argparse.Namespace, levels: Sequence[int]) -> dict[str, Any]:
    return asyncio.run(_alone_in_loop(asked, levels))


async def _alone_in_loop(asked: argparse.Namespace, levels: Sequence[int]) -> dict[str, Any]:
    import torch

    from serving.fleet import ModelSpec

    spec = ModelSpec.model_validate(_spec(asked, levels) | {"model": MODEL}).model_copy(update={"name": MODEL})
    device = str(spec.options["device"])
    bandwidth = _bandwidth(device)
    model = shaped_engine.make(str(spec.options["shape"]), device, spec.quantization)
    read = sum(weight.numel() * weight.element_size() for weight in model.parameters())
    embedding = model.get_input_embeddings().weight
    read -= embedding.numel() * embedding.element_size()  # of it, one row is read
    expected = await asyncio.to_thread(_generated, model)
    engine = shaped_engine.Transformers(spec, model, shaped_engine.tokenizer(int(model.config.vocab_size)))
    try:
        same = await _same(engine, expected)
        found: dict[str, Any] = {}
        for level in levels:
            found[str(level)] = await _best(engine, asked, level)
    finally:
        await engine.close()
    return {
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "torch": torch.__version__,
        "shape": spec.options["shape"],
        "prompt_tokens": asked.words,
        "copy_gb_per_s": round(bandwidth / 1e9, 1),
        "weights_gb_read_per_step": round(read / 1e9, 3),
        "floor_tokens_per_s": round(bandwidth / read, 1),
        "greedy_as_generate": same,
        "alone": found,
    }


async def _best(engine: shaped_engine.Transformers, asked: argparse.Namespace, level: int) -> dict[str, float]:
    """Return the better of two rounds: the first one captures graphs and fills caches."""
    rounds = [
        await asking.alone(
            engine.stream, asking.requests(level, words=asked.words, tokens=asked.tokens, seed=level * 10 + number)
        )
        for number in range(ROUNDS)
    ]
    return max(rounds, key=lambda figures: figures["tokens_per_s"])


def _generated(model: Any) -> list[list[str]]:  # noqa: ANN401 - no types without torch
    """Return what `generate` says, before the engine takes the model over."""
    import torch

    words, said = shaped_engine.tokenizer(int(model.config.vocab_size)), list[list[str]]()
    for request in asking.requests(CHECKED, words=40, tokens=24, seed=99):
        ids = torch.tensor([words(request.messages[0].content)["input_ids"]], device=model.device)
        asked = {"attention_mask": torch.ones_like(ids), "pad_token_id": 0}
        tokens = model.generate(ids, do_sample=False, max_new_tokens=24, **asked)[0, ids.shape[1] :]
        said.append(words.decode(tokens).split())
    return said


async def _same(engine: shaped_engine.Transformers, expected: list[list[str]]) -> str:
    """Return how many answers are those of `generate`: random weights of 16 bits have near ties."""
    wanted = asking.requests(CHECKED, words=40, tokens=24, seed=99)
    texts = ["".join([chunk.text async for chunk in engine.stream(request)]).split() for request in wanted]
    return f"{sum(text == other for text, other in zip(texts, expected, strict=True))} of {CHECKED}"


def _bandwidth(device: str) -> float:
    """Return bytes per second, read and written, of a copy on the device."""
    import torch

    size = 1 << (30 if device == "cuda" else 26)
    source = torch.ones(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    best = 0.0
    for _ in range(5):
        wait()
        began = time.perf_counter()
        for _ in range(10):
            target.copy_(source)
        wait()
        best = max(best, 10 * 2 * size / (time.perf_counter() - began))
    return best


def _serve(asked: argparse.Namespace, levels: Sequence[int]) -> dict[str, Any]:
    from serving.client import ServeModels

    embedder = {"engine": "benchmarks.shaped_engine", "capabilities": ["embed"]}
    with tempfile.TemporaryDirectory(prefix="runbell-gpu-") as folder:
        models = {"models": {MODEL: _spec(asked, levels), "hashes": embedder}}
        with served(Path(folder), models, load_s=600) as url, contextlib.closing(ServeModels()) as handles:
            return _served(handles, url, asked, levels)


def _served(handles: "ServeModels", url: str, asked: argparse.Namespace, levels: Sequence[int]) -> dict[str, Any]:
    by_handle, by_http = dict[str, Any](), dict[str, Any]()
    for level in levels:
        seeds = [
            asking.requests(level, words=asked.words, tokens=asked.tokens, seed=level * 10 + number)
            for number in range(ROUNDS)
        ]
        rounds = [asking.through(lambda one: handles.stream(one, timeout_s=600), wanted) for wanted in seeds]
        by_handle[str(level)] = max(rounds, key=lambda figures: figures["tokens_per_s"])
        http = [asyncio.run(asking.over_http(url, TOKEN, "default", wanted)) for wanted in seeds]
        by_http[str(level)] = max(http, key=lambda figures: figures["tokens_per_s"])
    return {"handle": by_handle, "http": by_http}


if __name__ == "__main__":
    sys.exit(main())
