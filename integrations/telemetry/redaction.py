"""What must not reach a log or a span: secrets, and the text of messages."""

import re
from collections.abc import Mapping, Sequence

MASK = "[redacted]"
MAX_CHARS = 16_000
"""A longer text in a log line or span is cut."""

_PRIVATE = frozenset({"text", "content", "prompt", "answer", "body", "raw", "recollections", "utterance"})
_SECRET_NAME = re.compile(r"(?:^|[_.-])(?:secrets?|passw(?:or)?d|authorization|cookie|api_?key|token)$", re.IGNORECASE)
_PATTERNS = tuple(
    re.compile(pattern, flags)
    for pattern, flags in (
        # user:password@ in any URL; the password may itself hold @, : or /.
        (r"(?<=://)(?P<keep>[^\s:/@]{0,128}:)\S{1,512}@", 0),
        (r"(?P<keep>\b(?:bearer|basic)\s+)[\w.~+/=-]{6,}", re.IGNORECASE),
        (r"whsec_[\w+/=-]+", 0),
        (r"\bxox[a-z]-[\w-]+|\bxapp-[\w-]+|\bsk-[\w-]{16,}|\bgh[opsu]_\w{20,}", 0),
        (r"(?P<keep>/bot)\d+:[\w-]{20,}", 0),
        (r"(?P<keep>/(?:hook|services)/)[\w/-]{16,}", 0),
        # password=…, "api_key": "…", and what secrets are called in query strings.
        (
            r"(?P<keep>\w{0,32}(?:passw(?:or)?d|secret|api_?key|access_?token|auth_?token)['\"]?\s{0,4}[=:]\s{0,4}"
            r"['\"]?)[^\s'\"&,;}]+",
            re.IGNORECASE,
        ),
        (r"(?P<keep>[?&](?:key|token|sign|signature|ticket|code)=)[^\s&'\"]+", re.IGNORECASE),
    )
)


def redact(text: str) -> str:
    """Return the text with every secret that can be recognised masked, cut to MAX_CHARS."""
    if len(text) > MAX_CHARS:
        text = f"{text[:MAX_CHARS]}… ({len(text)} characters)"
    for pattern in _PATTERNS:
        text = pattern.sub(_mask, text)
    return text


def redact_value(name: str, value: object) -> object:
    """Return a log field without secrets, however deep they are; numbers stay as they are."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if _SECRET_NAME.search(name):
        return MASK
    if isinstance(value, Mapping):
        return {str(key): redact_value(str(key), inner) for key, inner in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [redact_value(name, inner) for inner in value]
    return redact(str(value))


def is_private(name: str) -> bool:
    """Whether a field of this name holds message text, which only DEBUG may show."""
    return name.rpartition(".")[2] in _PRIVATE


def _mask(match: re.Match[str]) -> str:
    keep = match.groupdict().get("keep") or ""
    return f"{keep}{MASK}@" if match[0].endswith("@") else f"{keep}{MASK}"
