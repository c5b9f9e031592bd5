"""Microsoft Teams: a bot at the activity endpoint, an outgoing webhook, or both.

`verify.py` proves, `keys.py` has the keys for it, `inbound.py` reads, `cards.py` and `stream.py` write, `api.py`
calls, `services.py` knows where. Teams has no push connection: it needs a public address.
"""

from collections.abc import Iterable

from integrations.channels import Channel
from integrations.channels.buttons import Buttons
from integrations.channels.http import client
from integrations.channels.teams.api import Api, App
from integrations.channels.teams.channel import Teams
from integrations.channels.teams.keys import Keys, Proof
from integrations.channels.teams.services import Services
from integrations.channels.teams.verify import BotFrameworkToken, OutgoingWebhook
from integrations.channels.teams.webhook import TeamsWebhook
from integrations.errors import Misconfigured
from integrations.files import FileStore
from integrations.security import secrets
from integrations.settings import Settings
from integrations.settings_channels import Teams as Section

__all__ = ["Teams", "TeamsWebhook", "connect"]


def connect(settings: Settings) -> Iterable[Channel]:
    """Return what `[channels.teams]` sets up; raise Misconfigured where something in it is missing."""
    section = settings.channels.teams
    if section is None:
        return []
    found: list[Channel] = []
    if section.app_id is not None or section.app_secret is not None:
        found.append(_bot(section, settings))
    if section.security_token is not None:
        found.append(TeamsWebhook(_proof(section), tenant=settings.tenant))
    if not found:
        raise Misconfigured("channels.teams needs app_id and app_secret of a bot, or a webhook's security_token.")
    return found


def _bot(section: Section, settings: Settings) -> Teams:
    app_id = (section.app_id or "").strip()
    if not app_id:
        raise Misconfigured("channels.teams.app_id is missing: copy it from the bot's page, Configuration.")
    if not section.service_hosts:
        raise Misconfigured("channels.teams.service_hosts is empty: without it nothing could be answered.")
    secret = secrets.resolve(section.app_secret, name="channels.teams.app_secret")
    http = client()
    login = f"{section.login_url.rstrip('/')}/{section.app_tenant}/oauth2/v2.0/token"
    return Teams(
        Api(http, App(app_id, secret, login)),
        Proof(BotFrameworkToken([app_id]), Keys(http, section.metadata_url)),
        Services(settings.state / "channels" / "teams.sqlite", section.service_hosts, section.file_hosts),
        files=FileStore(settings.state / "files"),
        buttons=Buttons.of(settings),
        tenant=settings.tenant,
    )


def _proof(section: Section) -> OutgoingWebhook:
    references = {"security_token": section.security_token, "previous_security_token": section.previous_security_token}
    return OutgoingWebhook(
        [
            secrets.resolve(reference, name=f"channels.teams.{name}").get_secret_value()
            for name, reference in references.items()
            if reference is not None
        ]
    )
