"""WeCom's proofs: the app's encrypted XML, the address check, the intelligent robot's JSON, its files.

One scheme under all (`integrations.security.envelopes`; github.com/sbzhu/weworkapi_python and wechatpy agree). The
receiver is the corp id for an own app, the suite id for a third party, and blank for the intelligent robot.
"""

import base64
import binascii
from collections.abc import Mapping
from xml.sax.saxutils import escape

from integrations.errors import InvalidInput, Misconfigured, Unauthorized
from integrations.security.documents import read_json, read_xml
from integrations.security.envelopes import Envelope, decrypt
from integrations.security.signatures import from_base64, required

MAX_ECHO = 4096


class WeComApp:
    """An app's callback. `receiver` is the corp id or suite id."""

    def __init__(self, token: str, aes_key: str, receiver: str) -> None:
        self._envelope = Envelope(token, aes_key, required(receiver, "WeCom's corp id"))

    def verify_url(self, query: Mapping[str, str]) -> str:
        """Return the text that answers the address check, bare; raise Unauthorized for everything else."""
        return _open(self._envelope, query, query.get("echostr", "")[: MAX_ECHO + 1])

    def open(self, query: Mapping[str, str], body: bytes) -> str:
        """Return the message's XML text; raise Unauthorized for everything else."""
        try:
            encrypted = read_xml(body).get("Encrypt", "")
        except InvalidInput as error:
            raise Unauthorized("The body is no encrypted message.") from error
        return _open(self._envelope, query, encrypted)

    def reply(self, text: str, *, timestamp: str, nonce: str, random: bytes | None = None) -> str:
        """Return the encrypted XML of a passive reply."""
        encrypted, signature = self._envelope.seal(text, timestamp=timestamp, nonce=nonce, random=random)
        if not timestamp.isdigit() or "]]>" in nonce:
            raise InvalidInput("timestamp or nonce is malformed.")
        return (
            f"<xml>\n<Encrypt><![CDATA[{encrypted}]]></Encrypt>\n"
            f"<MsgSignature><![CDATA[{signature}]]></MsgSignature>\n"
            f"<TimeStamp>{escape(timestamp)}</TimeStamp>\n<Nonce><![CDATA[{nonce}]]></Nonce>\n</xml>"
        )


class WeComRobot:
    """The intelligent robot's callback: JSON, and a blank receiver unless told otherwise."""

    def __init__(self, token: str, aes_key: str, receiver: str = "") -> None:
        self._envelope = Envelope(token, aes_key, receiver)

    def verify_url(self, query: Mapping[str, str]) -> str:
        """Return the text that answers the address check, bare; raise Unauthorized for everything else."""
        return _open(self._envelope, query, query.get("echostr", "")[: MAX_ECHO + 1])

    def open(self, query: Mapping[str, str], body: bytes) -> str:
        """Return the message's JSON text; raise Unauthorized for everything else."""
        try:
            encrypted = read_json(body).get("encrypt")
        except InvalidInput as error:
            raise Unauthorized("The body is no encrypted message.") from error
        return _open(self._envelope, query, encrypted if isinstance(encrypted, str) else "")

    def reply(self, text: str, *, timestamp: str, nonce: str) -> dict[str, object]:
        """Return the encrypted JSON of a passive reply."""
        encrypted, signature = self._envelope.seal(text, timestamp=timestamp, nonce=nonce)
        return {"encrypt": encrypted, "msgsignature": signature, "timestamp": int(timestamp), "nonce": nonce}


def decrypt_file(aes_key: str, data: bytes) -> bytes:
    """Decrypt a file of the robot's long connection; each message brings the key of its own files.

    Raises Unauthorized where key and file don't fit, Misconfigured for what can't be a key.
    """
    try:
        key = base64.b64decode(aes_key + "=" * (-len(aes_key) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Misconfigured("The file's aeskey is not base64.") from error
    if len(key) != 32:
        raise Misconfigured("The file's aeskey must have 32 bytes.")
    return decrypt(data, key, block=32)


def decrypt_file_text(aes_key: str, encoded: str) -> bytes:
    """Do the same for a file in base64."""
    return decrypt_file(aes_key, from_base64(encoded, "The file"))


def _open(envelope: Envelope, query: Mapping[str, str], encrypted: str) -> str:
    if not encrypted:
        raise Unauthorized("There is nothing encrypted.")
    return envelope.open(
        encrypted,
        signature=query.get("msg_signature", ""),
        timestamp=query.get("timestamp", ""),
        nonce=query.get("nonce", ""),
    )
