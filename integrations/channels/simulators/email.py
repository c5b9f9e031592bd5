"""Simulated e-mail: a provider with one mailbox (IMAP and SMTP, real protocols), and people who write to it.

People's mails are signed by DKIM with a key that `lookup` knows; pass it to the channel instead of the DNS:
`Email.of(settings, section, lookup=mail.lookup)`. Operations for `fail` and `calls`: IMAP commands as they are
("LOGIN", "UID FETCH", …), SMTP's as "SMTP MAIL", "SMTP RCPT", "SMTP CONTENT" (after the text came), …; a fault's body
is the answer behind the tag or the code. `idles`, `mute` and `unknown` (addresses that nobody has) are switches.
"""

import asyncio
import base64
import functools
import ipaddress
import itertools
import re
import ssl
import tempfile
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import SMTP, default
from email.utils import format_datetime
from pathlib import Path
from typing import Any, Self, cast

import dkim
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import NameOID

from integrations.channels.simulators.base import Fault, Recorded, Simulator
from integrations.channels.simulators.email_servers import MAX_LINE, Connection, Imap, Stored
from integrations.channels.simulators.email_submission import Smtp
from integrations.settings_channels import Email

SELECTOR, CLIENT = "key1", "client-1"


class SimulatedEmail(Simulator):
    """One provider, one mailbox, and everybody else."""

    def __init__(self) -> None:
        super().__init__()
        self.address, self.user, self.password = "bell@runbell.test", "bell", "m4il p@ss"
        self.client_secret, self.refresh_token, self.token_seconds = "client-s3cret", "refresh-t0ken", 3600
        self.tokens: set[str] = set()
        self.idles, self.mute = True, False
        self.mails: list[Stored] = []
        self.sent: list[EmailMessage] = []
        self.unknown: set[str] = set()
        self.tls: ssl.SSLContext | None = None
        self.imap_port = self.smtp_port = 0
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._servers: list[asyncio.Server] = []
        self._open: set[Connection] = set()
        self._numbers = itertools.count(1)
        self._news = asyncio.Event()

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        self.imap_port = await self._serve(Imap)
        self.smtp_port = await self._serve(Smtp)
        return self

    async def __aexit__(self, *_: object) -> None:
        for server in self._servers:
            server.close()
        await self.cut()
        await super().__aexit__()
        if self._folder is not None:
            self._folder.cleanup()

    def settings(self, encryption: str = "none", **more: object) -> Email:
        """Return the section that connects to this mailbox; with `starttls` after `secure`, `tls` after `encrypt`."""
        if encryption == "tls":
            more = {"smtp_encryption": "tls", **more}
        return Email.model_validate(
            {
                "address": self.address,
                "user": self.user,
                "password": self.password,
                "imap_host": "127.0.0.1",
                "imap_port": self.imap_port,
                "smtp_host": "127.0.0.1",
                "smtp_port": self.smtp_port,
                "encryption": encryption,
                **more,
            }
        )

    def oauth(self, **more: object) -> Email:
        """Return the section that signs in by tokens, as the client itself; passwords are refused from now on."""
        self.password = ""
        grant = {"sign_in": "oauth", "oauth_token_url": f"{self.url}/token", "oauth_client_id": CLIENT}
        grant |= {"oauth_client_secret": self.client_secret, "oauth_scope": "mail"}
        return self.settings().model_copy(update={**grant, **more})

    def routes(self) -> Iterable[web.RouteDef]:
        """Return the token server; all else of e-mail is not HTTP."""
        return [web.post("/token", self._token)]

    async def _token(self, request: web.Request) -> web.StreamResponse:
        said = dict(await request.post())
        await self.meet(request, "token", {"grant_type": said.get("grant_type"), "scope": said.get("scope")})
        if (said.get("client_id"), said.get("client_secret")) != (CLIENT, self.client_secret):
            return web.json_response({"error": "invalid_client"}, status=401)
        if said.get("grant_type") == "refresh_token" and said.get("refresh_token") != self.refresh_token:
            return web.json_response({"error": "invalid_grant"}, status=400)
        token = f"token-{next(self._numbers)}"
        self.tokens.add(token)
        return web.json_response({"access_token": token, "token_type": "Bearer", "expires_in": self.token_seconds})

    def secure(self) -> Path:
        """Offer STARTTLS from now on; returns the file of the authority that signs for 127.0.0.1."""
        self._folder = self._folder or tempfile.TemporaryDirectory()
        certificate, key = Path(self._folder.name, "ca.pem"), Path(self._folder.name, "key.pem")
        certificate.write_bytes(_certificate())
        key.write_bytes(_key().private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()))
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(certificate, key)
        return certificate

    async def encrypt(self) -> Path:
        """Take connections that begin with TLS only (IMAPS, SMTPS), at new ports; returns the authority's file."""
        authority = self.secure()
        self.imap_port = await self._serve(Imap, self.tls)
        self.smtp_port = await self._serve(Smtp, self.tls)
        return authority

    def lookup(self, name: str) -> bytes | None:
        """Return the DNS's TXT record for the keys of all senders here."""
        if not name.startswith(f"{SELECTOR}._domainkey."):
            return None
        public = _key().public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return b"v=DKIM1; k=rsa; p=" + base64.b64encode(public)

    async def write(
        self,
        text: str,
        sender: str = "Lin <lin@people.test>",
        *,
        subject: str = "",
        answers: EmailMessage | None = None,
        files: Iterable[tuple[str, bytes, str]] = (),
        headers: Mapping[str, str] | None = None,
        signed: bool = True,
    ) -> str:
        """Let somebody write to the mailbox, or answer a mail of ours as mail programs do; returns the Message-ID."""
        mail = EmailMessage(policy=SMTP)
        mail["From"], mail["To"] = sender, self.address
        mail["Date"] = format_datetime(datetime.now(UTC))
        mail["Message-ID"] = f"<{next(self._numbers)}.{id(self)}@people.test>"
        mail["Subject"] = f"Re: {answers['Subject']}" if answers is not None else subject
        if answers is not None:
            mail["In-Reply-To"] = answers["Message-ID"]
            mail["References"] = f"{answers.get('References', '')} {answers['Message-ID']}".strip()
            text += "\n\nOn Mon, 23 Nov 2026 at 10:00, Runbell <bell@runbell.test> wrote:\n> " + "\n> ".join(
                body_of(answers).split("\n")
            )
        for name, value in (headers or {}).items():
            del mail[name]
            mail[name] = value
        mail.set_content(text)
        for name, data, kind in files:
            main, _, sub = kind.partition("/")
            mail.add_attachment(data, maintype=main, subtype=sub, filename=name)
        await self.deliver(self.signed(mail) if signed else mail.as_bytes())
        return str(mail["Message-ID"])

    def signed(self, mail: EmailMessage) -> bytes:
        """Return a mail's bytes with the signature of its sender's domain."""
        raw, domain = mail.as_bytes(), mail["From"].addresses[0].domain
        key = _key().private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
        names = [b"from", b"to", b"subject", b"date", b"message-id", b"in-reply-to", b"references"]
        return dkim.sign(raw, SELECTOR.encode(), domain.encode(), key, include_headers=names) + raw

    async def deliver(self, raw: bytes, at: datetime | None = None) -> None:
        """Put a mail into the mailbox, as the switches say."""

        async def once() -> None:
            self.mails.append(Stored(next(self._numbers), raw, at or datetime.now(UTC)))
            self._news.set()
            self._news.clear()
            self.changed()

        await self.switches.deliver(once)

    def texts(self, receiver: str = "") -> list[str]:
        """Return the text parts of what was sent, in order."""
        return [body_of(mail) for mail in self.sent if receiver in mail["To"]]

    @property
    def unread(self) -> list[Stored]:
        """The mails that nobody has taken."""
        return [mail for mail in self.mails if "\\Seen" not in mail.flags]

    @property
    def idling(self) -> int:
        """How many clients wait for news."""
        return sum(isinstance(one, Imap) and one.idling for one in self._open)

    async def cut(self) -> int:
        """Break all connections without a word; returns how many there were."""
        count = len(self._open)
        for connection in list(self._open):
            connection.abort()
        return count + await super().cut()

    def fault(self, operation: str) -> Fault | None:
        """Return how the next call of an operation ends badly, if so: as told by `fail`, or beyond its limit."""
        if self._faults[operation]:
            return self._faults[operation].popleft()
        limit = self.limits.get(operation)
        if limit is not None and limit.spend() > 0:
            return Fault(451, "4.7.1 Too many mails, try again later")
        return None

    def note(self, operation: str, said: str) -> None:
        """Record what a client asked."""
        self.calls.append(Recorded(operation, {"said": said}, asyncio.get_running_loop().time()))
        self.changed()

    async def news(self) -> None:
        """Return when something arrived."""
        await self._news.wait()

    def arrived(self, sender: str, receiver: str, data: bytes) -> str:
        """Take a mail of ours in; returns the refusal that real servers would give."""
        mail = cast("EmailMessage", BytesParser(policy=cast("Any", default)).parsebytes(data))
        if sender != self.address:
            return "553 5.7.1 Sender address rejected: not owned by user"
        if receiver in self.unknown:
            return "550 5.1.1 no such user"
        if any(len(mail.get_all(name, [])) != 1 for name in ("From", "To", "Date", "Message-ID", "Subject")):
            return "550 5.6.0 headers are missing or doubled"
        if any(len(line) > 998 for line in data.split(b"\r\n")) or re.search(rb"(?<!\r)\n|\r(?!\n)", data):
            return "550 5.6.0 lines are malformed"
        self.sent.append(mail)
        self.changed()
        return ""

    async def _serve(self, kind: type[Imap] | type[Smtp], tls: ssl.SSLContext | None = None) -> int:
        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connection = kind(reader, writer, self)
            self._open.add(connection)
            self.changed()
            try:
                await connection.run()
            except (EOFError, ConnectionError, ssl.SSLError):
                connection.abort()
            finally:
                self._open.discard(connection)
                writer.close()
                self.changed()

        server = await asyncio.start_server(accept, "127.0.0.1", 0, limit=MAX_LINE, ssl=tls)
        self._servers.append(server)
        return int(server.sockets[0].getsockname()[1])


def body_of(mail: EmailMessage) -> str:
    """Return the text part of a mail."""
    part = mail.get_body(("plain",))
    return str(part.get_content()).strip().replace("\r\n", "\n") if part is not None else ""


@functools.cache
def _key() -> RSAPrivateKey:
    return generate_private_key(65537, 2048)


@functools.cache
def _certificate() -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "simulated mail")])
    now = datetime.now(UTC)
    here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(_key().public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(days=1))
    builder = builder.not_valid_after(now + timedelta(days=30)).add_extension(here, critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    return builder.sign(_key(), hashes.SHA256()).public_bytes(Encoding.PEM)
