"""Is Teams set up? Asks Microsoft for a token and for its keys, and says what is missing and where to find it."""

from integrations.channels.http import client
from integrations.channels.teams.api import Api, App
from integrations.channels.teams.keys import Keys
from integrations.channels.teams.verify import OutgoingWebhook
from integrations.errors import RunbellError
from integrations.security import secrets
from integrations.settings_channels import Teams


async def check(section: Teams, *, public_url: str | None = None) -> list[str]:
    """Return what is wrong, in plain words; nothing where all is well. Sends no message."""
    found = list[str]()
    if section.app_id is None and section.app_secret is None and section.security_token is None:
        found.append("channels.teams needs app_id and app_secret of a bot, or a webhook's security_token.")
    if not (public_url or "").startswith("https://"):
        found.append("Teams calls us: set gateway.public_url to an https address that it can reach.")
    try:
        if section.security_token is not None:
            reference = secrets.resolve(section.security_token, name="channels.teams.security_token")
            OutgoingWebhook([reference.get_secret_value()])
        if section.app_id is not None or section.app_secret is not None:
            await _ask(section)
    except RunbellError as error:
        found.append(str(error))
    return found


async def _ask(section: Teams) -> None:
    secret = secrets.resolve(section.app_secret, name="channels.teams.app_secret")
    login = f"{section.login_url.rstrip('/')}/{section.app_tenant}/oauth2/v2.0/token"
    async with client() as http:
        await Api(http, App((section.app_id or "").strip(), secret, login)).token()
        await Keys(http, section.metadata_url).get()
