"""The simulated mail provider's IMAP server, with IDLE and STARTTLS; SMTP is in `email_submission`.

It speaks as much of RFC 9051 / 3501 and 2177 as mail clients use, and refuses what real ones refuse.
`Provider` is what they serve; `email.py` implements it.
"""

import asyncio
import base64
import re
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.parser import BytesHeaderParser
from typing import Protocol

from integrations.channels.simulators.base import Fault

MAX_LINE = 1_000_000
_TOKEN = re.compile(r'"((?:[^"\\]|\\.)*)"|\(|\)|[^\s()"]+')
IDLES = "IDLE"
CHALLENGE = base64.b64encode(b'{"status":"401","schemes":"bearer"}').decode()


@dataclass(slots=True)
class Stored:
    """A mail in the mailbox."""

    uid: int
    raw: bytes
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    flags: set[str] = field(default_factory=set[str])

    def header(self, name: str) -> str:
        """Return a header's value."""
        return str(BytesHeaderParser().parsebytes(self.raw).get(name, ""))


class Provider(Protocol):
    """What the servers ask."""

    user: str
    password: str
    tokens: set[str]
    idles: bool
    mute: bool
    mails: list[Stored]
    tls: ssl.SSLContext | None

    def fault(self, operation: str) -> Fault | None:
        """Return how the next call of an operation ends badly, if so."""
        ...

    def arrived(self, sender: str, receiver: str, data: bytes) -> str:
        """Take a mail in; returns why not, as a whole SMTP answer, or a blank."""
        ...

    def note(self, operation: str, said: str) -> None:
        """Record what a client asked."""
        ...

    async def news(self) -> None:
        """Return when something arrived."""
        ...


class Connection:
    """One client."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, provider: Provider) -> None:
        self.reader = reader
        self.writer = writer
        self.provider = provider

    async def say(self, *lines: str | bytes) -> None:
        """Send lines, in one packet where they fit."""
        if self.provider.mute:
            await asyncio.Event().wait()
        self.writer.write(b"".join((line if isinstance(line, bytes) else line.encode()) + b"\r\n" for line in lines))
        await self.writer.drain()

    async def hear(self) -> str:
        """Return the next line; raises EOFError at the end."""
        line = await self.reader.readline()
        if not line.endswith(b"\r\n"):
            raise EOFError
        return line[:-2].decode("utf-8", "surrogateescape")

    def abort(self) -> None:
        """Break the connection without a word."""
        self.writer.transport.abort()


class Imap(Connection):
    """One IMAP client's connection."""

    idling = False
    _signed_in = False
    _announced = 0

    async def run(self) -> None:
        """Serve until the client leaves."""
        await self.say("* OK IMAP4rev1 ready")
        while True:
            tag, _, rest = (await self.hear()).partition(" ")
            command, _, given = rest.partition(" ")
            command = command.upper()
            if command == "UID":
                verb, _, given = given.partition(" ")
                command = f"UID {verb.upper()}"
            self.provider.note(command, "" if command == "LOGIN" else given)
            fault = self.provider.fault(command)
            if fault is not None:
                if fault.status is None:
                    self.abort()
                    return
                await self.say(f"{tag} {fault.body}")
                continue
            await self._serve(tag, command, [_unquoted(found) for found in _TOKEN.finditer(given)])
            if command == "LOGOUT":
                return

    async def _serve(self, tag: str, command: str, words: list[str]) -> None:
        before_login = {
            "AUTHENTICATE": self._authenticate,
            "CAPABILITY": self._capability,
            "LOGIN": self._login,
            "STARTTLS": self._starttls,
        }
        after: dict[str, Callable[[list[str]], object]] = {
            "SELECT": self._select,
            "NOOP": self._noop,
            "UID SEARCH": self._search,
            "UID FETCH": self._fetch,
            "UID STORE": self._store,
        }
        if command == "LOGOUT":
            await self.say("* BYE", f"{tag} OK LOGOUT")
        elif command in before_login:
            await before_login[command](tag, words)
        elif command == "NOOP" or (self._signed_in and command in after):
            await self.say(*_lines(after[command](words)), f"{tag} {self._outcome(command, words)}")
        elif command == IDLES and self._signed_in and self.provider.idles:
            await self._idle(tag)
        else:
            await self.say(f"{tag} BAD {command} is not known here")

    def _outcome(self, command: str, words: list[str]) -> str:
        known = command != "SELECT" or words == ["INBOX"]
        return f"OK {command} completed" if known else "NO [NONEXISTENT] no such mailbox"

    async def _capability(self, tag: str, _: list[str]) -> None:
        encrypted = self.writer.get_extra_info("sslcontext") is not None
        offers = ["IMAP4rev1", *([IDLES] if self.provider.idles else [])]
        offers += ["STARTTLS"] if self.provider.tls is not None and not encrypted else []
        await self.say(f"* CAPABILITY {' '.join(offers)}", f"{tag} OK CAPABILITY completed")

    async def _starttls(self, tag: str, _: list[str]) -> None:
        if self.provider.tls is None:
            await self.say(f"{tag} BAD STARTTLS is not known here")
            return
        await self.say(f"{tag} OK begin now")
        await self.writer.start_tls(self.provider.tls)

    async def _login(self, tag: str, words: list[str]) -> None:
        self._signed_in = bool(self.provider.password) and words == [self.provider.user, self.provider.password]
        await self.say(f"{tag} {'OK welcome' if self._signed_in else 'NO [AUTHENTICATIONFAILED] wrong password'}")

    async def _authenticate(self, tag: str, words: list[str]) -> None:
        if words != ["XOAUTH2"]:
            await self.say(f"{tag} NO [CANNOT] no such mechanism")
            return
        await self.say("+ ")
        self._signed_in = bears(await self.hear(), self.provider)
        if not self._signed_in:
            await self.say(f"+ {CHALLENGE}")
            await self.hear()
        await self.say(f"{tag} {'OK welcome' if self._signed_in else 'NO [AUTHENTICATIONFAILED] invalid token'}")

    def _select(self, words: list[str]) -> list[bytes]:
        if words != ["INBOX"]:
            return []
        self._announced = len(self.provider.mails)
        return [
            f"* {self._announced} EXISTS".encode(),
            b"* FLAGS (\\Seen \\Deleted)",
            b"* OK [UIDVALIDITY 1] valid",
        ]

    def _noop(self, _: list[str]) -> list[bytes]:
        return self._exists()

    def _exists(self) -> list[bytes]:
        count = len(self.provider.mails)
        told = [] if count == self._announced else [f"* {count} EXISTS".encode()]
        self._announced = count
        return told

    def _search(self, words: list[str]) -> list[bytes]:
        """Answer UNSEEN, SINCE and HEADER Message-ID, all of which must hold."""
        found = list(self.provider.mails)
        if "UNSEEN" in words:
            found = [mail for mail in found if "\\Seen" not in mail.flags]
        if "SINCE" in words:
            day = datetime.strptime(words[words.index("SINCE") + 1], "%d-%b-%Y").date()  # noqa: DTZ007 - a bare day
            found = [mail for mail in found if mail.at.date() >= day]
        if "HEADER" in words:
            name, value = words[words.index("HEADER") + 1 : words.index("HEADER") + 3]
            found = [mail for mail in found if value in mail.header(name)]
        return [f"* SEARCH {' '.join(str(mail.uid) for mail in found)}".strip().encode(), *self._exists()]

    def _fetch(self, words: list[str]) -> list[bytes]:
        told: list[bytes] = []
        for number, mail in enumerate(self.provider.mails, 1):
            if str(mail.uid) not in words[0].split(","):
                continue
            items = [b"UID %d" % mail.uid]
            for word in words[1:]:
                items += self._item(mail, word.upper())
            told.append(b"* %d FETCH (" % number + b" ".join(items) + b")")
        return told

    def _item(self, mail: Stored, word: str) -> Sequence[bytes]:
        if word == "RFC822.SIZE":
            return [b"RFC822.SIZE %d" % len(mail.raw)]
        if word == "INTERNALDATE":
            return [f'INTERNALDATE "{mail.at:%d-%b-%Y %H:%M:%S +0000}"'.encode()]
        if word.startswith("BODY.PEEK["):
            section = word[len("BODY.PEEK") :]
            data = mail.raw if section == "[]" else mail.raw.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
            return [b"BODY%s {%d}\r\n%s" % (section.encode(), len(data), data)]
        return []

    def _store(self, words: list[str]) -> list[bytes]:
        for mail in self.provider.mails:
            if str(mail.uid) in words[0].split(","):
                mail.flags |= {word for word in words[2:] if word.startswith("\\")}
        return self._exists()

    async def _idle(self, tag: str) -> None:
        await self.say("+ idling", *self._exists())
        done = asyncio.ensure_future(self.hear())
        self.idling = True
        try:
            while not done.done():
                news = asyncio.ensure_future(self.provider.news())
                await asyncio.wait([done, news], return_when=asyncio.FIRST_COMPLETED)
                news.cancel()
                if not done.done():
                    await self.say(*self._exists())
            done.result()
        finally:
            self.idling = False
            done.cancel()
        await self.say(f"{tag} OK IDLE completed")


def bears(sealed: str, provider: Provider) -> bool:
    """Whether an XOAUTH2 response (developers.google.com/gmail/imap/xoauth2-protocol) bears a living token."""
    said = base64.b64decode(sealed).decode()
    return said in {f"user={provider.user}\1auth=Bearer {token}\1\1" for token in provider.tokens}


def _lines(found: object) -> list[str | bytes]:
    return list(found) if isinstance(found, list) else []  # pyright: ignore[reportUnknownArgumentType]


def _unquoted(found: re.Match[str]) -> str:
    return re.sub(r"\\(.)", r"\1", found[1]) if found[1] is not None else found[0]
