"""What Feishu or Lark must tell us: the app's page in the developer console."""

from integrations.channels.setup import Ask

ASKS = (
    Ask("domain", "https://open.feishu.cn for Feishu, https://open.larksuite.com for Lark"),
    Ask("mode", "socket needs no public address; http does"),
    Ask("app_id", "Credentials & Basic Info → App ID (cli_…)"),
    Ask("app_secret", "Credentials & Basic Info → App Secret", secret=True),
    Ask("encrypt_key", "Events & Callbacks → Encryption Strategy → Encrypt Key", secret=True, when={"mode": "http"}),
    Ask(
        "verification_token",
        "Events & Callbacks → Encryption Strategy → Verification Token",
        secret=True,
        optional=True,
        when={"mode": "http"},
    ),
)
