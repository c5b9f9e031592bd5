"""The tables `[channels.…]` of the settings file; the others are in `settings`."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from integrations.settings_section import Port, Section


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
    events: bool = Field(
        default=False, description="Nothing is answered: what comes is an event, for jobs with `on_event`."
    )


class Slack(Section):
    """Slack: `mode` socket needs `app_token`, http `signing_secret`; several workspaces the client's id and secret."""

    mode: Literal["socket", "http"] = "socket"
    workspaces: Literal["one", "several"] = Field(
        default="one", description="One by its bot token, or several that install Runbell over OAuth."
    )
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
    message_content: bool = Field(
        default=False,
        description="Read replies that mention nobody as well; wants the privileged Message Content Intent.",
    )
    api_url: str = "https://discord.com/api/v10"


class Email(Section):
    """E-mail: IMAP in, SMTP out."""

    address: str | None = None
    user: str | None = Field(default=None, description="Default: the address.")
    sign_in: Literal["password", "oauth"] = "password"
    password: str | None = None
    oauth_token_url: str | None = Field(default=None, description="The provider's token server, for sign-in by OAuth.")
    oauth_client_id: str | None = None
    oauth_client_secret: str | None = None
    oauth_refresh_token: str | None = Field(default=None, description="Without it: the client's own credentials.")
    oauth_scope: str = ""
    imap_host: str | None = None
    imap_port: Port = 993
    smtp_host: str | None = None
    smtp_port: Port = 587
    encryption: Literal["tls", "starttls", "none"] = Field(default="tls", description="Of IMAP, and none of both.")
    smtp_encryption: Literal["tls", "starttls"] | None = Field(
        default=None, description="Default: TLS from the start on port 465, STARTTLS on every other."
    )
    ca_file: Path | None = Field(default=None, description="The authority of the servers' certificates, if private.")
    mailbox: str = Field(default="INBOX", description="The folder that is read; it should be Runbell's own.")
    authserv_id: str | None = Field(default=None, description="Whose Authentication-Results are believed.")
    arc_sealers: list[str] = Field(
        default_factory=list[str], description="Domains of forwarders whose ARC seals are believed."
    )
    require_dkim: bool = Field(default=True, description="Ignore mails whose sender nothing proves.")


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
