"""WeCom (企业微信): an app that members write to (`app.py`), the intelligent robot's long connection (`robot.py`).

`verify.py` proves who sent something, `events.py` and `cards.py` translate, `api.py` calls. Both are set up in one
section and are two channels, `wecom` and `wecom-robot`, since their conversations are not the same.
"""

from collections.abc import Iterable

from integrations.channels import Channel
from integrations.settings import Settings


def connect(settings: Settings) -> Iterable[Channel]:
    """Return the channels that are set up; raises Misconfigured where something that one of them needs is blank."""
    section = settings.channels.wecom
    if section is None:
        return
    from integrations.channels.wecom import app

    if section.corp_id or not section.bot_id:
        yield app.WeCom.of(settings, section)
