"""Whether Telegram lets us do what we need: asks `getMe` and `getWebhookInfo`."""

from collections.abc import Mapping
from contextlib import aclosing
from typing import cast

from integrations.channels.telegram.api import Api
from integrations.errors import Misconfigured, RunbellError
from integrations.security import secrets
from integrations.settings_channels import Telegram


async def check(section: Telegram) -> list[str]:
    """Return what is wrong, each with what to do next; nothing where all is well."""
    try:
        token = secrets.resolve(section.bot_token, name="channels.telegram.bot_token").get_secret_value()
        if section.mode == "webhook":
            secrets.resolve(section.secret_token, name="channels.telegram.secret_token")
        async with aclosing(Api(token, section.api_url)) as api:
            await api.call("getMe", {})
            info = cast("Mapping[str, object]", await api.call("getWebhookInfo", {}))
    except (Misconfigured, RunbellError) as error:
        return [str(error)]
    if section.mode == "webhook" and not info.get("url"):
        return [
            "Telegram has no webhook: call setWebhook with our address and secret_token (docs/channels/telegram.md)."
        ]
    if section.mode == "webhook" and info.get("last_error_message"):
        return [f"Telegram could not call us lately: {info['last_error_message']}."]
    return []
