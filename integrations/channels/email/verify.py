"""DKIM of e-mails, aligned with the visible sender (RFC 6376, and DMARC's idea of alignment, RFC 7489).

Passing means: the domain in From signed the body and the From that is shown. Refused although a library may accept
them: several From headers, a signature that covers only the beginning of the body (`l=`), SHA-1, short keys, other
domains than From's or a parent of it. The address before the @ is as trustworthy as that domain.
"""

import base64
import binascii
import logging
import re
from collections.abc import Callable, Mapping
from email.utils import getaddresses

import dkim
from dkim.util import InvalidTagValueList

from integrations.errors import TemporaryError, Unauthorized

MAX_BYTES = 25 * 1024 * 1024
MAX_SIGNATURES = 5
SLACK_SECONDS = 300
_SILENT = logging.getLogger(f"{__name__}.dkimpy")
_SILENT.addHandler(logging.NullHandler())
_SILENT.propagate = False
_ALGORITHMS = (b"rsa-sha256", b"ed25519-sha256")
_DOMAIN = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?\.)+[a-z0-9-]{2,63}")

Lookup = Callable[[str], bytes | None]
"""The TXT record of a name (with its last dot), its parts joined; None where there is none. May block.

Raises TemporaryError where nobody can tell now, which is passed on."""


def verify_dkim(message: bytes, lookup: Lookup, now: float | None = None) -> str:
    """Return the domain that vouches for From; raise Unauthorized where none does. Blocks while looking up.

    dkimpy reads the machine's clock for `t=` and `x=`, with ten hours of slack; with `now`, ours counts as well.
    """
    if len(message) > MAX_BYTES:
        raise Unauthorized("The message is too large to be checked.")
    headers, _ = _parsed(message)
    sender = _sender_domain(headers)
    signatures = [value for name, value in headers if name.lower() == b"dkim-signature"]
    # dkimpy numbers the signatures from the top.
    for index, value in enumerate(signatures[:MAX_SIGNATURES]):
        tags = _tags(value)
        domain = tags.get(b"d", b"").decode("ascii", "replace").lower()
        if aligned(sender, domain) and _acceptable(tags, now) and _fits(message, index, lookup):
            return domain
    raise Unauthorized(f"No DKIM signature of {sender} fits this message.")


def _fits(message: bytes, index: int, lookup: Lookup) -> bool:
    def dnsfunc(name: bytes | str, timeout: float = 5) -> bytes | None:  # noqa: ARG001 - dkimpy's signature
        return lookup(name.decode("ascii", "replace") if isinstance(name, bytes) else name)

    try:
        return bool(dkim.DKIM(message, minkey=1024, logger=_SILENT).verify(idx=index, dnsfunc=dnsfunc))
    except TemporaryError:
        raise
    except Exception:  # noqa: BLE001 - the library raises whatever hostile bytes make of it
        return False


def _parsed(message: bytes) -> tuple[list[tuple[bytes, bytes]], bytes]:
    try:
        return dkim.rfc822_parse(message)
    except (dkim.DKIMException, ValueError, IndexError) as error:
        raise Unauthorized("The message's headers are malformed.") from error


def _sender_domain(headers: list[tuple[bytes, bytes]]) -> str:
    found = [value for name, value in headers if name.lower() == b"from"]
    if len(found) != 1:
        raise Unauthorized("A message must have one From header.")
    addresses = getaddresses([found[0].decode("utf-8", "replace").replace("\r\n", "")])
    domain = addresses[0][1].rpartition("@")[2].lower() if len(addresses) == 1 else ""
    if not _DOMAIN.fullmatch(domain):
        raise Unauthorized("From must hold one address.")
    return domain


def _tags(value: bytes) -> Mapping[bytes, bytes]:
    try:
        return dkim.parse_tag_value(value)
    except (dkim.DKIMException, InvalidTagValueList, ValueError):
        return {}


def _acceptable(tags: Mapping[bytes, bytes], now: float | None) -> bool:
    if tags.get(b"a") not in _ALGORITHMS or b"l" in tags:
        return False
    signed = [name.strip().lower() for name in tags.get(b"h", b"").split(b":")]
    return b"from" in signed and _canonical(tags.get(b"b", b"")) and (now is None or _timely(tags, now))


def _canonical(value: bytes) -> bool:
    """Tell whether a signature is written in the one way that base64 has for it, whatever its folding."""
    text = re.sub(rb"\s+", b"", value)
    try:
        return base64.b64encode(base64.b64decode(text, validate=True)) == text
    except binascii.Error:
        return False


def _timely(tags: Mapping[bytes, bytes], now: float) -> bool:
    begins, expires = tags.get(b"t", b"0"), tags.get(b"x")
    if not begins.isdigit() or len(begins) > 12 or (expires and (not expires.isdigit() or len(expires) > 12)):
        return False
    return int(begins) <= now + SLACK_SECONDS and (not expires or int(expires) >= now - SLACK_SECONDS)


def aligned(sender: str, domain: str) -> bool:
    """Say whether a domain may speak for the sender's: it is the same, or a parent of it."""
    return "." in domain and (sender == domain or sender.endswith(f".{domain}"))
