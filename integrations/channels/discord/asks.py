"""What Discord must tell us: discord.com/developers, the application's pages."""

from integrations.channels.setup import Ask

ASKS = (
    Ask("mode", "gateway needs no public address and hears messages; http hears slash commands only"),
    Ask("bot_token", "Bot → Reset Token", secret=True),
    Ask("application_id", "General Information → Application ID"),
    Ask("public_key", "General Information → Public Key", optional=True),
)
