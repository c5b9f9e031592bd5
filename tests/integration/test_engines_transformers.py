"""What is told of transformers only: equal to `generate`, damaged weights, a dead thread, torch's own attention."""

import asyncio
import shutil
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from integrations.errors import Misconfigured, Unavailable
from serving.engines import load_engine
from serving.engines.text import Detokenizer
from tests import tiny_model
from tests.engines import PATIENCE_S, ask, collect, text_of

transformers = pytest.importorskip("transformers", reason="make transformers")
torch = pytest.importorskip("torch", reason="make transformers")

pytestmark = [
    pytest.mark.timeout(2 * PATIENCE_S),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]
PROMPTS = ["Tell me about the sea.", "你好，世界", "x" * 200, "a", "What is the capital of France?", "1 2 3 4"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model.make(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
async def engine(folder: Path) -> AsyncIterator:
    engine = await asyncio.to_thread(load_engine, tiny_model.spec(folder, slots=8), folder)
    yield engine
    await engine.close()


def generated(engine, prompt: str, tokens: int) -> str:
    """What `generate` says to the same prompt."""
    model = transformers.AutoModelForCausalLM.from_pretrained(engine_folder(engine), dtype=torch.float32)
    ids = torch.tensor([engine._prompt(ask(prompt).messages)])
    out = model.generate(ids, do_sample=False, max_new_tokens=tokens)[0, ids.shape[1] :]
    return engine._tokenizer.decode(out, skip_special_tokens=True)


def engine_folder(engine) -> str:
    return engine._model.config._name_or_path


async def test_greedy_tokens_are_those_of_generate_alone_and_together(engine):
    expected = [generated(engine, prompt, 40) for prompt in PROMPTS]

    alone = [text_of(await collect(engine, ask(prompt, max_tokens=40))) for prompt in PROMPTS]
    together = await asyncio.gather(*(collect(engine, ask(prompt, max_tokens=40)) for prompt in PROMPTS))

    said = [text.rstrip("\ufffd") for text in expected]
    assert [text.rstrip("\ufffd") for text in alone] == said
    assert [text_of(chunks).rstrip("\ufffd") for chunks in together] == said


async def test_greedy_and_sampling_requests_share_a_batch(engine):
    greedy = text_of(await collect(engine, ask(max_tokens=30)))

    mixed = await asyncio.gather(
        collect(engine, ask(max_tokens=30)),
        *(collect(engine, ask(max_tokens=30, temperature=2.0)) for _ in range(5)),
    )

    texts = [text_of(chunks) for chunks in mixed]
    assert texts[0] == greedy
    assert len(set(texts)) > 3


async def test_torchs_variable_length_attention_takes_the_place_of_the_librarys(folder: Path):
    """A stand-in with torch's signature, as there is no CUDA here: what is around the kernel is what is tried."""
    from serving.engines import transformers_parts as parts

    calls: list[int] = []

    def varlen_attn(query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, *, scale=None, window_size, enable_gqa=False):
        calls.append(len(cu_seq_q) - 1)
        assert window_size == (-1, 0)
        assert enable_gqa
        parts_ = []
        for start, end, first, last in zip(cu_seq_q, cu_seq_q[1:], cu_seq_k, cu_seq_k[1:], strict=False):
            q, k, v = query[start:end], key[first:last], value[first:last]
            k, v = (x.repeat_interleave(q.shape[1] // k.shape[1], dim=1) for x in (k, v))
            # Aligned at the end, as flash attention is.
            mask = torch.ones(len(q), len(k), dtype=torch.bool).tril(len(k) - len(q))
            out = torch.nn.functional.scaled_dot_product_attention(
                *(x.transpose(0, 1)[None] for x in (q, k, v)), attn_mask=mask, scale=scale
            )
            parts_.append(out[0].transpose(0, 1))
        return torch.cat(parts_) if parts_ else torch.empty_like(query)

    transformers.AttentionInterface.register("paged|standin", parts.paged_attention(torch, varlen_attn))
    engine = await asyncio.to_thread(load_engine, tiny_model.spec(folder, slots=8), folder)
    try:
        usual = [text_of(await collect(engine, ask(prompt))) for prompt in PROMPTS]
        engine._model.set_attn_implementation("paged|standin")
        ours = await asyncio.gather(*(collect(engine, ask(prompt)) for prompt in PROMPTS))
    finally:
        await engine.close()

    assert [text_of(chunks) for chunks in ours] == usual
    assert max(calls) > 1


def test_this_torch_has_the_attention_that_is_registered():
    from serving.engines import transformers_parts as parts

    assert parts.register_attention()
    assert f"paged|{parts.VARLEN}" in transformers.AttentionInterface().valid_keys()


def broken(folder: Path, to: Path, how: str) -> Path:
    shutil.copytree(folder, to)
    weights = to / "model.safetensors"
    match how:
        case "missing":
            weights.unlink()
        case "truncated":
            weights.write_bytes(weights.read_bytes()[:5000])
        case "garbage":
            weights.write_bytes(b"\x00" * 5000)
        case "pickle":
            weights.unlink()
            (to / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
        case "config":
            (to / "config.json").write_text("{")
        case "tokenizer":
            (to / "tokenizer.json").write_text("[]")
        case _:
            (to / "config.json").write_text('{"model_type": "warp"}')
    return to


@pytest.mark.parametrize("how", ["missing", "truncated", "garbage", "pickle", "config", "tokenizer", "kind"])
def test_damaged_weights_are_told_and_nothing_crashes(folder: Path, tmp_path: Path, how: str):
    with pytest.raises(Misconfigured) as caught:
        load_engine(tiny_model.spec(broken(folder, tmp_path / how, how)), tmp_path)

    assert str(tmp_path / how) in str(caught.value)


def test_an_unknown_quantization_is_refused_with_those_there_are(folder: Path, tmp_path: Path):
    with pytest.raises(Misconfigured, match=r"int8.*fp8"):
        load_engine(tiny_model.spec(folder, quantization="q4"), tmp_path)


async def test_a_dead_generation_thread_is_told_to_all_who_wait_and_to_health(engine):
    stream = engine.stream(ask(max_tokens=400))
    await anext(stream)

    engine._manager.batch_processor.scheduler = None  # the next step of the batch raises
    with pytest.raises(Unavailable, match="generation"):
        async for _ in stream:
            pass

    with pytest.raises(Unavailable):
        await collect(engine, ask())
    with pytest.raises(Unavailable):
        engine.check()


async def test_leaving_leaks_no_handler_and_no_block(engine):
    await collect(engine, ask(max_tokens=2))
    cache = engine._manager.batch_processor.cache
    free = cache.get_num_free_blocks()
    for _ in range(50):
        stream = engine.stream(ask(max_tokens=300))
        await anext(stream)
        await stream.aclose()
    await collect(engine, ask(max_tokens=2))

    assert engine._manager.output_router.result_handlers == {}
    assert engine._heard_at == {}
    assert cache.get_num_free_blocks() >= free - 1


async def test_closing_ends_what_runs_and_its_thread(folder: Path):
    engine = await asyncio.to_thread(load_engine, tiny_model.spec(folder), folder)
    before = threading.active_count()
    stream = engine.stream(ask(max_tokens=400))
    await anext(stream)

    await engine.close()

    with pytest.raises(Unavailable):
        async for _ in stream:
            pass
    assert threading.active_count() < before + 1


async def test_characters_are_whole_however_tokens_cut_them(engine):
    text = "张伟 👩‍👩‍👧‍👦 naïve ﬁ"
    detokenizer = Detokenizer(engine._tokenizer)

    pieces = [detokenizer.feed([token]) for token in engine._tokenizer(text, add_special_tokens=False)["input_ids"]]

    assert "".join(pieces) + detokenizer.rest() == text
    assert not any("\ufffd" in piece for piece in pieces)
