"""Discord's signature of interactions and webhook events: Ed25519 over the time stamp and the raw body.

No window is prescribed; interactions carry ids that are remembered. Discord itself sends bad signatures from time
to time and removes an endpoint that does not answer 401 to them.
"""

import re
from collections.abc import Mapping, Sequence

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from integrations.errors import Misconfigured, Unauthorized
from integrations.security.signatures import all_required, from_hex, header

_STAMP = re.compile(r"[0-9]{10,13}")


class DiscordSignature:
    """Checks requests with the application's public key (hex)."""

    def __init__(self, public_keys: Sequence[str]) -> None:
        self._keys = [_key(text) for text in all_required(public_keys, "Discord's public key")]

    def verify(self, headers: Mapping[str, str], body: bytes) -> None:
        """Raise Unauthorized unless Discord signed exactly these bytes."""
        signature = from_hex(header(headers, "X-Signature-Ed25519"), "X-Signature-Ed25519")
        stamp = header(headers, "X-Signature-Timestamp")
        # The signed text has no separator: digits here and a brace there leave one way only to cut it.
        if not _STAMP.fullmatch(stamp) or not body.startswith(b"{"):
            raise Unauthorized("X-Signature-Timestamp or the body is malformed.")
        for key in self._keys:
            try:
                key.verify(signature, stamp.encode() + body)
            except InvalidSignature:
                continue
            return
        raise Unauthorized("X-Signature-Ed25519 does not fit this body and time.")


def _key(text: str) -> Ed25519PublicKey:
    try:
        return Ed25519PublicKey.from_public_bytes(bytes.fromhex(text))
    except ValueError as error:
        raise Misconfigured("Discord's public key must be the 64 hex digits of the application's page.") from error
