"""What WeCom must tell us: the admin console."""

from integrations.channels.setup import Ask

ASKS = (
    Ask("corp_id", "My Company → Company ID (for an app; blank where you connect a robot only)", optional=True),
    Ask("corp_secret", "App Management → the app → Secret", secret=True, optional=True),
    Ask("agent_id", "App Management → the app → AgentId", optional=True),
    Ask("token", "the app → Receive Messages → Set via API → Token", secret=True, optional=True),
    Ask("aes_key", "the app → Receive Messages → Set via API → EncodingAESKey", secret=True, optional=True),
    Ask("bot_id", "the intelligent robot → API mode, long connection → Bot ID", optional=True),
    Ask("bot_secret", "the intelligent robot → API mode, long connection → Secret", secret=True, optional=True),
)
