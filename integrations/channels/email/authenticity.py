"""Whether a mail is from whom it says: our own mail server's verdict, DKIM, or a trusted forwarder's seal (ARC).

Authentication-Results (RFC 8601) count only under the authserv-id of the settings, and only the topmost of them: our
server writes its own above whatever a sender put there. ARC (RFC 8617) counts where every seal of an intact chain is
of a domain that the settings trust; the first of its results then speaks for the sender.
"""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass

import dkim

from integrations.channels.email.verify import Lookup, aligned, verify_dkim
from integrations.errors import TemporaryError, Unauthorized

MAX_SEALS = 10
_SILENT = logging.getLogger(f"{__name__}.dkimpy")
_SILENT.addHandler(logging.NullHandler())
_SILENT.propagate = False
_RESULT = re.compile(r"\s*([a-z0-9-]{1,40})(?:\s*/\s*\d+)?\s*=\s*([a-z]{1,20})(?=\s|$)(.*)", re.DOTALL)
_PROPERTY = re.compile(r"([a-z]{1,20})\.([a-z0-9_-]{1,40})\s*=\s*(\"[^\"]*\"|[^\s;\"]+)")
Headers = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Trust:
    """Whom we believe. `authserv_id` is blank where no server's verdict counts."""

    required: bool = True
    authserv_id: str = ""
    sealers: frozenset[str] = frozenset()


def prove(raw: bytes, headers: Headers, sender: str, trust: Trust, lookup: Lookup) -> str:
    """Return what vouches for the sender's address; raise Unauthorized where nothing does. Blocks: it asks the DNS."""
    if trust.authserv_id and (found := _told(headers, sender, trust.authserv_id)):
        return found
    try:
        if aligned(sender.rpartition("@")[2], verify_dkim(raw, lookup)):
            return "dkim"
    except Unauthorized:
        if trust.sealers and _sealed(raw, headers, sender, trust.sealers, lookup):
            return "arc"
    if not trust.required:
        return "nobody"
    raise Unauthorized("Nothing proves that this mail is from whom it says.")


def results(value: str) -> tuple[str, list[tuple[str, str, dict[str, str]]]]:
    """Return the authserv-id and each method's result with its properties, of one Authentication-Results header."""
    first, *rest = _uncommented(value).lower().split(";")
    found: list[tuple[str, str, dict[str, str]]] = []
    for part in rest[:50]:
        match = _RESULT.fullmatch(part)
        if match:
            properties = {f"{kind}.{name}": said.strip('"') for kind, name, said in _PROPERTY.findall(match[3])}
            found.append((match[1], match[2], properties))
    return (first.split() or [""])[0], found


def vouched(value: str, sender: str) -> str:
    """Return the method by which a header's results speak for the sender; blank where they don't."""
    domain = sender.rpartition("@")[2]
    for method, result, properties in results(value)[1]:
        if result != "pass":
            continue
        if method == "dmarc" and properties.get("header.from", "").rpartition("@")[2] == domain:
            return "dmarc"
        signer = properties.get("header.d") or properties.get("header.i", "").rpartition("@")[2]
        if method == "dkim" and aligned(domain, signer):
            return "dkim"
        if method == "auth" and sender in (properties.get("smtp.auth"), properties.get("smtp.mailfrom")):
            return "auth" if properties.get("smtp.auth") == sender else ""
    return ""


def _told(headers: Headers, sender: str, authserv_id: str) -> str:
    ours = [value for value in headers.get("authentication-results", ()) if results(value)[0] == authserv_id.lower()]
    return vouched(ours[0], sender) if ours else ""


def _sealed(raw: bytes, headers: Headers, sender: str, sealers: frozenset[str], lookup: Lookup) -> bool:
    if len(headers.get("arc-seal", ())) > MAX_SEALS:
        return False

    def dnsfunc(name: bytes | str, timeout: float = 5) -> bytes | None:  # noqa: ARG001 - dkimpy's signature
        return lookup(name.decode("ascii", "replace") if isinstance(name, bytes) else name)

    try:
        verdict, chain, _ = dkim.ARC(raw, logger=_SILENT).verify(dnsfunc=dnsfunc)
    except TemporaryError:
        raise
    except Exception:  # noqa: BLE001 - the library raises whatever hostile bytes make of it
        return False
    domains = {bytes(seal["as-domain"]).decode("ascii", "replace").lower() for seal in chain}
    if verdict != dkim.CV_Pass or not domains or not domains <= sealers:
        return False
    first = [
        value.partition(";")[2]
        for value in headers.get("arc-authentication-results", ())
        if re.match(r"\s*i\s*=\s*1\s*;", value)
    ]
    return len(first) == 1 and bool(vouched(first[0], sender))


def _uncommented(value: str) -> str:
    """Return a header without its comments, which may be nested; quoted semicolons go as well."""
    kept, depth, quoted, escaped = list[str](), 0, False, False
    for sign in value:
        if escaped:
            escaped = False
        elif sign == "\\":
            escaped = True
        elif sign == '"' and not depth:
            quoted = not quoted
            kept.append(sign)
        elif sign in "()" and not quoted:
            depth = max(0, depth + (1 if sign == "(" else -1))
        elif not depth and not (quoted and sign == ";"):
            kept.append(sign)
    return "".join(kept)
