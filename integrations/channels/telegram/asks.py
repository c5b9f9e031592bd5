"""What Telegram must tell us."""

from integrations.channels.setup import Ask

ASKS = (
    Ask("mode", "polling needs no public address; webhook does"),
    Ask("bot_token", "@BotFather → /newbot or /token", secret=True),
    Ask(
        "secret_token",
        "make one up (letters, digits, _ and -) and give it to setWebhook as secret_token",
        secret=True,
        when={"mode": "webhook"},
    ),
)
