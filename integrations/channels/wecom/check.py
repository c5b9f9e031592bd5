"""Are WeCom's app and robot set up? Asks WeCom itself, and says what is missing and where to find it."""

from integrations.channels.wecom.api import Api
from integrations.channels.wecom.robot_socket import Account, probe
from integrations.errors import RunbellError
from integrations.security import secrets
from integrations.settings_channels import WeCom


async def check(section: WeCom) -> list[str]:
    """Return what is wrong, in plain words; nothing where app and robot can be reached with these settings.

    A robot that is connected elsewhere loses its place for a moment: WeCom lets it have one connection only.
    """
    robot = await _robot(section) if section.bot_id else []
    return robot if section.bot_id and section.corp_id is None else robot + await _app(section)


async def _robot(section: WeCom) -> list[str]:
    try:
        secret = secrets.resolve(section.bot_secret, name="channels.wecom.bot_secret").get_secret_value()
        await probe(Account(section.socket_url, (section.bot_id or "").strip(), secret))
    except RunbellError as error:
        return [f"Robot: {error}"]
    return []


async def _app(section: WeCom) -> list[str]:
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
