"""vLLM, run by Ray Serve's own LLM application elsewhere (`serving.vllm` writes its configuration), asked over HTTP."""

from pathlib import Path

from serving.engines.openai import OpenAI
from serving.engines.openai import load as load_endpoint
from serving.fleet import ModelSpec


def load(config: ModelSpec, home: Path) -> OpenAI:
    """Check the settings; vLLM itself is first asked with the first request."""
    return load_endpoint(config, home)
