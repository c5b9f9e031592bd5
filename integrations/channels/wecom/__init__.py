"""WeCom (企业微信): an app that members write to (`app.py`), the intelligent robot (`robot.py`), or both.

`verify.py` proves who sent something to the app, `events.py` and `cards.py` translate, `api.py` calls; the robot's
connection is held by `robot_socket.py`, read by `robot_events.py`, and streams answers (`robot_stream.py`). `check.py`
asks WeCom whether all is set up.
"""

from collections.abc import Iterable

from integrations.channels import Channel
from integrations.settings import Settings


def connect(settings: Settings) -> Iterable[Channel]:
    """Return the channels that are set up; raises Misconfigured where something that one of them needs is blank."""
    section = settings.channels.wecom
    if section is None:
        return
    from integrations.channels.wecom import app, robot

    if (section.bot_id or "").strip():
        yield robot.Robot.of(settings, section)
        if section.corp_id is None:
            return
    yield app.WeCom.of(settings, section)
