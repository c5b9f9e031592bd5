"""Is the app of Feishu or Lark set up? Asks the platform itself, and says what is missing and where to find it."""

from integrations.channels.feishu.api import Api, App
from integrations.errors import RunbellError
from integrations.security import secrets
from integrations.settings_channels import Feishu


async def check(section: Feishu) -> list[str]:
    """Return what is wrong, in plain words; nothing where the app can be used with these settings."""
    app_id = (section.app_id or "").strip()
    found = [] if app_id else ["channels.feishu.app_id is missing: copy it from the app's page, Credentials."]
    if section.mode == "http" and not (section.encrypt_key or section.verification_token):
        found.append("channels.feishu.encrypt_key is missing: copy it from Events & Callbacks, Encryption Strategy.")
    try:
        secret = secrets.resolve(section.app_secret, name="channels.feishu.app_secret")
    except RunbellError as error:
        return [*found, str(error)]
    if found:
        return found
    api = Api(App(app_id, secret, section.domain.rstrip("/")))
    try:
        if not await api.bot():
            found.append("The app has no bot: switch it on under Features, and publish a new version.")
        if section.mode == "socket":
            await api.endpoint()
    except RunbellError as error:
        found.append(str(error))
    finally:
        await api.aclose()
    return found
