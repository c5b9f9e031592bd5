"""What we send by e-mail: text, a simple HTML part, files; threaded, marked as automatic, recognisable when repeated.

The Message-ID follows from `message.key`, so that a second attempt after an unclear first one is the same mail for
whoever looks. Values go through Python's EmailMessage, which refuses line ends in headers; the ids of a thread are
checked by pattern and written by ourselves, one a line, since EmailMessage would encode long ones beyond recognition.
"""

import hashlib
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from email.headerregistry import Address as Mailbox
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

from markdown_it import MarkdownIt

from integrations.channels.degrade import plain
from integrations.errors import Rejected
from integrations.messages import Attachment, OutboundMessage

NAME = "Runbell"
MAX_SUBJECT, MAX_REFERENCES = 120, 800
_ID = re.compile(r"<[^<>\s]{1,200}>")
_STARTED = re.compile(r"<[0-9a-f]{32}\.post@[^<>@\s]+>")
_ANSWER = re.compile(r"\s*(re|aw|sv|antw|回复|回覆|答复)\s?[:：]", re.IGNORECASE)
_MARKDOWN = MarkdownIt("commonmark", {"html": False, "linkify": False, "breaks": True}).enable("table").disable("image")


@dataclass(frozen=True, slots=True)
class Thread:
    """What is known of the mails before: their subject and their ids, oldest first."""

    subject: str = ""
    ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Letter:
    """A mail that is ready: who it goes to, its id, its bytes."""

    receiver: str
    message_id: str
    data: bytes = field(repr=False)


def conversation(sender: str, root: str, own: str) -> str:
    """Return the conversation of a thread with somebody: `ADDRESS`, or `ADDRESS/<root>` of a thread they began."""
    began_here = _STARTED.fullmatch(root) and root.endswith(f"@{_domain(own)}>")
    return sender if began_here else f"{sender}/{root}"


def parties(conversation: str) -> tuple[str, str]:
    """Return the address and the root's id of a conversation; raise Rejected where it is none."""
    address, slash, root = conversation.rpartition("/<")
    address, root = (address, f"<{root}") if slash else (conversation, "")
    if not re.fullmatch(r"[^\s@<>,;:\"\\()]{1,64}@[A-Za-z0-9.-]{1,253}", address) or (root and not _ID.fullmatch(root)):
        raise Rejected(f"{conversation[:200]!r} is no address for e-mails.")
    return address, root


def compose(
    message: OutboundMessage, thread: Thread, own: str, files: Sequence[tuple[Attachment, bytes]], at: datetime
) -> Letter:
    """Return a mail for a message, in its thread."""
    receiver, root = parties(message.address.conversation)
    ids = _thread_ids(message, thread, root)
    mail = EmailMessage(policy=SMTP)
    mail["From"] = Mailbox(NAME, addr_spec=own)
    mail["To"] = Mailbox(addr_spec=receiver)
    mail["Subject"] = subject(message, thread)
    mail["Date"] = format_datetime(at)
    mail["Message-ID"] = message_id = _message_id(message, own, starts=not ids)
    mail["Auto-Submitted"] = "auto-replied" if ids else "auto-generated"
    mail["X-Auto-Response-Suppress"] = "All"
    mail["X-Loop"] = own
    mail.set_content(plain(message.text) or "…", cte="quoted-printable")
    mail.add_alternative(_html(message.text), subtype="html", cte="quoted-printable")
    for file, data in files:
        main, _, sub = file.media_type.partition("/")
        if not re.fullmatch(r"[A-Za-z0-9.+-]{1,60}/[A-Za-z0-9.+-]{1,60}", file.media_type) or main in (
            "message",
            "multipart",
        ):
            main, sub = "application", "octet-stream"
        mail.add_attachment(data, maintype=main, subtype=sub, filename=_line(file.name)[:200])
    return Letter(receiver, message_id, _threaded(ids) + mail.as_bytes())


def subject(message: OutboundMessage, thread: Thread) -> str:
    """Return the thread's subject as an answer has it; the beginning of the text where there is no thread."""
    if thread.subject:
        known = _line(thread.subject)[:MAX_SUBJECT]
        return known if _ANSWER.match(known) else f"Re: {known}"
    first = _line(next((line for line in plain(message.text).split("\n") if line.strip()), NAME))
    return first if len(first) <= MAX_SUBJECT else first[: MAX_SUBJECT - 1] + "…"


def _thread_ids(message: OutboundMessage, thread: Thread, root: str) -> list[str]:
    answered = message.in_reply_to or ""
    known = [root, *thread.ids, answered if _ID.fullmatch(answered) else ""]
    ids = list(dict.fromkeys(one for one in known if _ID.fullmatch(one)))
    if _ID.fullmatch(answered):
        # The mail that is answered is the last one, even where another came meanwhile.
        ids = [one for one in ids if one != answered] + [answered]
    while len(ids) > 2 and sum(len(one) for one in ids) > MAX_REFERENCES:
        del ids[1]
    return ids


def _threaded(ids: Sequence[str]) -> bytes:
    if not ids:
        return b""
    lines = f"In-Reply-To: {ids[-1]}\r\nReferences: " + "\r\n ".join(ids) + "\r\n"
    return lines.encode("ascii", "replace")


def _message_id(message: OutboundMessage, own: str, *, starts: bool) -> str:
    name = f"{message.key}\n{message.address.conversation}" if message.key else uuid.uuid4().hex
    kind = "post" if starts else "reply"
    return f"<{hashlib.sha256(name.encode()).hexdigest()[:32]}.{kind}@{_domain(own)}>"


def _html(text: str) -> str:
    # What follows a list on the next line would become part of its last entry.
    apart = re.sub(r"^(\d{1,2}\. .*\n)(?=[^\d\s])", r"\1\n", text, flags=re.MULTILINE)
    body = _MARKDOWN.render(apart) if text.strip() else "…"
    return f'<!doctype html><html><body style="font-family:sans-serif">{body}</body></html>'


def _domain(address: str) -> str:
    return address.rpartition("@")[2].lower()


def _line(text: str) -> str:
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+", " ", text).strip()
