"""Is WeCom's app set up? Asks WeCom itself, and says what is missing and where to find it."""

from integrations.channels.wecom.api import Api
from integrations.errors import RunbellError
from integrations.security import secrets
from integrations.settings_channels import WeCom


async def check(section: WeCom) -> list[str]:
    """Return what is wrong, in plain words; nothing where the app can be reached with these settings."""
    found = [f"channels.wecom.{name} is missing." for name in ("corp_id", "agent_id") if not getattr(section, name)]
    for name in ("corp_secret", "token", "aes_key"):
        try:
            secrets.resolve(getattr(section, name), name=f"channels.wecom.{name}")
        except RunbellError as error:
            found.append(str(error))
    if found:
        return found
    secret = secrets.resolve(section.corp_secret, name="channels.wecom.corp_secret").get_secret_value()
    api = Api(section.api_url, str(section.corp_id), secret)
    try:
        answer = await api.get("/cgi-bin/agent/get", agentid=str(section.agent_id))
    except RunbellError as error:
        return [str(error)]
    finally:
        await api.close()
    return ["The app is disabled: enable it in the admin console."] if answer.get("close") else []
