"""Signed webhooks: Standard Webhooks, and the simple HMAC that many internal systems send.

Standard: signed is `{webhook-id}.{webhook-timestamp}.{raw body}`, five minutes off are allowed both ways, included
(github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md). The id is covered, so it serves against
repetition. Simple: base64 of the HMAC-SHA256 over the raw body; nothing in it protects against repetition.
"""

import base64
import binascii
import hmac
import re
from collections.abc import Mapping, Sequence

from integrations.errors import Misconfigured, Unauthorized
from integrations.security.signatures import all_required, required, same, seconds

TOLERANCE_SECONDS = 300
MIN_SECRET_BYTES = 16
MAX_SIGNATURES = 10
_ID = re.compile(r"[\x21-\x7e]{1,180}")


class StandardSignature:
    """Checks deliveries as Standard Webhooks describe them, with one secret or two while one replaces the other."""

    def __init__(self, secrets: Sequence[str], *, name: str = "secret") -> None:
        self._keys = [_key(secret, name) for secret in all_required(secrets, f"The secret {name}")]

    def verify(self, headers: Mapping[str, str], body: bytes, now: float) -> str:
        """Return the event id of an authentic delivery; raise Unauthorized for any other, whatever is wrong."""
        named = {name.lower(): value for name, value in headers.items()}
        event_id, stamp = named.get("webhook-id", ""), named.get("webhook-timestamp", "")
        if not _ID.fullmatch(event_id):
            raise Unauthorized("webhook-id and webhook-timestamp must be there, as Standard Webhooks describe them.")
        at = seconds(stamp, "webhook-timestamp")
        if abs(now - at) > TOLERANCE_SECONDS:
            raise Unauthorized("webhook-timestamp is more than five minutes away from our clock.")
        offered = [part[3:] for part in named.get("webhook-signature", "").split(" ") if part.startswith("v1,")]
        expected = [sign(key, event_id, stamp, body) for key in self._keys]
        if not any(same(one, other) for one in expected for other in offered[:MAX_SIGNATURES]):
            raise Unauthorized("webhook-signature does not fit this body, id and timestamp.")
        return event_id


class SimpleSignature:
    """Checks one header that holds base64 of the HMAC-SHA256 over the raw body, keyed with the secret's UTF-8."""

    def __init__(self, secrets: Sequence[str], *, name: str = "secret") -> None:
        self._keys = [secret.encode() for secret in all_required(secrets, f"The secret {name}")]

    def verify(self, signature: str, body: bytes) -> None:
        """Raise Unauthorized unless the signature covers exactly these bytes."""
        expected = [base64.b64encode(hmac.digest(key, body, "sha256")) for key in self._keys]
        if not any(same(one, signature) for one in expected):
            raise Unauthorized("The signature does not fit this body.")


def sign(key: bytes, event_id: str, stamp: str, body: bytes) -> str:
    """Return base64 of the HMAC-SHA256 that Standard Webhooks want, without its version."""
    return base64.b64encode(hmac.digest(key, f"{event_id}.{stamp}.".encode() + body, "sha256")).decode()


def _key(secret: str, name: str) -> bytes:
    encoded = required(secret, f"The secret {name}").removeprefix("whsec_").rstrip("=")
    try:
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Misconfigured(f"The secret {name} must be base64, with or without whsec_ before it.") from error
    if len(key) < MIN_SECRET_BYTES:
        raise Misconfigured(f"The secret {name} is too short: Standard Webhooks asks for 24 to 64 random bytes.")
    return key
