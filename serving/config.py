"""What serving reads of the settings: the same file and names as `integrations.settings`, which it may not import.

A test holds the two together.
"""

import os
from functools import cached_property
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from integrations.errors import Misconfigured

# Of every application: Serve's own access log would be a line for each call of a handle.
SERVE_LOGS = {"encoding": "JSON", "enable_access_log": False}


class Serving(BaseModel):
    """The table `[serving]`; what each value means is told in `integrations.settings`."""

    model_config = ConfigDict(extra="forbid")

    host: str = "127.0.0.1"
    port: int = 8000
    engine: str = "llama_cpp"
    model: str = "smollm2-135m"
    base_url: str | None = None
    api_key: str | None = Field(default=None, repr=False)
    embedder: str = "minilm-l6-v2"
    slots: int = Field(default=4, ge=1)
    context_tokens: int | None = Field(default=None, ge=64)
    request_timeout_s: float = Field(default=120.0, gt=0)
    load_timeout_s: float = Field(default=300.0, gt=0)
    strong: bool = False
    models_file: Path | None = None


class Telemetry(BaseModel):
    """What serving needs of the table `[telemetry]`."""

    model_config = ConfigDict(extra="ignore")

    otlp_endpoint: str | None = None
    log_level: str = "INFO"


class Config(BaseSettings):
    """RUNBELL_HOME, RUNBELL_SERVING__* and RUNBELL_TELEMETRY__*, or the file `runbell.toml` beside us."""

    model_config = SettingsConfigDict(
        env_prefix="RUNBELL_", env_nested_delimiter="__", toml_file="runbell.toml", extra="ignore"
    )

    home: Path = Path(".runbell")
    tenant: str = "default"
    serving: Serving = Field(default_factory=Serving)
    telemetry: Telemetry = Field(default_factory=Telemetry)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - not used here
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - not used here
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments win over the environment, the environment over the file."""
        return (init_settings, env_settings, TomlConfigSettingsSource(settings_cls))

    @cached_property
    def state(self) -> Path:
        """The absolute path of RUNBELL_HOME."""
        return self.home.expanduser().resolve()


def reveal(reference: str | None, name: str) -> str | None:
    """Return the secret that a literal, `env:NAME` or `file:PATH` stands for; an empty one is refused."""
    if reference is None:
        return None
    if reference.startswith("env:"):
        secret = os.environ.get(reference[4:], "")
    elif reference.startswith("file:"):
        path = Path(reference[5:]).expanduser()
        secret = path.read_text(encoding="utf-8").strip() if path.is_file() else ""
    else:
        secret = reference.strip()
    if not secret:
        raise Misconfigured(f"The secret of {name} ({reference or 'empty'}) is missing. Set it, or remove {name}.")
    return secret
