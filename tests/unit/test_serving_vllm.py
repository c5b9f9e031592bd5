"""The configuration of Ray Serve's LLM application, out of models.yaml."""

import importlib.util

import pytest

from integrations.errors import Misconfigured
from serving.fleet import ModelSpec
from serving.vllm import llm_config, serve_config

SPEC = {
    "engine": "vllm",
    "name": "house",
    "model": "Qwen/Qwen2.5-7B-Instruct",
    "base_url": "http://127.0.0.1:8001/v1",
    "slots": 64,
    "context_tokens": 16384,
    "replicas": {"min": 1, "max": 3},
    "resources": {"gpus": 2},
}


def spec(**changes: object) -> ModelSpec:
    return ModelSpec.model_validate({**SPEC, **changes}).model_copy(update={"name": "house"})


def test_rays_defaults_that_hurt_are_put_right():
    config = llm_config(spec())

    deployment = config["deployment_config"]
    assert config["experimental_configs"]["stream_batching_interval_ms"] == 0
    assert deployment["max_ongoing_requests"] == 64
    assert deployment["max_queued_requests"] == 8 * 64
    assert deployment["autoscaling_config"]["target_ongoing_requests"] == 64
    assert config["engine_kwargs"]["tensor_parallel_size"] == 2
    assert config["engine_kwargs"]["max_model_len"] == 16384


def test_the_interface_without_a_key_listens_on_loopback_only():
    config = serve_config(spec())

    assert config["http_options"]["host"] == "127.0.0.1"
    assert config["http_options"]["port"] == 8001
    with pytest.raises(Misconfigured, match="asks for no key"):
        serve_config(spec(base_url="http://gpu-1:8001/v1"))
    with pytest.raises(Misconfigured, match="asks for no key"):
        serve_config(spec(base_url=None))
    assert serve_config(spec(base_url="http://gpu-1:8001/v1", options={"behind_proxy": True}))


def test_a_part_of_a_gpu_is_a_part_of_its_memory_and_own_arguments_win():
    config = llm_config(
        spec(resources={"gpus": 0.5}, quantization="fp8", options={"engine_kwargs": {"max_num_seqs": 8}})
    )

    assert config["engine_kwargs"]["gpu_memory_utilization"] == 0.45
    assert config["engine_kwargs"]["quantization"] == "fp8"
    assert config["engine_kwargs"]["max_num_seqs"] == 8


def test_what_is_asked_of_vllm_stays_here():
    assert not spec().is_remote


@pytest.mark.skipif(importlib.util.find_spec("pyarrow") is None, reason="Ray's LLM classes need pyarrow")
@pytest.mark.filterwarnings("ignore")
def test_rays_own_class_takes_it():
    # What ray.serve.llm exports; that package itself wants vLLM.
    from ray.llm._internal.serve.core.configs.llm_config import LLMConfig

    taken = LLMConfig(**llm_config(spec()))

    assert taken.model_id == SPEC["model"]
    assert taken.engine_kwargs["max_num_seqs"] == 64
    assert taken.deployment_config["max_queued_requests"] == 512
