"""What callers of memory hand over and get back, and whose memory it is."""

import hashlib
import json
import re
from dataclasses import dataclass
from datetime import datetime

from integrations.errors import InvalidInput

MAX_NAME = 512
"""Characters of a tenant, an owner, a source or a message id."""
_OWNER = re.compile(r"principal:.+|conversation:[A-Za-z0-9_.-]+:.+", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Scope:
    """The boundary that no recollection crosses: one principal, or one group conversation, of one tenant.

    `owner` is `principal:ID`, or `conversation:CHANNEL:ID`. Names are compared as they are: letters that
    merely look alike, or differ in composition or case, are different scopes.
    """

    tenant: str
    owner: str

    def __post_init__(self) -> None:
        """Refuse what is no plain name, whatever it would match; raises `InvalidInput`."""
        check_name("tenant", self.tenant)
        check_name("owner", self.owner)
        if not _OWNER.fullmatch(self.owner):
            raise InvalidInput("owner must be principal:ID or conversation:CHANNEL:ID", field="owner")

    @classmethod
    def principal(cls, tenant: str, principal_id: str) -> "Scope":
        """Return the scope of one person's direct conversations."""
        check_name("principal", principal_id)
        return cls(tenant, f"principal:{principal_id}")

    @classmethod
    def conversation(cls, tenant: str, channel: str, conversation: str) -> "Scope":
        """Return the scope of a group; a colon in the channel's name could mean another group, so none may be."""
        check_name("conversation", conversation)
        if ":" in channel:
            raise InvalidInput("a channel's name must not contain a colon", field="channel")
        return cls(tenant, f"conversation:{channel}:{conversation}")

    @property
    def key(self) -> str:
        """The digest that every stored recollection carries: of fixed length, and equal for equal scopes only."""
        return digest(self.tenant, self.owner)


@dataclass(frozen=True, slots=True)
class Note:
    """One utterance to remember; `source` says where it was said or by whom, and is quoted with it."""

    text: str
    source: str
    at: datetime
    message_id: str


@dataclass(frozen=True, slots=True)
class Recollection:
    """One passage that memory gave back; `score` is 0 to 1 (ranking.py says what it is worth)."""

    id: str
    text: str
    source: str
    score: float
    at: datetime
    message_id: str


def digest(*parts: str) -> str:
    """Return the SHA-256 of the parts, which can't run into each other."""
    return hashlib.sha256(json.dumps(parts, ensure_ascii=False).encode()).hexdigest()


def check_name(field: str, value: object) -> None:
    """Raise `InvalidInput` unless this is a plain, short text without control characters or lone surrogates."""
    if type(value) is not str:  # a subclass could compare as it likes
        raise InvalidInput(f"{field} must be text, not {type(value).__name__}", field=field)
    if not 0 < len(value) <= MAX_NAME or not value.strip():
        raise InvalidInput(f"{field} must have 1 to {MAX_NAME} characters", field=field)
    if any(ord(character) < 32 or 0x7F <= ord(character) < 0xA0 for character in value) or not encodable(value):
        raise InvalidInput(f"{field} must not contain control characters", field=field)


def encodable(text: str) -> bool:
    """Whether the text is valid Unicode, which lone surrogates are not."""
    return text.encode("utf-8", "surrogatepass") == text.encode("utf-8", "replace")
