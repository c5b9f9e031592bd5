"""Is the app of Feishu or Lark set up? Asks the platform itself, and says what is missing and where to find it."""

from collections.abc import Mapping, Sequence

from integrations.channels.feishu.api import Api, App
from integrations.channels.members import tables, text
from integrations.errors import Rejected, RunbellError
from integrations.security import secrets
from integrations.settings_channels import Feishu

# What we ask for first; what may stand in its place behind it (open.feishu.cn, the permissions of each interface).
PERMISSIONS: Mapping[Sequence[str], str] = {
    ("im:message.p2p_msg:readonly", "im:message.p2p_msg", "im:message"): "what is said to the bot",
    ("im:message.group_at_msg:readonly", "im:message.group_at_msg", "im:message.group_msg", "im:message"): "mentions",
    ("im:message:send_as_bot", "im:message:send", "im:message"): "answers",
    ("im:message:readonly", "im:message"): "files of messages, and who took one back",
    ("im:resource", "im:resource:upload"): "files in answers",
    ("im:chat:readonly", "im:chat:read", "im:chat"): "whether a chat is a group",
    ("cardkit:card:write",): "answers that grow",
}
GRANTED = 1


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
        found += await _lacking(api)
        if section.mode == "socket":
            await api.endpoint()
    except RunbellError as error:
        found.append(str(error))
    finally:
        await api.aclose()
    return found


async def _lacking(api: Api) -> list[str]:
    """Return which permissions the organisation has not granted; none where Feishu does not tell."""
    try:
        answer = await api.call("GET", "/application/v6/scopes")
    except Rejected:
        return []  # Not every edition of the platform has this address; what lacks is then told when it is used.
    granted = {text(one, "scope_name") for one in tables(answer, "scopes") if one.get("grant_status") == GRANTED}
    return [
        f"The app lacks the permission {names[0]} ({what}): add it under Permissions & Scopes, publish a new version."
        for names, what in PERMISSIONS.items()
        if not granted.intersection(names)
    ]
