"""Slack, by Socket Mode (`socket.py`, Bolt) or HTTP events (`verify.py`); both carry the same payloads (`inbound.py`).

One workspace by its bot token, or several that install us over OAuth (`install.py`, `installed.py`). Out go Markdown,
Block Kit (`blocks.py`), files, edits, and in threads Slack's own streaming (`stream.py`). Slack has no key against
sending twice, so what is unclear stays `unknown`. A form is a button, and a modal once it is pressed.
"""

from collections.abc import Iterable

from integrations.channels import Channel
from integrations.channels.buttons import Buttons
from integrations.channels.slack.api import Api
from integrations.channels.slack.channel import Slack
from integrations.channels.slack.install import Install
from integrations.channels.slack.installed import App, Installed
from integrations.channels.slack.verify import SlackSignature
from integrations.channels.slack.workspaces import One
from integrations.files import FileStore
from integrations.security import secrets
from integrations.security.sealing import Seal
from integrations.settings import Settings
from integrations.settings_channels import Slack as Section

__all__ = ["Slack", "connect"]


def connect(settings: Settings) -> Iterable[Channel]:
    """Return the channel; raises Misconfigured for a blank secret."""
    section = settings.channels.slack
    if section is None:
        return []
    several = section.workspaces == "several"
    api = Api("" if several else _secret(section.bot_token, "bot_token"), section.api_url)
    socket = section.mode == "socket"
    install = _install(settings, section, api) if several else None
    return [
        Slack(
            install.workspaces if install else One(api),
            FileStore(settings.state / "files"),
            Buttons.of(settings),
            socket=(api, _secret(section.app_token, "app_token")) if socket else None,
            signature=None if socket else _signature(section),
            install=install,
            tenant=settings.tenant,
        )
    ]


def _install(settings: Settings, section: Section, api: Api) -> Install:
    app = App(api, _secret(section.client_id, "client_id"), _secret(section.client_secret, "client_secret"))
    return Install.of(settings, Installed(app, Seal.of(settings.sealing_key, settings.state), settings.tenant))


def _signature(section: Section) -> SlackSignature:
    found = [_secret(section.signing_secret, "signing_secret")]
    if section.previous_signing_secret is not None:
        found.append(_secret(section.previous_signing_secret, "previous_signing_secret"))
    return SlackSignature(found)


def _secret(reference: str | None, name: str) -> str:
    return secrets.resolve(reference, name=f"channels.slack.{name}").get_secret_value()
