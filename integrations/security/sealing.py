"""Secrets at rest: AES-256-GCM under a key of the installation, bound to the place where each is kept.

The key is the setting `sealing_key`, or a file of RUNBELL_HOME that is made once. Whoever has the database alone reads
nothing, and what was sealed for one place does not open in another. Networks' tokens are kept so, and secret arguments
(`integrations/database/sealed.py`).
"""

import hashlib
import os
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from integrations.errors import Misconfigured
from integrations.security.secrets import resolve
from integrations.security.tokens import create_secret

FILE = "sealing_key"
MIN_LENGTH = 16
_NONCE = 12


class Seal:
    """Seals and opens with one key."""

    def __init__(self, key: str) -> None:
        if len(key) < MIN_LENGTH:
            raise Misconfigured(f"The key that seals tokens is shorter than {MIN_LENGTH} characters.")
        self._cipher = AESGCM(hashlib.sha256(b"runbell sealing v1 " + key.encode()).digest())

    def __repr__(self) -> str:
        return "Seal(…)"

    @classmethod
    def of(cls, reference: str | None, home: Path) -> "Seal":
        """Build it from a secret reference, or from RUNBELL_HOME/sealing_key, which is made where it is missing."""
        reference = reference or f"file:{create_secret(home, FILE, Fernet.generate_key().decode())}"
        return cls(resolve(reference, name="sealing_key").get_secret_value())

    def close(self, text: str, place: str) -> bytes:
        """Return a text sealed for a place."""
        nonce = os.urandom(_NONCE)
        return nonce + self._cipher.encrypt(nonce, text.encode(), place.encode())

    def open(self, sealed: bytes, place: str) -> str:
        """Return what was sealed for this place; raise Misconfigured where the key is another one."""
        try:
            return self._cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], place.encode()).decode()
        except (InvalidTag, ValueError) as error:
            raise Misconfigured("What is stored was sealed with another key.") from error
