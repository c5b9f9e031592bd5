"""What Slack must tell us: api.slack.com/apps, the app's pages."""

from integrations.channels.setup import Ask

ASKS = (
    Ask("mode", "socket needs no public address; http does"),
    Ask("workspaces", "one by its bot token; several (or token rotation) install Runbell over OAuth"),
    Ask(
        "bot_token",
        "OAuth & Permissions → Bot User OAuth Token (xoxb-…)",
        secret=True,
        when={"workspaces": "one"},
    ),
    Ask("client_id", "Basic Information → Client ID", when={"workspaces": "several"}),
    Ask("client_secret", "Basic Information → Client Secret", secret=True, when={"workspaces": "several"}),
    Ask(
        "app_token",
        "Basic Information → App-Level Tokens, scope connections:write (xapp-…)",
        secret=True,
        when={"mode": "socket"},
    ),
    Ask("signing_secret", "Basic Information → Signing Secret", secret=True, when={"mode": "http"}),
)
