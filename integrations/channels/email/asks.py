"""What your mail provider must tell us."""

from integrations.channels.setup import Ask

_PASSWORD, _OAUTH = {"sign_in": "password"}, {"sign_in": "oauth"}
ASKS = (
    Ask("address", "the mailbox's own address; it should be Runbell's alone"),
    Ask("user", "the user name at both servers, if it is not the address", optional=True),
    Ask("sign_in", "password, or oauth where the provider takes none (Microsoft 365)"),
    Ask("password", "its password, better an app password", secret=True, when=_PASSWORD),
    Ask(
        "oauth_token_url",
        "the provider's token server (docs/channels/email.md has Microsoft's and Google's)",
        when=_OAUTH,
    ),
    Ask("oauth_client_id", "the application that you registered there", when=_OAUTH),
    Ask("oauth_client_secret", "the application's secret", secret=True, when=_OAUTH),
    Ask(
        "oauth_refresh_token",
        "of the mailbox's owner; blank: the client's own",
        secret=True,
        optional=True,
        when=_OAUTH,
    ),
    Ask("oauth_scope", "what the token is for, as the provider writes it", optional=True, when=_OAUTH),
    Ask("imap_host", "the server that is read"),
    Ask("smtp_host", "the server that sends"),
    Ask("authserv_id", "whose Authentication-Results are believed: your own mail server's name", optional=True),
)
