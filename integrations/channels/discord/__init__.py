"""Discord: interactions that it posts to us (`mode = "http"`), or a connection that we hold (`mode = "gateway"`).

`verify.py` proves who sent something, `inbound.py` and `shapes.py` translate, `api.py` calls, `channel.py` joins them,
`gateway.py` is the connection. Ordinary messages arrive over the connection only: that is Discord's rule.
"""

from collections.abc import Iterable

from integrations.channels import Channel
from integrations.settings import Settings


def connect(settings: Settings) -> Iterable[Channel]:
    """Return the channel if it is set up; raises Misconfigured where something it needs is blank."""
    section = settings.channels.discord
    if section is None:
        return
    from integrations.channels.discord.channel import Discord

    yield Discord.of(settings, section)
