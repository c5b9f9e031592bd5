"""E-mail: mails to Runbell's own mailbox in (IMAP), answers out (SMTP).

`verify.py` (DKIM) and `authenticity.py` prove who sent something, `ignoring.py` says what no answer may follow,
`parse.py`, `markup.py` and `quoting.py` read, `compose.py` writes; `mailbox.py` and `submit.py` speak to the servers,
`channel.py` joins them, `check.py` asks both servers whether all is set up.
"""

from collections.abc import Iterable

from integrations.channels import Channel
from integrations.settings import Settings


def connect(settings: Settings) -> Iterable[Channel]:
    """Return the channel if it is set up; raises Misconfigured where something it needs is blank."""
    section = settings.channels.email
    if section is None:
        return
    from integrations.channels.email.channel import Email

    yield Email.of(settings, section)
