"""Feishu and Lark: events and cards over HTTP or the long connection, answers as cards in the thread they belong to.

`verify.py` proves, `inbound.py` reads, `cards.py` and `stream.py` write, `api.py` calls. Both domains speak alike.
"""

from collections.abc import Iterable

from integrations.channels import Channel
from integrations.channels.buttons import Buttons
from integrations.channels.feishu.api import Api, App
from integrations.channels.feishu.channel import Feishu
from integrations.channels.feishu.verify import FeishuEvents
from integrations.errors import Misconfigured
from integrations.files import FileStore
from integrations.security import secrets
from integrations.settings import Settings

__all__ = ["Feishu", "connect"]


def connect(settings: Settings) -> Iterable[Channel]:
    """Return the channel where `[channels.feishu]` is there; raise Misconfigured where something in it is missing."""
    section = settings.channels.feishu
    if section is None:
        return []
    if not (section.app_id or "").strip():
        raise Misconfigured("channels.feishu.app_id is missing: copy it from the app's page, Credentials.")
    secret = secrets.resolve(section.app_secret, name="channels.feishu.app_secret")
    api = Api(App((section.app_id or "").strip(), secret, section.domain.rstrip("/")))
    files, buttons = FileStore(settings.state / "files"), Buttons.of(settings)
    events = _events(section) if section.mode == "http" else None
    return [Feishu(api, files, buttons, events=events, tenant=settings.tenant)]


def _events(section: object) -> FeishuEvents:
    """Return what checks events, with two keys and tokens while one replaces the other."""

    def both(name: str) -> list[str]:
        references = [(key, getattr(section, key)) for key in (name, f"previous_{name}")]
        return [
            secrets.resolve(reference, name=f"channels.feishu.{key}").get_secret_value()
            for key, reference in references
            if reference is not None
        ]

    return FeishuEvents(encrypt_keys=both("encrypt_key"), verification_tokens=both("verification_token"))
