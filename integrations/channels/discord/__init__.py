"""Discord: interactions that it posts to us (`mode = "http"`).

`verify.py` proves who sent something, `inbound.py` and `shapes.py` translate, `api.py` calls, `channel.py` joins them,
`check.py` asks Discord whether all is set up. Ordinary messages arrive over the gateway connection only, which is not
there yet: `inbound.message` and `Discord.said` read them already.
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
