"""What transformers' continuous batching lacks: torch's own paged attention on CUDA, and greedy beside sampling.

transformers 5.17 finds attention only in packages that compile for an hour or come from a hub. torch has flash
attention inside (`torch.nn.attention.varlen`, since 2.11). Sampling is one setting for a whole batch there; here a
temperature of 0 takes the likeliest token of its own request. tests/integration/test_engines_transformers.py fails
where an upgrade moves what is used here.
"""

import importlib
import inspect
from typing import Any

VARLEN = "torch_varlen"


def register_attention() -> bool:
    """Register torch's variable-length attention; return whether this torch has it."""
    torch: Any = importlib.import_module("torch")
    try:
        varlen: Any = importlib.import_module("torch.nn.attention.varlen").varlen_attn
    except (ImportError, AttributeError):
        return False
    interface: Any = importlib.import_module("transformers").AttentionInterface
    interface.register(f"paged|{VARLEN}", paged_attention(torch, varlen))
    return True


def paged_attention(torch: Any, varlen: Any) -> Any:  # noqa: ANN401 - torch is no dependency of ours
    """Return paged attention, as transformers calls it, over a function of the form of torch's `varlen_attn`."""
    taken = inspect.signature(varlen).parameters
    grouped, windowed = "enable_gqa" in taken, "window_size" in taken

    def attend(module: Any, query: Any, key: Any, value: Any, _mask: Any, **given: Any) -> tuple[Any, None]:  # noqa: ANN401
        keys, values = given["cache"].update(
            key_states=key,
            value_states=value,
            layer_idx=module.layer_idx,
            read_index=given["read_index"],
            write_index=given["write_index"],
        )
        longest, starts, window = given["max_seqlen_k"], given["cu_seq_lens_k"], getattr(module, "sliding_window", None)
        if isinstance(starts, dict):
            kind = "sliding_attention" if window else "full_attention"
            starts, longest = starts[kind], longest[kind]
        options: dict[str, Any] = {"scale": given.get("scaling")}
        options |= {"window_size": ((window - 1) if window else -1, 0)} if windowed else {"is_causal": True}
        repeat = query.shape[1] // keys.shape[1]
        if repeat > 1 and grouped:
            options["enable_gqa"] = True
        elif repeat > 1:
            keys, values = (part.repeat_interleave(repeat, dim=1) for part in (keys, values))
        answer = varlen(
            query.transpose(1, 2).squeeze(0).contiguous(),
            keys.contiguous(),
            values.contiguous(),
            given["cu_seq_lens_q"].to(torch.int32),
            starts.to(torch.int32),
            given["max_seqlen_q"],
            longest,
            **options,
        )
        return answer.unsqueeze(0), None

    return attend


def allow_greedy(manager: Any) -> None:  # noqa: ANN401 - torch is no dependency of ours
    """Let requests of temperature 0 be greedy in a manager that samples."""
    torch: Any = importlib.import_module("torch")
    processors = manager.logit_processor.logits_processor
    for index, processor in enumerate(processors):
        if type(processor).__name__ == "ContinuousBatchingTemperatureLogitsWarper":
            processors[index] = _greedy(torch, processor)
            return
    raise RuntimeError("transformers' continuous batching has no temperature per request any more")


def _greedy(torch: Any, processor: Any) -> Any:  # noqa: ANN401 - torch is no dependency of ours
    base: Any = type(processor)

    class GreedyOrTemperature(base):  # pyright: ignore[reportUntypedBaseClass] - torch is no dependency of ours
        """Temperature per request; 0 is the likeliest token. Nothing here depends on values: graphs capture it."""

        def __init__(self) -> None:
            self.temperature = processor.temperature

        def __call__(self, scores: Any, tensor_arg: Any) -> Any:  # noqa: ANN401 - tensors
            temperatures = tensor_arg[: scores.size(0)].view(dtype=torch.float32).unsqueeze(-1)
            greedy = temperatures <= 0
            scaled = scores / torch.where(greedy, torch.ones_like(temperatures), temperatures)
            best = scores.argmax(dim=-1, keepdim=True)
            only = torch.full_like(scores, float("-inf")).scatter(-1, best, 0.0)
            return torch.where(greedy, only, scaled)

    return GreedyOrTemperature()
