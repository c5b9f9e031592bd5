"""DingTalk: Stream (no public address) or HTTP in, robot messages and cards out.

`verify.py` proves, `socket.py` holds the Stream connection, `inbound.py` reads, `outbound.py` and `cards.py` write,
`api.py` calls.
"""

from collections.abc import Iterable

from integrations.channels import Channel
from integrations.channels.buttons import Buttons
from integrations.channels.dingtalk.api import Api, App
from integrations.channels.dingtalk.channel import DingTalk
from integrations.channels.dingtalk.verify import EventSubscription, RobotSign
from integrations.errors import Misconfigured
from integrations.files import FileStore
from integrations.security import secrets
from integrations.settings import Settings
from integrations.settings_channels import DingTalk as Section

__all__ = ["DingTalk", "connect"]


def connect(settings: Settings) -> Iterable[Channel]:
    """Return the channel where `[channels.dingtalk]` is there; raise Misconfigured where something is missing."""
    section = settings.channels.dingtalk
    if section is None:
        return []
    key = (section.app_key or "").strip()
    if not key:
        raise Misconfigured("channels.dingtalk.app_key is missing: copy the Client ID from the app's page.")
    secret = secrets.resolve(section.app_secret, name="channels.dingtalk.app_secret")
    app = App(key, secret, (section.robot_code or key).strip(), section.api_url.rstrip("/"))
    return [
        DingTalk(
            Api(app),
            FileStore(settings.state / "files"),
            Buttons.of(settings),
            template=(section.card_template_id or "").strip(),
            sign=_sign(section) if section.mode == "http" else None,
            events=_events(section, key),
            tenant=settings.tenant,
        )
    ]


def _sign(section: Section) -> RobotSign:
    """Return what checks the robot's calls, with two secrets while one replaces the other."""
    references = {"app_secret": section.app_secret, "previous_app_secret": section.previous_app_secret}
    return RobotSign(
        [
            secrets.resolve(reference, name=f"channels.dingtalk.{name}").get_secret_value()
            for name, reference in references.items()
            if reference is not None
        ]
    )


def _events(section: Section, key: str) -> EventSubscription | None:
    if section.event_token is None and section.event_aes_key is None:
        return None
    token = secrets.resolve(section.event_token, name="channels.dingtalk.event_token")
    aes_key = secrets.resolve(section.event_aes_key, name="channels.dingtalk.event_aes_key")
    return EventSubscription(token.get_secret_value(), aes_key.get_secret_value(), key)
