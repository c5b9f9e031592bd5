"""How the mail servers are reached: hosts, TLS and sign-in, from the settings; refused where they would be unsafe."""

import ipaddress
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from integrations.channels.email.oauth import Oauth
from integrations.errors import Misconfigured
from integrations.security import secrets
from integrations.settings_channels import Email as Section

SMTPS_PORT = 465
Encryption = Literal["tls", "starttls", "none"]
_NEEDED = ("address", "imap_host", "smtp_host")


@dataclass(frozen=True, slots=True)
class Server:
    """One mail server."""

    host: str
    port: int
    encryption: Encryption


@dataclass(frozen=True, slots=True)
class Access:
    """Both servers and the account that both know."""

    address: str
    user: str
    password: str = field(repr=False)
    oauth: Oauth | None
    imap: Server
    smtp: Server
    ca_file: Path | None = None
    mailbox: str = "INBOX"

    async def secret(self) -> str:
        """Return the password, or a token where there is none; raises as `Oauth.token` does."""
        return self.password if self.oauth is None else await self.oauth.token()

    def refused(self, secret: str) -> None:
        """Hear that a server did not take it."""
        if self.oauth is not None:
            self.oauth.forget(secret)

    def tls(self) -> ssl.SSLContext:
        """Return what checks certificates: the system's authorities, or the one of the settings."""
        try:
            return ssl.create_default_context(cafile=str(self.ca_file) if self.ca_file else None)
        except (OSError, ssl.SSLError) as error:
            raise Misconfigured(f"channels.email.ca_file can't be read ({type(error).__name__}).") from error


def access(section: Section) -> Access:
    """Read the settings; raises Misconfigured for what is blank, and for a password in the clear to another machine."""
    user = section.address if section.user is None else section.user
    for name, value in (("user", user), *((name, getattr(section, name)) for name in _NEEDED)):
        if not (value or "").strip():
            raise Misconfigured(f"channels.email.{name} is missing.")
    address = (section.address or "").strip()
    if "@" not in address or not address.isascii() or not address.isprintable():
        raise Misconfigured("channels.email.address must be an e-mail address.")
    imap = Server((section.imap_host or "").strip(), section.imap_port, section.encryption)
    outgoing: Encryption = section.smtp_encryption or ("tls" if section.smtp_port == SMTPS_PORT else "starttls")
    smtp = Server(
        (section.smtp_host or "").strip(),
        section.smtp_port,
        outgoing if section.encryption != "none" else "none",
    )
    if section.encryption == "none" and not (_here(imap.host) and _here(smtp.host)):
        raise Misconfigured('channels.email: encryption = "none" is for servers on this machine only.')
    oauth = Oauth.of(section) if section.sign_in == "oauth" else None
    return Access(
        address=address,
        user=(user or "").strip(),
        password="" if oauth else secrets.resolve(section.password, name="channels.email.password").get_secret_value(),
        oauth=oauth,
        imap=imap,
        smtp=smtp,
        ca_file=section.ca_file,
        mailbox=section.mailbox,
    )


def _here(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
