"""Teams' proofs: the Bot Framework's JWT, with all five checks, and the outgoing webhook's HMAC.

The JWT does not cover the body, only the address that answers go to: TLS protects the rest. Checked are signature
(RS256 by a key of the given JWKS), issuer, audience, times (300 s), `serviceurl` against the activity's, and that the
key is endorsed for the activity's channel; some of Microsoft's own SDKs leave the last two out. Tokens of emulator
and skills have other issuers and are refused.
"""

import base64
import binascii
import hmac
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, cast

import jwt

from integrations.errors import Misconfigured, Unauthorized
from integrations.security.signatures import all_required, header, same

ISSUER = "https://api.botframework.com"
LEEWAY_SECONDS = 300
MAX_TOKEN = 16_384
Json = Mapping[str, object]


class BotFrameworkToken:
    """Checks the Authorization header of an activity for our app ids."""

    def __init__(self, app_ids: Sequence[str], *, leeway_s: float = LEEWAY_SECONDS) -> None:
        self._app_ids = all_required(app_ids, "Teams' app id")
        self._leeway_s = leeway_s

    def verify(self, authorization: str, activity: Json, jwks: Json, now: float) -> dict[str, Any]:
        """Return the claims; raise Unauthorized for everything else.

        `jwks` is the key set of Microsoft's metadata as the caller has it. Where this fails for an unknown key
        (UnknownKey), the caller may fetch it anew, once in a while.
        """
        token = _bearer(authorization)
        key = self._key(token, jwks)
        claims = self._decoded(token, key)
        self._check_times(claims, now)
        if not _text_equal(claims.get("serviceurl"), activity.get("serviceUrl")):
            raise Unauthorized("The token was made for another serviceUrl.")
        endorsements, channel = key.get("endorsements"), activity.get("channelId")
        if not isinstance(endorsements, list) or not isinstance(channel, str) or channel not in endorsements:
            raise Unauthorized("The token's key is not endorsed for this channel.")
        return claims

    def _key(self, token: str, jwks: Json) -> Json:
        try:
            head = jwt.get_unverified_header(token)
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
            raise Unauthorized("The token is malformed.") from error
        keys = jwks.get("keys")
        if head.get("alg") != "RS256" or not isinstance(head.get("kid"), str) or not isinstance(keys, list):
            raise Unauthorized("The token is not signed as the Bot Framework signs.")
        for key in cast("list[object]", keys):
            if isinstance(key, dict) and key.get("kty") == "RSA" and key.get("kid") == head["kid"]:
                return cast("Json", key)
        raise UnknownKey("The token is signed with an unknown key.")

    def _decoded(self, token: str, key: Json) -> dict[str, Any]:
        try:
            return jwt.decode(
                token,
                _public_key(str(key["n"]), str(key["e"])),
                algorithms=["RS256"],
                audience=list(self._app_ids),
                issuer=ISSUER,
                # Its own clock can't be given to PyJWT, so times are checked below.
                options={
                    "require": ["exp", "nbf", "iss", "aud"],
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                },
            )
        except (jwt.PyJWTError, ValueError, TypeError, KeyError, RecursionError) as error:
            raise Unauthorized("The token's signature, issuer or audience is wrong.") from error

    def _check_times(self, claims: Json, now: float) -> None:
        expires, begins = _instant(claims.get("exp")), _instant(claims.get("nbf"))
        if expires is None or begins is None:
            raise Unauthorized("The token has no times.")
        if expires <= now - self._leeway_s:
            raise Unauthorized("The token has expired.")
        if begins > now + self._leeway_s:
            raise Unauthorized("The token is not valid yet.")


class UnknownKey(Unauthorized):
    """The token names a key that the given set does not hold."""


class OutgoingWebhook:
    """Checks calls of an outgoing webhook, whose security token Teams shows once."""

    def __init__(self, security_tokens: Sequence[str]) -> None:
        self._keys = [_decoded_key(token) for token in all_required(security_tokens, "Teams' security token")]

    def verify(self, headers: Mapping[str, str], body: bytes) -> None:
        """Raise Unauthorized unless the HMAC covers exactly these bytes."""
        offered = header(headers, "Authorization")
        expected = ["HMAC " + base64.b64encode(hmac.digest(key, body, "sha256")).decode() for key in self._keys]
        if not any(same(one, offered) for one in expected):
            raise Unauthorized("Authorization does not fit this body.")


@lru_cache(32)
def _public_key(modulus: str, exponent: str) -> jwt.PyJWK:
    """Return a key ready to verify; made once, since that costs more than what it is used for."""
    return jwt.PyJWK({"kty": "RSA", "n": modulus, "e": exponent}, algorithm="RS256")


def _bearer(authorization: str) -> str:
    kind, _, token = authorization.partition(" ")
    if kind != "Bearer" or not 0 < len(token) <= MAX_TOKEN or not token.isascii():
        raise Unauthorized("Authorization must hold a bearer token.")
    for part in token.split("."):
        if not _canonical(part):
            raise Unauthorized("The token is malformed.")
    return token


def _canonical(part: str) -> bool:
    """Tell whether this is the one spelling of its bytes in base64url without padding."""
    try:
        data = base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return False
    return base64.urlsafe_b64encode(data).decode().rstrip("=") == part


def _decoded_key(token: str) -> bytes:
    try:
        key = base64.b64decode(token, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Misconfigured("Teams' security token must be the base64 text that Teams showed.") from error
    if len(key) < 16:
        raise Misconfigured("Teams' security token is too short to be one.")
    return key


def _instant(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _text_equal(left: object, right: object) -> bool:
    return isinstance(left, str) and isinstance(right, str) and bool(left) and same(left, right)
