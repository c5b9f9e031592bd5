"""Is Discord set up? Asks Discord itself, and says what is missing and where to find it."""

from integrations.channels.discord.api import Api
from integrations.errors import RunbellError
from integrations.security import secrets
from integrations.settings_channels import Discord


async def check(section: Discord) -> list[str]:
    """Return what is wrong, in plain words; nothing where bot, application and key belong together."""
    found = [] if section.application_id else ["channels.discord.application_id is missing."]
    for name in ("bot_token", "public_key"):
        try:
            secrets.resolve(getattr(section, name), name=f"channels.discord.{name}")
        except RunbellError as error:
            found.append(str(error))
    if found:
        return found
    api = Api(section.api_url, secrets.resolve(section.bot_token, name="bot_token").get_secret_value())
    try:
        answer = await api.call("GET", "/applications/@me", repeatable=True)
    except RunbellError as error:
        return [str(error)]
    finally:
        await api.close()
    if answer.get("id") != section.application_id:
        found.append("application_id and bot_token are of different applications.")
    if answer.get("verify_key") != secrets.resolve(section.public_key, name="public_key").get_secret_value():
        found.append("public_key is not this application's: copy it from its General Information page.")
    return found
