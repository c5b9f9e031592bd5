"""Whether Slack lets us do what we need: asks `auth.test` and, for Socket Mode, `apps.connections.open`.

With several workspaces there is no bot token to ask with. That the app is ours is seen by a code that Slack can't know:
it refuses the code, and not the client's id and secret.
"""

import aiohttp

from integrations.channels.slack.api import Api, Refused, Unclear
from integrations.errors import Misconfigured, PermanentError, RunbellError
from integrations.messages import utc_now
from integrations.security import secrets
from integrations.settings import Settings
from integrations.settings_channels import Slack

SCOPES = (
    "app_mentions:read", "channels:history", "chat:write", "commands", "files:read", "files:write", "groups:history",
    "im:history", "im:read", "im:write",
)  # fmt: skip


async def check(section: Slack, public_url: str | None = None) -> list[str]:
    """Return what is wrong, each with what to do next; nothing where all is well."""
    found = await (_app(section, public_url) if section.workspaces == "several" else _workspace(section))
    if section.mode == "http":
        return found + _needs(section.signing_secret, "signing_secret", "Basic Information → Signing Secret")
    missing = _needs(section.app_token, "app_token", "Basic Information → App-Level Tokens, scope connections:write")
    return found + (missing or await _socket(section))


def hints(settings: Settings) -> list[str]:
    """Say how workspaces get in, where there may be several."""
    from integrations.channels.slack.install import Invitations

    section, url = settings.channels.slack, settings.gateway.public_url
    if section is None or section.workspaces != "several" or not url:
        return []
    here, invitation = f"{url.rstrip('/')}/channels/slack", Invitations.of(settings).new(utc_now())
    return [
        f"Redirect URL, to enter under OAuth & Permissions: {here}/oauth",
        f"Add to Slack, for one workspace, within a day: {here}/install?invite={invitation}",
    ]


async def _workspace(section: Slack) -> list[str]:
    missing = _needs(section.bot_token, "bot_token", "OAuth & Permissions → Bot User OAuth Token")
    if missing:
        return missing
    token = secrets.resolve(section.bot_token, name="channels.slack.bot_token").get_secret_value()
    return await _bot(Api(token, section.api_url))


async def _app(section: Slack, public_url: str | None) -> list[str]:
    missing = _needs(section.client_id, "client_id", "Basic Information → Client ID")
    missing += _needs(section.client_secret, "client_secret", "Basic Information → Client Secret")
    if not (public_url or "").startswith("https://"):
        missing.append(
            "Slack leads back to us after an installation: set gateway.public_url to an https address, and enter "
            "https://YOUR.HOST/channels/slack/oauth as Redirect URL under OAuth & Permissions."
        )
    if missing:
        return missing
    client = {
        name: secrets.resolve(getattr(section, name), name=f"channels.slack.{name}").get_secret_value()
        for name in ("client_id", "client_secret")
    }
    try:
        await Api("", section.api_url).form("oauth.v2.access", {"code": "runbell-asks", **client})
    except Refused as error:
        where = _REFUSED.get(error.code)
        return [f"Slack refuses {where} ({error.code}): copy it from Basic Information."] if where else []
    except RunbellError as error:
        return [str(error)]
    return []


_REFUSED = {"invalid_client_id": "client_id", "bad_client_secret": "client_secret"}


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
