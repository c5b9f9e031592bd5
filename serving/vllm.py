"""vLLM as Ray Serve's own LLM application, in an environment of its own: its configuration, out of models.yaml.

vLLM pins packages that conflict with ours, so it is never imported here. An entry with `engine: vllm` is asked over
HTTP at its `base_url`; `runbell models vllm NAME` writes what `serve deploy` needs there. Ray's defaults that hurt are
put right: streamed text is held for 50 ms, no queue is bounded and nothing tells autoscaling how busy it is, and the
HTTP interface stands open on every interface without a key.
"""

from typing import Any
from urllib.parse import urlsplit

from integrations.errors import Misconfigured
from serving.fleet import ModelSpec

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def serve_config(spec: ModelSpec) -> dict[str, Any]:
    """Return the file for `serve deploy`. Raises `Misconfigured` for what would be open to anybody."""
    url = urlsplit(spec.base_url if isinstance(spec.base_url, str) else (spec.base_url or ("",))[0])
    if url.hostname not in LOOPBACK and not spec.options.get("behind_proxy"):
        raise Misconfigured(
            f"{spec.name}: Ray Serve's LLM interface asks for no key, so it may listen on loopback only: set base_url"
            " to http://127.0.0.1:PORT/v1, or options.behind_proxy: true where your proxy asks for one."
        )
    application = {
        "name": spec.name,
        "route_prefix": "/",
        "import_path": "ray.serve.llm:build_openai_app",
        "args": {"llm_configs": [llm_config(spec)]},
    }
    return {
        "proxy_location": "HeadOnly",
        "http_options": {"host": "127.0.0.1", "port": url.port or 8001, "request_timeout_s": spec.timeout_s},
        "applications": [application],
    }


def llm_config(spec: ModelSpec) -> dict[str, Any]:
    """Return the arguments of `ray.serve.llm.LLMConfig`."""
    return {
        "model_loading_config": {"model_id": spec.model, "model_source": str(spec.options.get("source") or spec.model)},
        "deployment_config": {
            "autoscaling_config": {
                "min_replicas": spec.replicas.min,
                "max_replicas": spec.replicas.max,
                "target_ongoing_requests": spec.replicas.target_ongoing or spec.slots,
                "upscale_delay_s": spec.replicas.up_after_s,
                "downscale_delay_s": spec.replicas.down_after_s,
            },
            "max_ongoing_requests": spec.slots,
            "max_queued_requests": spec.queue,
        },
        "engine_kwargs": _engine(spec),
        "experimental_configs": {"stream_batching_interval_ms": 0},
        "log_engine_metrics": True,
    }


def _engine(spec: ModelSpec) -> dict[str, Any]:
    gpus = spec.resources.gpus or 1.0
    told: dict[str, Any] = {
        "max_model_len": spec.context_tokens,
        "max_num_seqs": spec.slots,
        "enable_prefix_caching": True,
        "tensor_parallel_size": max(1, int(gpus)),
    }
    if gpus < 1:
        told["gpu_memory_utilization"] = round(0.9 * gpus, 3)
    if spec.quantization:
        told["quantization"] = spec.quantization
    own = spec.options.get("engine_kwargs")
    return told | (dict(own) if isinstance(own, dict) else {})
