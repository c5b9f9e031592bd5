"""Settings from `runbell.toml` and the environment (`RUNBELL_*`, nested with `__`).

Dagster's run config is something else: see design words. Every secret is a reference that
`integrations.security.secrets` resolves: a literal, `env:NAME` or `file:PATH`.
"""

from functools import cached_property
from pathlib import Path
from typing import Literal, Self
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from integrations.durations import Seconds
from integrations.settings_access import Access
from integrations.settings_actions import Actions
from integrations.settings_channels import Channels
from integrations.settings_plans import Plans
from integrations.settings_section import Port, Section

SETTINGS_FILE = "runbell.toml"


LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class Gateway(Section):
    """The process between channels and the database."""

    host: str = "127.0.0.1"
    port: Port = 8080
    public_url: str | None = Field(
        default=None, description="Where browsers reach the gateway; default: host and port."
    )
    callback_secret: str | None = Field(
        default=None, description="A secret reference, whsec_…; default: made in RUNBELL_HOME/callback_secret."
    )
    max_body_bytes: int = 1_048_576
    requests_per_minute: int = Field(default=600, description="Per token or source; 429 beyond.")
    pending_per_conversation: int = Field(default=100, description="Messages that may wait in one conversation.")

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches it, as far as we know: a proxy before it is told of in `public_url`."""
        return self.host in LOOPBACK and self.public_url is None


class Dagster(Section):
    """The operators' UI, and the code locations."""

    host: str = "127.0.0.1"
    port: Port = 3000
    public_url: str | None = None
    workspace: Path = Path("workspace.yaml")


class Serving(Section):
    """Ray Serve: the models."""

    host: str = "127.0.0.1"
    port: Port = 8000
    engine: str = Field(default="llama_cpp", description="`llama_cpp`, or `openai` for any OpenAI-compatible endpoint.")
    model: str = Field(
        default="smollm2-135m", description="A name from `runbell models list`, or the endpoint's model."
    )
    base_url: str | None = None
    api_key: str | None = Field(default=None, description="A secret reference.")
    embedder: str = "minilm-l6-v2"
    slots: int = 4
    context_tokens: int | None = Field(
        default=None, ge=64, description="Of the model; default 8192 of an endpoint, 2048 of what is loaded here."
    )
    request_timeout_s: Seconds = 120.0
    load_timeout_s: Seconds = 300.0
    strong: bool = Field(default=False, description="The model may choose commands by schema-constrained output.")
    models_file: Path | None = Field(
        default=None, description="Default: models.yaml beside runbell.toml, where there is one (docs/models.md)."
    )


class Database(Section):
    """PostgreSQL: ours and Dagster's, in one database. Without a URL an embedded server is started."""

    url: str | None = Field(
        default=None, description="A secret reference to postgresql://user:password@host:port/name."
    )
    pool_size: int = 16


class Cache(Section):
    """Where models' answers that may be given again are kept (`cache_s` in models.yaml)."""

    url: str | None = Field(
        default=None, description="A secret reference to redis://HOST:PORT/0; without it, PostgreSQL."
    )


class Memory(Section):
    """Chroma."""

    host: str = "127.0.0.1"
    port: Port = 0
    retention_days: int = 365


class Workers(Section):
    """Warm workers, per code location."""

    count: int | None = Field(default=None, ge=1, description="Always so many: short for `min` and `max` alike.")
    min: int | None = Field(default=None, ge=1, description="At least so many; default 1.")
    max: int | None = Field(default=None, ge=1, description="At most so many; default 2, or `min` where that is more.")
    total: int = Field(default=16, ge=1, description="At most so many for all code locations; `min` goes before it.")
    grow_after_s: Seconds = Field(default=3.0, ge=0, description="How long a run waits until another worker starts.")
    shrink_after_s: Seconds = Field(default=120.0, ge=0, description="How long a worker must be one too many to go.")
    threads: int = 8
    lease_s: Seconds = 15.0
    choices_s: Seconds = Field(
        default=300.0, ge=1, le=86_400, description="How often the choices of arguments are computed anew."
    )
    op_timeout_s: Seconds = 300.0
    stuck_after_s: Seconds = Field(
        default=30.0, description="When a thread that does not stop (native code) is given up, and its worker replaced."
    )
    recycle_runs: int = Field(default=20_000, ge=0, description="A worker is replaced after so many runs; 0: never.")
    recycle_megabytes: int = Field(default=2_048, ge=0, description="… or at so much memory (RSS); 0: never.")
    reload: bool = Field(default=True, description="Replace the workers of a code location when a file of it changes.")

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        """Refuse numbers that contradict each other."""
        if self.count is not None and (self.min, self.max) != (None, None):
            raise ValueError("set either `count`, or `min` and `max`")
        if self.max is not None and self.max < self.least:
            raise ValueError("`max` is below `min`")
        return self

    @property
    def least(self) -> int:
        """How many there are at any time."""
        return self.count or self.min or 1

    @property
    def most(self) -> int:
        """How many there may be."""
        return self.count or self.max or max(2, self.least)


class Isolation(Section):
    """What jobs may ask for by their own tags (`runbell/isolation` …) instead of a warm worker's thread."""

    kinds: list[Literal["process", "ray"]] = Field(default_factory=lambda: ["process", "ray"])
    cpus: float = Field(default=2.0, ge=0, description="The most that one run may ask for.")
    gpus: float = Field(default=0.0, ge=0)
    memory_megabytes: float = Field(default=4_096, ge=0)
    environments: dict[str, dict[str, object]] = Field(
        default_factory=dict[str, dict[str, object]],
        description="Ray runtime environments by the names that jobs may give (`pip`, `env_vars`, `py_executable` …).",
    )


class Retention(Section):
    """Days until the nightly housekeeping deletes; what is unfinished stays. The memory has its own in `memory`."""

    detail_days: int = Field(default=30, ge=1, description="Words of messages, events, logs and outputs of runs.")
    failed_days: int = Field(default=90, ge=1, description="Events, logs and outputs of failed runs.")
    summary_days: int = Field(default=365, ge=1, description="Runs, receipts, transcripts, usage.")


class Schedules(Section):
    """Schedules that people make in chat."""

    per_principal: int = Field(default=20, ge=0, description="How many one person may have; 0: nobody makes any.")
    timezone: str = Field(default="UTC", description="Whose hours count for those who have not told their time zone.")

    @field_validator("timezone")
    @classmethod
    def _known(cls, name: str) -> str:
        """Refuse what is no time zone."""
        try:
            ZoneInfo(name)
        except (KeyError, ValueError, OSError) as error:
            raise ValueError(f"there is no time zone {name!r}; write one such as Europe/Berlin") from error
        return name


class Telemetry(Section):
    """Traces go out only when an endpoint is set."""

    otlp_endpoint: str | None = None
    log_level: str = "INFO"
    log_megabytes: int = 20
    log_files: int = 5


class Settings(BaseSettings):
    """All settings of one installation."""

    model_config = SettingsConfigDict(
        env_prefix="RUNBELL_", env_nested_delimiter="__", toml_file=SETTINGS_FILE, extra="forbid"
    )

    home: Path = Path(".runbell")
    tenant: str = "default"
    sealing_key: str | None = Field(
        default=None,
        description="A secret reference: the key of tokens and secret arguments at rest; default: made in the home.",
    )
    gateway: Gateway = Gateway()
    dagster: Dagster = Dagster()
    serving: Serving = Serving()
    database: Database = Database()
    memory: Memory = Memory()
    cache: Cache = Cache()
    workers: Workers = Workers()
    isolation: Isolation = Isolation()
    retention: Retention = Retention()
    schedules: Schedules = Schedules()
    telemetry: Telemetry = Telemetry()
    channels: Channels = Channels()
    actions: Actions = Actions()
    plans: Plans = Plans()
    access: Access = Access()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is pydantic's
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments win over the environment, the environment over the file."""
        return (init_settings, env_settings, TomlConfigSettingsSource(settings_cls))

    @cached_property
    def state(self) -> Path:
        """The absolute path of RUNBELL_HOME."""
        return self.home.expanduser().resolve()

    @property
    def gateway_url(self) -> str:
        """Where browsers and the command line reach the gateway."""
        return self.gateway.public_url or f"http://{self.gateway.host}:{self.gateway.port}"

    @property
    def dagster_url(self) -> str:
        """Where operators reach the Dagster UI."""
        return self.dagster.public_url or f"http://{self.dagster.host}:{self.dagster.port}"

    def run_url(self, run_id: str) -> str:
        """Return the page of a run in the Dagster UI."""
        return f"{self.dagster_url}/runs/{run_id}"

    def schedule_url(self, name: str) -> str:
        """Return the page of a schedule of the core location in the Dagster UI."""
        return f"{self.dagster_url}/locations/core/schedules/{name}"
