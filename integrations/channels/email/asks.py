"""What your mail provider must tell us."""

from integrations.channels.setup import Ask

ASKS = (
    Ask("address", "the mailbox's own address; it should be Runbell's alone"),
    Ask("user", "the user name at both servers, if it is not the address", optional=True),
    Ask("password", "its password, better an app password", secret=True),
    Ask("imap_host", "the server that is read"),
    Ask("smtp_host", "the server that sends"),
    Ask("authserv_id", "whose Authentication-Results are believed: your own mail server's name", optional=True),
)
