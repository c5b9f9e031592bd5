"""WeCom (企业微信): an app that members write to (`app.py`).

`verify.py` proves who sent something, `events.py` and `cards.py` translate, `api.py` calls, `check.py` asks WeCom
whether all is set up. The intelligent robot's long connection is not there yet.
"""

from collections.abc import Iterable

from integrations.channels import Channel
from integrations.errors import Misconfigured
from integrations.settings import Settings


def connect(settings: Settings) -> Iterable[Channel]:
    """Return the channels that are set up; raises Misconfigured where something that one of them needs is blank."""
    section = settings.channels.wecom
    if section is None:
        return
    from integrations.channels.wecom import app

    if section.bot_id and not section.corp_id:
        raise Misconfigured("channels.wecom: the robot's connection is not there yet; set up an app (corp_id).")
    yield app.WeCom.of(settings, section)
