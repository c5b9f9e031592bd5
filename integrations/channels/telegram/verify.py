"""Telegram's proofs: the webhook's static secret, and the hashes of Mini Apps and of the login widget.

The webhook's secret covers neither body nor time, so TLS and the update id are all that protects against
repetition. The hashes are HMAC-SHA256 over the sorted fields (core.telegram.org/bots/webapps, /widgets/login).
"""

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from urllib.parse import parse_qsl

from integrations.errors import Misconfigured, Unauthorized
from integrations.security.signatures import all_required, header, required, same

_SECRET = re.compile(r"[A-Za-z0-9_-]{1,256}")
MAX_FIELDS = 50
MAX_INIT_DATA = 16_384


class WebhookSecret:
    """Checks calls by the secret that was given to setWebhook."""

    def __init__(self, secret_tokens: Sequence[str]) -> None:
        self._secrets = all_required(secret_tokens, "Telegram's secret token")
        if not all(_SECRET.fullmatch(secret) for secret in self._secrets):
            raise Misconfigured("Telegram's secret token may hold 1 to 256 of A-Z a-z 0-9 _ and -.")

    def verify(self, headers: Mapping[str, str]) -> None:
        """Raise Unauthorized unless the secret is there."""
        offered = header(headers, "X-Telegram-Bot-Api-Secret-Token")
        if not any(same(secret, offered) for secret in self._secrets):
            raise Unauthorized("X-Telegram-Bot-Api-Secret-Token is another one.")


def verify_web_app(bot_token: str, init_data: str) -> dict[str, str]:
    """Return the authentic fields of a Mini App's initData; the caller judges the age of `auth_date`."""
    if len(init_data) > MAX_INIT_DATA:
        raise Unauthorized("initData is too long.")
    try:
        pairs = parse_qsl(init_data, strict_parsing=True, keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError as error:
        raise Unauthorized("initData is malformed.") from error
    if len(dict(pairs)) != len(pairs):
        raise Unauthorized("initData has doubled fields.")
    key = hmac.digest(b"WebAppData", required(bot_token, "Telegram's bot token").encode(), "sha256")
    return _checked(dict(pairs), key)


def verify_login(bot_token: str, data: Mapping[str, object]) -> dict[str, str]:
    """Return the authentic fields of the login widget; the caller judges the age of `auth_date`."""
    key = hashlib.sha256(required(bot_token, "Telegram's bot token").encode()).digest()
    if len(data) > MAX_FIELDS:
        raise Unauthorized("There are too many fields.")
    return _checked({name: str(value) for name, value in data.items()}, key)


def _checked(fields: dict[str, str], key: bytes) -> dict[str, str]:
    offered = fields.pop("hash", "")
    signed = "\n".join(f"{name}={fields[name]}" for name in sorted(fields))
    if not fields or not same(hmac.digest(key, signed.encode("utf-8", "surrogatepass"), "sha256").hex(), offered):
        raise Unauthorized("The hash does not fit these fields.")
    return fields
