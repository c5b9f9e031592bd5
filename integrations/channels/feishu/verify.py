"""Feishu's and Lark's proofs (lark_oapi/event/dispatcher_handler.py, core/utils/decryptor.py, card/action_handler.py).

- With an Encrypt Key: `X-Lark-Signature` = hex SHA-256 (no HMAC) of timestamp, nonce, key and raw body; the body is
  `{"encrypt": …}`, AES-256-CBC under SHA-256 of the key, IV in front, PKCS#7 of 16.
- Without one: only the Verification Token inside the body, so TLS is the whole protection.
- The URL challenge comes unsigned even with an Encrypt Key. Answering it gives nothing away and starts nothing, so
  its token alone decides; everything else needs the signature.
- Cards of the legacy kind: hex SHA-1 of timestamp, nonce, verification token and raw body.

No time window is prescribed, and a retry comes after up to six hours: replays are refused by event id.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import cast

from integrations.errors import InvalidInput, Misconfigured, Unauthorized
from integrations.security.documents import Document, read_json
from integrations.security.envelopes import decrypt, text_of
from integrations.security.signatures import all_required, from_base64, header, required, same

# Of known lengths, since the signed text has no separators between them.
_STAMP = re.compile(r"[0-9]{10}|[0-9]{13}")
CHALLENGE = "url_verification"


class FeishuEvents:
    """Checks and opens events. Each list holds one value, two while one replaces the other."""

    def __init__(self, *, encrypt_keys: Sequence[str], verification_tokens: Sequence[str]) -> None:
        self._keys = tuple(key.strip() for key in encrypt_keys if key.strip())
        self._tokens = tuple(token.strip() for token in verification_tokens if token.strip())
        if not self._tokens and not self._keys:
            raise Misconfigured("Feishu's Encrypt Key and Verification Token are blank: copy one from the app's page.")

    def open(self, headers: Mapping[str, str], body: bytes) -> Document:
        """Return the authentic event, or the challenge, decrypted; raise Unauthorized for everything else."""
        signed = self._signed(headers, body)
        outer = _read(body)
        document = self._decrypted(outer)
        if self._keys and not signed and document.get("type") != CHALLENGE:
            raise Unauthorized("X-Lark-Signature does not fit this body.")
        if self._tokens:
            self._check_token(document)
        elif not signed and document is outer:
            raise Unauthorized("A challenge must at least be encrypted where there is no Verification Token.")
        return document

    def _signed(self, headers: Mapping[str, str], body: bytes) -> bool:
        if not self._keys or not any(name.lower() == "x-lark-signature" for name in headers):
            return False
        prefix, offered = _prefix(headers), header(headers, "X-Lark-Signature")
        expected = [hashlib.sha256(prefix + key.encode() + body).hexdigest() for key in self._keys]
        if not any(same(one, offered) for one in expected):
            raise Unauthorized("X-Lark-Signature does not fit this body.")
        return True

    def _decrypted(self, document: Document) -> Document:
        encrypted = document.get("encrypt")
        if encrypted is None:
            return document
        if not isinstance(encrypted, str) or not self._keys:
            raise Unauthorized("This event is encrypted, and there is no Encrypt Key for it.")
        for key in self._keys[:-1]:
            try:
                return _read(decrypt_text(key, encrypted))
            except Unauthorized:
                continue
        return _read(decrypt_text(self._keys[-1], encrypted))

    def _check_token(self, document: Document) -> None:
        head = document.get("header")
        place = cast("Document", head) if isinstance(head, dict) else document
        offered = place.get("token")
        if not isinstance(offered, str) or not any(same(token, offered) for token in self._tokens):
            raise Unauthorized("The verification token is another one.")


class FeishuLegacyCards:
    """Checks callbacks of `card.action.trigger_v1`."""

    def __init__(self, verification_tokens: Sequence[str]) -> None:
        self._tokens = all_required(verification_tokens, "Feishu's Verification Token")

    def verify(self, headers: Mapping[str, str], body: bytes) -> None:
        """Raise Unauthorized unless the signature covers exactly these bytes."""
        prefix, offered = _prefix(headers), header(headers, "X-Lark-Signature")
        signatures = [
            hashlib.sha1(prefix + token.encode() + body).hexdigest()  # noqa: S324 - theirs
            for token in self._tokens
        ]
        if not any(same(one, offered) for one in signatures):
            raise Unauthorized("X-Lark-Signature does not fit this body.")


def decrypt_text(encrypt_key: str, encrypted: str) -> str:
    """Return what was encrypted; raise Unauthorized where the key or the text is wrong."""
    key = hashlib.sha256(required(encrypt_key, "Feishu's Encrypt Key").encode()).digest()
    data = from_base64(encrypted, "encrypt")
    if len(data) < 32:
        raise Unauthorized("The encrypted text is cut off.")
    return text_of(decrypt(data[16:], key, block=16, iv=data[:16]))


def _prefix(headers: Mapping[str, str]) -> bytes:
    stamp = header(headers, "X-Lark-Request-Timestamp")
    if not _STAMP.fullmatch(stamp):
        raise Unauthorized("X-Lark-Request-Timestamp is malformed.")
    return (stamp + header(headers, "X-Lark-Request-Nonce")).encode("utf-8", "surrogatepass")


def _read(body: bytes | str) -> Document:
    try:
        return read_json(body)
    except InvalidInput as error:
        raise Unauthorized(str(error)) from error
