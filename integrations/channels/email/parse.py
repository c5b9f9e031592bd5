"""One e-mail's bytes as plain values, bounded before Python's parser sees them. Pure; never raises but InvalidInput.

The parser takes time that grows with lines times nested parts, and recurses: what no mail program sends (hundreds of
boundaries, thousands of headers) is refused by counting bytes first. Headers are read raw, since the structured
reading of `email.policy` takes quadratic time on hostile lists of addresses.
"""

import codecs
import email
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.errors import MessageError
from email.header import decode_header
from email.message import Message
from pathlib import PurePosixPath
from typing import cast

from integrations.channels.email.markup import to_text
from integrations.errors import InvalidInput
from integrations.messages import MAX_TEXT
from integrations.security.text import clean

MAX_LINES, MAX_HEADERS, MAX_HEADER, MAX_BOUNDARIES, MAX_PARTS, MAX_FILES = 1_000_000, 1000, 4000, 100, 2000, 20
_ADDRESS = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@[A-Za-z0-9.-]{1,253}"
_FROM = re.compile(
    rf"""\s*(?:(?P<name>"(?:[^"\\]|\\.){{0,998}}"|[^"<>@,;:()\\]{{0,998}})\s*<(?P<in>{_ADDRESS})>|(?P<bare>{_ADDRESS}))\s*"""
)
_ID = re.compile(r"<[^<>\s\x00-\x1f\x7f]{1,200}>")
_TEXT_CODECS = re.compile(
    r"(utf|ascii|iso8859|iso2022|cp\d|gb|hz|big5|euc|johab|koi8|kz|shift|latin|mac|tis|ptcp|windows).*"
)
_SEALS = frozenset({"application/pgp-signature", "application/pkcs7-signature", "application/x-pkcs7-signature"})
_BROKEN = (ValueError, LookupError, TypeError, AttributeError, RecursionError, AssertionError, OverflowError)


@dataclass(frozen=True, slots=True)
class File:
    """A file that came with a mail."""

    name: str
    media_type: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Mail:
    """What a mail says. `headers` are by lower-case name, unfolded, in their order from the top.

    `sender` is the one address in From, in lower case. `references` are the ids of the thread, oldest first, and hold
    In-Reply-To as well; `message_id` may be blank. `text` holds the quotes and signature still.
    """

    message_id: str
    sender: str
    sender_name: str
    subject: str
    references: tuple[str, ...]
    text: str
    files: tuple[File, ...]
    headers: Mapping[str, tuple[str, ...]]


def parse(raw: bytes) -> Mail:
    """Read one mail; raises InvalidInput for what can't be one, or would cost too much to read."""
    _bounded(raw)
    try:
        message = email.message_from_bytes(raw)
        headers = _headers(message)
        sender, name = _sender(headers)
        text, files = _content(message)
        return Mail(
            message_id=_first_id(headers.get("message-id", ())),
            sender=sender,
            sender_name=name,
            subject=_decoded(headers.get("subject", ("",))[0])[:500],
            references=_references(headers),
            text=text,
            files=files,
            headers=headers,
        )
    except InvalidInput:
        raise
    except _BROKEN as error:
        raise InvalidInput(f"The mail can't be read ({type(error).__name__}).") from error


def headers_of(raw: bytes) -> tuple[str, tuple[str, ...]]:
    """Return the subject and the thread of a mail of which only the head is there; its own id comes last."""
    head = raw.partition(b"\r\n\r\n")[0][:200_000]
    headers = _headers(email.message_from_bytes(head + b"\r\n\r\n"))
    own = _first_id(headers.get("message-id", ()))
    return _decoded(headers.get("subject", ("",))[0])[:500], (*_references(headers), *filter(None, [own]))


def _bounded(raw: bytes) -> None:
    if raw.count(b"\n") > MAX_LINES or raw.count(b"\n--") > MAX_PARTS:
        raise InvalidInput("The mail has too many lines or parts.")
    if raw.lower().count(b"boundary") > MAX_BOUNDARIES:
        raise InvalidInput("The mail's parts are nested too deeply.")


def _headers(message: Message) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for index, (name, value) in enumerate(message.raw_items()):
        if index >= MAX_HEADERS:
            raise InvalidInput("The mail has too many headers.")
        text = str(value).encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        found.setdefault(name.lower(), []).append(re.sub(r"[\r\n]+[ \t]*", " ", text[: MAX_HEADER + 1]).strip())
    return {name: tuple(values) for name, values in found.items()}


def _sender(headers: Mapping[str, tuple[str, ...]]) -> tuple[str, str]:
    given = headers.get("from", ())
    match = _FROM.fullmatch(given[0]) if len(given) == 1 and len(given[0]) <= MAX_HEADER else None
    if match is None:
        raise InvalidInput("From must hold one plain address.")
    address = (match["in"] or match["bare"]).lower()
    name = _decoded(re.sub(r'\\(.)|"', r"\1", (match["name"] or "").strip()))
    return address, name[:200] or address


def _first_id(values: tuple[str, ...]) -> str:
    found = _ID.search(values[0]) if values else None
    return found[0] if found else ""


def _references(headers: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    given = " ".join([*headers.get("references", ())[:1], *headers.get("in-reply-to", ())[:1]])
    return tuple(dict.fromkeys(_ID.findall(given)))


def _decoded(value: str) -> str:
    """Return a header with its encoded words read; as it stands where they are nonsense."""
    try:
        pieces = [
            piece if isinstance(piece, str) else _text(piece, charset or "ascii")
            for piece, charset in decode_header(value[:MAX_HEADER])
        ]
    except (*_BROKEN, MessageError):
        pieces = [value]
    return clean(_storable(re.sub(r"\s+", " ", "".join(pieces)))).strip()


def _content(message: Message) -> tuple[str, tuple[File, ...]]:
    plain, html, files = list[str](), list[str](), list[File]()
    for part in _leaves(message):
        kind, name = part.get_content_type(), _name(part)
        shown = not name and part.get_content_disposition() != "attachment"
        if shown and kind in ("text/plain", "text/html"):
            text = _text(_bytes(part), part.get_content_charset() or "utf-8")
            (plain if kind == "text/plain" else html).append(text)
        elif kind not in _SEALS and len(files) < MAX_FILES:
            files.append(File(name or _unnamed(kind), kind[:100], _bytes(part)))
    said = "\n".join(plain)
    if not said.strip():
        said = "\n".join(to_text(text) for text in html)
    return clean(_storable(said[: MAX_TEXT * 2])), tuple(files)


def _leaves(message: Message) -> Iterator[Message]:
    """Yield the parts that hold something; a mail within the mail is one part."""
    waiting = [message]
    while waiting:
        part = waiting.pop()
        if part.get_content_maintype() == "multipart" and part.is_multipart():
            waiting += reversed(cast("list[Message]", part.get_payload()))
        else:
            yield part


def _bytes(part: Message) -> bytes:
    if part.is_multipart():
        return b"\n".join(one.as_bytes() for one in cast("list[Message]", part.get_payload()))
    found = part.get_payload(decode=True)
    return found if isinstance(found, bytes) else b""


def _text(data: bytes, charset: str) -> str:
    """Decode with a charset that is one for texts; as UTF-8 where nobody knows it."""
    try:
        if _TEXT_CODECS.fullmatch(codecs.lookup(charset.strip()).name.replace("_", "")):
            return data.decode(charset.strip(), "replace")
    except (LookupError, ValueError):
        pass
    return data.decode("utf-8", "replace")


def _storable(text: str) -> str:
    return re.sub("[\x00\ud800-\udfff]", "\ufffd", text)


def _name(part: Message) -> str:
    try:
        name = _decoded(part.get_filename() or "")
    except (TypeError, ValueError, LookupError):
        name = "file"
    return PurePosixPath(name.replace("\\", "/")).name[:200]


def _unnamed(kind: str) -> str:
    return {"message/rfc822": "message.eml", "text/calendar": "invitation.ics"}.get(kind, "file")
