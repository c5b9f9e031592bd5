"""Is Discord set up? Asks Discord itself, and says what is missing and where to find it."""

from collections.abc import Mapping

from integrations.channels.discord.api import Api
from integrations.channels.members import Json, rows, text
from integrations.errors import RunbellError
from integrations.security import secrets
from integrations.settings_channels import Discord

MAX_SERVERS = 10
ADMINISTRATOR = 1 << 3
PERMISSIONS: Mapping[int, str] = {
    1 << 10: "View Channels",
    1 << 11: "Send Messages",
    1 << 14: "Embed Links",
    1 << 15: "Attach Files",
    1 << 16: "Read Message History",
    1 << 38: "Send Messages in Threads",
}
# On for bots in fewer than 100 servers (limited), or approved by Discord.
MESSAGE_CONTENT_FLAGS = 1 << 18 | 1 << 19


async def check(section: Discord) -> list[str]:
    """Return what is wrong, in plain words; nothing where bot, application, key and permissions are in order."""
    found = [] if section.application_id else ["channels.discord.application_id is missing."]
    keyed = section.mode == "http" or section.public_key is not None
    for name in ("bot_token", "public_key") if keyed else ("bot_token",):
        try:
            secrets.resolve(getattr(section, name), name=f"channels.discord.{name}")
        except RunbellError as error:
            found.append(str(error))
    if found:
        return found
    api = Api(section.api_url, secrets.resolve(section.bot_token, name="bot_token").get_secret_value())
    try:
        found = _application(section, await api.call("GET", "/applications/@me", repeatable=True))
        return found + _servers(await api.rows("/users/@me/guilds"))
    except RunbellError as error:
        return [*found, str(error)]
    finally:
        await api.close()


def _application(section: Discord, answer: Json) -> list[str]:
    found: list[str] = []
    if answer.get("id") != section.application_id:
        found.append("application_id and bot_token are of different applications.")
    if section.public_key is not None:
        key = secrets.resolve(section.public_key, name="channels.discord.public_key").get_secret_value()
        if answer.get("verify_key") != key:
            found.append("public_key is not this application's: copy it from its General Information page.")
    elif text(answer, "interactions_endpoint_url"):
        found.append(
            "Discord posts interactions to an address: empty General Information → Interactions Endpoint URL, "
            "so that they come over the gateway, or set public_key."
        )
    flags = answer.get("flags")
    if section.message_content and not (isinstance(flags, int) and flags & MESSAGE_CONTENT_FLAGS):
        found.append(
            "The Message Content Intent is off: switch it on under Bot → Privileged Gateway Intents, "
            "or set message_content = false."
        )
    return found


def _servers(answer: list[Json]) -> list[str]:
    """Return which permissions the bot lacks, server by server; channels may take away more."""
    if not answer:
        return ["The bot is in no server: open the link of the Installation page, and choose one."]
    found: list[str] = []
    for server in rows(answer)[:MAX_SERVERS]:
        given = text(server, "permissions")
        bits = int(given) if given.isascii() and given.isdigit() else 0
        lacking = [name for bit, name in PERMISSIONS.items() if not bits & (bit | ADMINISTRATOR)]
        if lacking:
            found.append(f"In {text(server, 'name') or 'a server'} the bot lacks: {', '.join(lacking)}.")
    return found
