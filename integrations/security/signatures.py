"""What every network's verification needs: constant-time comparison, keys that are never blank, strict encodings.

Encodings are read strictly, so that one signature has one spelling: base64 that decodes to the same bytes but is
written differently is refused, and digits are ASCII digits.
"""

import base64
import binascii
import hmac
import re
from collections.abc import Iterable, Mapping

from integrations.errors import Misconfigured, Unauthorized

MAX_HEADER = 4096
_SECONDS = re.compile(r"[0-9]{1,12}")
_HEX = re.compile(r"(?:[0-9a-f]{2})+")


def required(secret: str, name: str) -> str:
    """Return a secret, stripped; raise Misconfigured where it is blank: nothing unsigned is ever accepted."""
    if not secret.strip():
        raise Misconfigured(f"{name} is blank: without it nobody could be told from an impostor.")
    return secret.strip()


def all_required(secrets: Iterable[str], name: str) -> tuple[str, ...]:
    """Return the secrets that count now, two while one replaces the other; raise Misconfigured for none or a blank."""
    found = tuple(required(secret, name) for secret in secrets)
    if not found:
        raise Misconfigured(f"{name} is missing: without it nobody could be told from an impostor.")
    return found


def same(expected: str | bytes, offered: str | bytes) -> bool:
    """Compare in constant time whatever the two hold."""
    return hmac.compare_digest(_bytes(expected), _bytes(offered))


def header(headers: Mapping[str, str], name: str) -> str:
    """Return a header by its name in whatever case; raise Unauthorized where it is missing, doubled or huge."""
    found = [value for key, value in headers.items() if key.lower() == name.lower()]
    if len(found) != 1 or not 0 < len(found[0]) <= MAX_HEADER:
        raise Unauthorized(f"The header {name} is missing or malformed.")
    return found[0]


def seconds(text: str, name: str) -> int:
    """Read a time stamp of ASCII digits; raise Unauthorized for anything else."""
    if not _SECONDS.fullmatch(text):
        raise Unauthorized(f"{name} is not a number of seconds.")
    return int(text)


def within(stamp: float, now: float, tolerance: float, name: str) -> None:
    """Raise Unauthorized where the two differ by more than the tolerance, into either direction."""
    if abs(now - stamp) > tolerance:
        raise Unauthorized(f"{name} is more than {tolerance:.0f} seconds away from our clock.")


def from_hex(text: str, name: str) -> bytes:
    """Decode lower-case hex; raise Unauthorized for anything else."""
    if not _HEX.fullmatch(text):
        raise Unauthorized(f"{name} is not lower-case hex.")
    return bytes.fromhex(text)


def from_base64(text: str, name: str) -> bytes:
    """Decode canonical, padded base64; raise Unauthorized for anything else."""
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise Unauthorized(f"{name} is not base64.") from error
    if base64.b64encode(data).decode() != text:
        raise Unauthorized(f"{name} is not canonical base64.")
    return data


def _bytes(value: str | bytes) -> bytes:
    return value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
