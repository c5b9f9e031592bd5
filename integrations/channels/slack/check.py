"""Whether Slack lets us do what we need: asks `auth.test` and, for Socket Mode, `apps.connections.open`."""

import aiohttp

from integrations.channels.slack.api import Api, Unclear
from integrations.errors import Misconfigured, PermanentError, RunbellError
from integrations.security import secrets
from integrations.settings_channels import Slack

SCOPES = (
    "app_mentions:read", "channels:history", "chat:write", "commands", "files:read", "files:write", "groups:history",
    "im:history", "im:read", "im:write",
)  # fmt: skip


async def check(section: Slack) -> list[str]:
    """Return what is wrong, each with what to do next; nothing where all is well."""
    try:
        token = secrets.resolve(section.bot_token, name="channels.slack.bot_token").get_secret_value()
    except Misconfigured as error:
        return [str(error)]
    found = await _bot(Api(token, section.api_url))
    if section.mode == "http":
        return found + _needs(section.signing_secret, "signing_secret", "Basic Information → Signing Secret")
    missing = _needs(section.app_token, "app_token", "Basic Information → App-Level Tokens, scope connections:write")
    return found + (missing or await _socket(section))


async def _bot(api: Api) -> list[str]:
    from slack_sdk.errors import SlackApiError

    try:
        response = await api.client.auth_test()
    except SlackApiError as error:
        code = error.response.get("error", "unknown")
        return [f"Slack refuses bot_token ({code}): copy it from OAuth & Permissions → Bot User OAuth Token."]
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        return [f"Slack can't be reached at {api.base_url}: {type(error).__name__}."]
    granted = {name.lower(): value for name, value in dict(response.headers).items()}.get("x-oauth-scopes")
    if granted is None:
        return []
    missing = sorted(set(SCOPES) - {scope.strip() for scope in str(granted).split(",")})
    return [f"The scope {scope} is missing: add it under OAuth & Permissions, then reinstall." for scope in missing]


async def _socket(section: Slack) -> list[str]:
    token = secrets.resolve(section.app_token, name="channels.slack.app_token").get_secret_value()
    try:
        await Api(token, section.api_url).call("apps.connections.open", {})
    except PermanentError as error:
        return [f"app_token: {error} Socket Mode must be on, and the token needs connections:write."]
    except (RunbellError, Unclear) as error:
        return [str(error)]
    return []


def _needs(reference: str | None, name: str, where: str) -> list[str]:
    try:
        secrets.resolve(reference, name=f"channels.slack.{name}")
    except Misconfigured as error:
        return [f"{error} It is under {where}."]
    return []
