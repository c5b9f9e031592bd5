"""Slack's request signature, v0 (slack_sdk/signature/__init__.py): HMAC-SHA256 over `v0:{timestamp}:{raw body}`.

Covers JSON events and form bodies alike. Five minutes off are allowed both ways, five minutes included. A request
can be repeated within them, so its event id must be remembered.
"""

import hmac
from collections.abc import Mapping, Sequence

from integrations.errors import Unauthorized
from integrations.security.signatures import all_required, header, same, seconds, within

TOLERANCE_SECONDS = 300


class SlackSignature:
    """Checks requests with the signing secret, and a second one while it is rotated."""

    def __init__(self, signing_secrets: Sequence[str]) -> None:
        self._secrets = all_required(signing_secrets, "Slack's signing secret")

    def verify(self, headers: Mapping[str, str], body: bytes, now: float) -> None:
        """Raise Unauthorized unless Slack sent exactly these bytes just now (`now` in Unix seconds)."""
        stamp = header(headers, "X-Slack-Request-Timestamp")
        offered = header(headers, "X-Slack-Signature")
        within(seconds(stamp, "X-Slack-Request-Timestamp"), now, TOLERANCE_SECONDS, "X-Slack-Request-Timestamp")
        signed = b"v0:" + stamp.encode() + b":" + body
        expected = ["v0=" + hmac.digest(secret.encode(), signed, "sha256").hex() for secret in self._secrets]
        if not any(same(one, offered) for one in expected):
            raise Unauthorized("X-Slack-Signature does not fit this body and time.")
