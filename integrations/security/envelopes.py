"""AES-256-CBC as DingTalk, Feishu and WeCom wrap their events in it.

DingTalk and WeCom pad to 32 bytes and put 16 random bytes and a length before the text, and the receiver's id
behind it (github.com/open-dingtalk/DingTalk-Callback-Crypto, github.com/sbzhu/weworkapi_python). Decrypt only
what a signature vouches for: CBC itself proves nothing.
"""

import base64
import binascii
import hashlib
import os
import re

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CBC

from integrations.errors import Misconfigured, Unauthorized
from integrations.security.signatures import from_base64, required, same

_HEAD = 16 + 4
_STAMP = re.compile(r"[0-9]{10}|[0-9]{13}")
MAX_PART = 128


class Envelope:
    """Signs, seals and opens for one receiver: WeCom's and DingTalk's common scheme."""

    def __init__(self, token: str, aes_key: str, receiver: str) -> None:
        """Take the settings of the platform's page; `receiver` may be blank only where the platform says so."""
        self._token = required(token, "The token")
        self._key = _aes_key(aes_key)
        self._receiver = receiver.encode()

    def __repr__(self) -> str:
        return "Envelope(…)"

    def open(self, encrypted: str, *, signature: str, timestamp: str, nonce: str) -> str:
        """Return the text inside; raise Unauthorized unless signature, padding, length and receiver are all right."""
        if not _STAMP.fullmatch(timestamp) or not 0 < len(nonce) <= MAX_PART or not 0 < len(signature) <= MAX_PART:
            raise Unauthorized("timestamp, nonce or signature is missing or malformed.")
        if not same(self.sign(encrypted, timestamp, nonce), signature):
            raise Unauthorized("The signature does not fit.")
        plain = decrypt(from_base64(encrypted, "The encrypted text"), self._key, block=32)
        length = int.from_bytes(plain[16:_HEAD], "big")
        if len(plain) < _HEAD or length > len(plain) - _HEAD:
            raise Unauthorized("The decrypted text has another length than it says.")
        if not same(self._receiver, plain[_HEAD + length :]):
            raise Unauthorized("This was meant for another receiver.")
        return text_of(plain[_HEAD : _HEAD + length])

    def seal(self, text: str, *, timestamp: str, nonce: str, random: bytes | None = None) -> tuple[str, str]:
        """Return the encrypted text and its signature, as an answer carries them."""
        content = text.encode()
        plain = (random or os.urandom(16)) + len(content).to_bytes(4, "big") + content + self._receiver
        encrypted = base64.b64encode(encrypt(plain, self._key, block=32)).decode()
        return encrypted, self.sign(encrypted, timestamp, nonce)

    def sign(self, encrypted: str, timestamp: str, nonce: str) -> str:
        """Return the SHA-1 over the sorted parts, hex."""
        parts = "".join(sorted([self._token, timestamp, nonce, encrypted]))
        return hashlib.sha1(parts.encode("utf-8", "surrogatepass"), usedforsecurity=True).hexdigest()  # noqa: S324 - theirs


def decrypt(data: bytes, key: bytes, *, block: int, iv: bytes | None = None) -> bytes:
    """Return the plain bytes without their padding; raise Unauthorized where it can't be theirs."""
    if not data or len(data) % 16:
        raise Unauthorized("The encrypted text is cut off.")
    decryptor = Cipher(AES256(key), CBC(iv or key[:16])).decryptor()
    plain = decryptor.update(data) + decryptor.finalize()
    count = plain[-1]
    if not 1 <= count <= min(block, len(plain)) or not same(bytes([count]) * count, plain[-count:]):
        raise Unauthorized("The encrypted text was not made with our key.")
    return plain[:-count]


def encrypt(plain: bytes, key: bytes, *, block: int, iv: bytes | None = None) -> bytes:
    """Pad (PKCS#7, to `block` bytes) and encrypt."""
    count = block - len(plain) % block
    encryptor = Cipher(AES256(key), CBC(iv or key[:16])).encryptor()
    return encryptor.update(plain + bytes([count]) * count) + encryptor.finalize()


def text_of(data: bytes) -> str:
    """Decode what was decrypted; raise Unauthorized where it is not UTF-8, so not what they sent."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise Unauthorized("The decrypted text is not UTF-8.") from error


def _aes_key(encoded: str) -> bytes:
    encoded = required(encoded, "The EncodingAESKey")
    try:
        # Not canonical on purpose: the last two bits of the 43 characters need not be zero.
        key = base64.b64decode(encoded + "=", validate=True)
    except (binascii.Error, ValueError) as error:
        raise Misconfigured("The EncodingAESKey must be the 43 characters of the platform's page.") from error
    if len(key) != 32:
        raise Misconfigured("The EncodingAESKey must be the 43 characters of the platform's page.")
    return key
