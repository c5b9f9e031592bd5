"""Settings from `runbell.toml` and the environment (`RUNBELL_*`, nested with `__`).

Dagster's run config is something else: see design words. Every secret is a reference that
`integrations.security.secrets` resolves: a literal, `env:NAME` or `file:PATH`.
"""

from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

SETTINGS_FILE = "runbell.toml"
Port = Annotated[int, Field(ge=0, le=65_535)]


class Section(BaseModel):
    """A table of the settings file."""

    model_config = ConfigDict(extra="forbid")


class Gateway(Section):
    """The process between channels and the database."""

    host: str = "127.0.0.1"
    port: Port = 8080
    public_url: str | None = Field(
        default=None, description="Where browsers reach the gateway; default: host and port."
    )
    max_body_bytes: int = 1_048_576
    requests_per_minute: int = Field(default=600, description="Per token or source; 429 beyond.")
    pending_per_conversation: int = Field(default=100, description="Messages that may wait in one conversation.")


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
    context_tokens: int = 2048
    request_timeout_s: float = 120.0
    load_timeout_s: float = 300.0
    strong: bool = Field(default=False, description="The model may choose commands by schema-constrained output.")


class Database(Section):
    """PostgreSQL: ours and Dagster's, in one database. Without a URL an embedded server is started."""

    url: str | None = Field(
        default=None, description="A secret reference to postgresql://user:password@host:port/name."
    )
    pool_size: int = 16


class Memory(Section):
    """Chroma."""

    host: str = "127.0.0.1"
    port: Port = 0
    retention_days: int = 365


class Workers(Section):
    """Warm workers, per code location."""

    count: int = 1
    threads: int = 8
    lease_s: float = 15.0
    op_timeout_s: float = 300.0
    stuck_after_s: float = Field(
        default=30.0, description="When a thread that does not stop (native code) is given up, and its worker replaced."
    )


class Retention(Section):
    """Days until the nightly housekeeping deletes; what is unfinished stays. The memory has its own in `memory`."""

    detail_days: int = Field(default=30, ge=1, description="Words of messages, events, logs and outputs of runs.")
    failed_days: int = Field(default=90, ge=1, description="Events, logs and outputs of failed runs.")
    summary_days: int = Field(default=365, ge=1, description="Runs, receipts, transcripts, usage.")


class Telemetry(Section):
    """Traces go out only when an endpoint is set."""

    otlp_endpoint: str | None = None
    log_level: str = "INFO"
    log_megabytes: int = 20
    log_files: int = 5


class WebhookFields(Section):
    """How to read any JSON as a message or a command; values are templates with `{path.to.0.member}` in them."""

    when: dict[str, str | list[str]] = Field(
        default_factory=dict[str, str | list[str]],
        description="Path to the value or values that count; other events are acknowledged and ignored.",
    )
    text: str = ""
    command: str = ""
    args: dict[str, str] = Field(default_factory=dict[str, str])
    conversation: str = ""
    account_name: str = ""
    event_id: str = ""


class Webhook(Section):
    """One source that may post signed webhooks; two secrets are valid during rotation."""

    secret: str = ""
    previous_secret: str | None = None
    kind: Literal["standard", "simple"] = "standard"
    header: str = Field(default="X-Signature", description="Which header holds a simple signature.")
    fields: WebhookFields | None = None


class Slack(Section):
    """Slack: `mode` socket needs `app_token`, http needs `signing_secret`; OAuth needs the client's id and secret."""

    mode: Literal["socket", "http"] = "socket"
    bot_token: str | None = Field(default=None, description="A secret reference to xoxb-…")
    app_token: str | None = Field(default=None, description="A secret reference to xapp-…")
    signing_secret: str | None = None
    previous_signing_secret: str | None = None
    client_id: str | None = None
    client_secret: str | None = None
    api_url: str = "https://slack.com/api/"


class DingTalk(Section):
    """DingTalk: `mode` stream needs no address; http serves the robot's calls and the event subscription."""

    mode: Literal["stream", "http"] = "stream"
    app_key: str | None = Field(default=None, description="Client id; no secret.")
    app_secret: str | None = None
    previous_app_secret: str | None = None
    robot_code: str | None = None
    event_token: str | None = None
    event_aes_key: str | None = None
    card_template_id: str | None = None
    api_url: str = "https://api.dingtalk.com"


class Feishu(Section):
    """Feishu or Lark: `mode` socket needs no address; http needs the verification token or, better, the encrypt key."""

    mode: Literal["socket", "http"] = "socket"
    app_id: str | None = None
    app_secret: str | None = None
    encrypt_key: str | None = None
    previous_encrypt_key: str | None = None
    verification_token: str | None = None
    previous_verification_token: str | None = None
    domain: str = Field(default="https://open.feishu.cn", description="Or https://open.larksuite.com.")


class WeCom(Section):
    """WeCom: the app's callback (`corp_id`…), the intelligent robot's long connection (`bot_id`…), or both."""

    corp_id: str | None = None
    corp_secret: str | None = None
    agent_id: int | None = None
    token: str | None = None
    aes_key: str | None = None
    bot_id: str | None = None
    bot_secret: str | None = None
    api_url: str = "https://qyapi.weixin.qq.com"
    socket_url: str = "wss://openws.work.weixin.qq.com"


class Telegram(Section):
    """Telegram: `mode` polling needs no address; webhook needs `secret_token`."""

    mode: Literal["polling", "webhook"] = "polling"
    bot_token: str | None = None
    secret_token: str | None = None
    previous_secret_token: str | None = None
    api_url: str = "https://api.telegram.org"


class Teams(Section):
    """Microsoft Teams: a bot (`app_id` and `app_secret`), an outgoing webhook (`security_token`), or both."""

    app_id: str | None = None
    app_secret: str | None = None
    app_tenant: str = "botframework.com"
    security_token: str | None = None
    previous_security_token: str | None = None
    login_url: str = "https://login.microsoftonline.com"
    metadata_url: str = "https://login.botframework.com/v1/.well-known/openidconfiguration"
    service_hosts: list[str] = Field(
        default_factory=lambda: ["smba.trafficmanager.net"], description="Hosts that answers may be sent to."
    )
    file_hosts: list[str] = Field(
        default_factory=lambda: [".sharepoint.com"],
        description="Hosts that files are fetched from; a dot first: below.",
    )


class Discord(Section):
    """Discord: the gateway connection (`bot_token`); with `public_key` also interactions over HTTP."""

    mode: Literal["gateway", "http"] = "gateway"
    bot_token: str | None = None
    application_id: str | None = None
    public_key: str | None = None
    api_url: str = "https://discord.com/api/v10"


class Email(Section):
    """E-mail: IMAP in, SMTP out."""

    address: str | None = None
    user: str | None = None
    password: str | None = None
    imap_host: str | None = None
    imap_port: Port = 993
    smtp_host: str | None = None
    smtp_port: Port = 587
    encryption: Literal["tls", "starttls", "none"] = Field(
        default="tls", description="Of IMAP; SMTP uses TLS on port 465 and STARTTLS elsewhere, unless this says none."
    )
    authserv_id: str | None = Field(default=None, description="Whose Authentication-Results are believed.")
    require_dkim: bool = True


class Channels(Section):
    """Networks that are connected; each is off until its section is there. Every secret is a reference."""

    webhook: dict[str, Webhook] = Field(default_factory=dict[str, Webhook])
    slack: Slack | None = None
    dingtalk: DingTalk | None = None
    feishu: Feishu | None = None
    wecom: WeCom | None = None
    telegram: Telegram | None = None
    teams: Teams | None = None
    discord: Discord | None = None
    email: Email | None = None


class Settings(BaseSettings):
    """All settings of one installation."""

    model_config = SettingsConfigDict(
        env_prefix="RUNBELL_", env_nested_delimiter="__", toml_file=SETTINGS_FILE, extra="forbid"
    )

    home: Path = Path(".runbell")
    tenant: str = "default"
    gateway: Gateway = Gateway()
    dagster: Dagster = Dagster()
    serving: Serving = Serving()
    database: Database = Database()
    memory: Memory = Memory()
    workers: Workers = Workers()
    retention: Retention = Retention()
    telemetry: Telemetry = Telemetry()
    channels: Channels = Channels()

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
