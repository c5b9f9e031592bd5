"""What a button or a form carries to a network and back: sealed, bound to its conversation, with an end.

A token fits into the 64 bytes that Telegram allows. A short text travels inside it; a long one lies in the file
store under its hash, which the token carries. A button may be bound to the one account that was asked. A token can be
pressed again until it ends: what it says must bear repetition, and the platform's id of each press is remembered.
"""

import base64
import binascii
import hmac
import json
import time
from collections.abc import Callable
from typing import cast

from integrations.errors import Forbidden, NotFound, Unauthorized
from integrations.files import FileStore
from integrations.messages import Address, Form
from integrations.security.tokens import read_token
from integrations.settings import Settings

TTL_SECONDS = 7 * 24 * 3600
MAX_TOKEN = 64
_MAC = 10
_HEAD = 5
_INLINE = 0
_STORED = 1


class Buttons:
    """Seals and opens. All gateways with the same RUNBELL_HOME token understand each other's buttons."""

    def __init__(self, key: bytes, files: FileStore, *, now: Callable[[], float] = time.time) -> None:
        self._key = hmac.digest(key, b"runbell buttons v1", "sha256")
        self._files = files
        self._now = now

    def __repr__(self) -> str:
        return "Buttons(…)"

    @classmethod
    def of(cls, settings: Settings) -> "Buttons":
        """Build them for an installation."""
        return cls(read_token(settings.state).encode(), FileStore(settings.state / "files"))

    def seal(self, text: str, address: Address, *, account: str | None = None, ttl_s: float = TTL_SECONDS) -> str:
        """Return a token of at most 64 ASCII characters that says `text`, there, by `account` if one is named."""
        kind, content = _INLINE, text.encode()
        if _length(_HEAD + _MAC + len(content)) > MAX_TOKEN:
            kind, content = _STORED, bytes.fromhex(self._files.put(content, name="button.txt").id)
        flags = kind | (2 if account is not None else 0)
        head = bytes([flags]) + int(self._now() + ttl_s).to_bytes(4, "big")
        return _encode(head + self._mac(head, content, address, account) + content)

    def open(self, token: str, address: Address, account: str) -> str:
        """Return what a pressed button says.

        Raises Unauthorized for what we did not make for this conversation, Forbidden where another account was
        asked or the button has ended; the text may be shown to the person.
        """
        data = _decode(token)
        head, mac, content = data[:_HEAD], data[_HEAD : _HEAD + _MAC], data[_HEAD + _MAC :]
        bound = bool(head[0] & 2)
        if not hmac.compare_digest(mac, self._mac(head, content, address, account if bound else None)):
            if bound:
                raise Forbidden("This button is for somebody else, or for another conversation.")
            raise Unauthorized("This button was not made here.")
        if int.from_bytes(head[1:], "big") < self._now():
            raise Forbidden("This button has ended: ask again.")
        return self._text(head[0] & 1, content)

    def seal_form(self, form: Form, address: Address, *, account: str | None = None) -> str:
        """Return a token for the state of a form: its command and the arguments that are known."""
        return self.seal(json.dumps([form.command, form.args], ensure_ascii=False), address, account=account)

    def open_form(self, token: str, address: Address, account: str) -> tuple[str, dict[str, object]]:
        """Return the command and the known arguments of a form that was sent; raises as `open` does."""
        try:
            command, args = json.loads(self.open(token, address, account))
            return str(command), dict(cast("dict[str, object]", args))
        except (ValueError, TypeError) as error:
            raise Unauthorized("This form was not made here.") from error

    def _text(self, kind: int, content: bytes) -> str:
        if kind == _INLINE:
            return content.decode()
        try:
            return self._files.path(content.hex()).read_text(encoding="utf-8")
        except (NotFound, OSError) as error:
            raise Forbidden("This button has ended: ask again.") from error

    def _mac(self, head: bytes, content: bytes, address: Address, account: str | None) -> bytes:
        place = json.dumps([address.tenant, address.channel, address.conversation, account]).encode()
        return hmac.digest(self._key, head + len(place).to_bytes(4, "big") + place + content, "sha256")[:_MAC]


def _length(count: int) -> int:
    return -(-count * 4 // 3)


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decode(token: str) -> bytes:
    try:
        data = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise Unauthorized("This button was not made here.") from error
    if len(token) > MAX_TOKEN or len(data) < _HEAD + _MAC or _encode(data) != token:
        raise Unauthorized("This button was not made here.")
    return data
