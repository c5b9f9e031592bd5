"""Discord: one connection to its gateway (`mode = "gateway"`), or interactions that it posts to us (`"http"`).

`gateway.py` holds the connection, `verify.py` proves what is posted, `inbound.py`, `interactions.py` and `shapes.py`
translate, `api.py` calls, `channel.py` joins them, `check.py` asks Discord whether all is set up. Ordinary messages
arrive over the gateway only.
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
