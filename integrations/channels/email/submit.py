"""Mails out: one SMTP submission per mail (aiosmtplib), its outcome in our words.

Until the text is on its way nothing was delivered for sure. A connection that ends after that leaves it unknown: the
server may have accepted the mail before. 4xx answers, greylisting above all, mean later; 5xx mean never.
"""

import ssl

from aiosmtplib import (
    SMTP,
    SMTPAuthenticationError,
    SMTPDataError,
    SMTPException,
    SMTPNotSupported,
    SMTPResponseException,
    SMTPServerDisconnected,
    SMTPTimeoutError,
)

from integrations.channels.email.access import Access
from integrations.channels.email.compose import Letter
from integrations.errors import Misconfigured, RateLimited, Rejected, RunbellError, Unavailable
from integrations.messages import Delivery

TIMEOUT_SECONDS = 30.0
GREYLIST_SECONDS = 60.0


async def submit(access: Access, letter: Letter) -> Delivery:
    """Hand a mail to the server; raises as `Channel.send` does."""
    smtp = await connect(access)
    try:
        await _envelope(smtp, access.address, letter.receiver)
        return await _content(smtp, letter)
    finally:
        smtp.close()


async def connect(access: Access) -> SMTP:
    """Return a connection that is signed in; the caller closes it."""
    server, secret = access.smtp, await access.secret()
    smtp = SMTP(
        hostname=server.host,
        port=server.port,
        timeout=TIMEOUT_SECONDS,
        use_tls=server.encryption == "tls",
        start_tls=server.encryption == "starttls",
        tls_context=access.tls() if server.encryption != "none" else None,
        local_hostname="localhost",
    )
    try:
        await smtp.connect()
        await _sign_in(smtp, access, secret)
    except (SMTPException, OSError) as error:
        smtp.close()
        raise _unconnected(error) from None
    return smtp


async def _sign_in(smtp: SMTP, access: Access, secret: str) -> None:
    if access.oauth is None:
        await smtp.login(access.user, secret)
        return
    try:
        await smtp.auth_xoauth2(access.user, secret)
    except SMTPAuthenticationError:
        access.refused(secret)
        raise


async def probe(access: Access) -> None:
    """Ask whether the account may send as its address, sending nothing; raises where it may not."""
    smtp = await connect(access)
    try:
        await smtp.mail(access.address)
        await smtp.rset()
    except SMTPResponseException as error:
        raise _refused(error.code, error.message) from None
    except (SMTPException, OSError) as error:
        raise _unconnected(error) from None
    finally:
        smtp.close()


async def _envelope(smtp: SMTP, sender: str, receiver: str) -> None:
    try:
        await smtp.mail(sender)
        await smtp.rcpt(receiver)
    except SMTPResponseException as error:
        raise _refused(error.code, error.message) from None
    except (SMTPException, OSError) as error:
        raise Unavailable(f"The SMTP connection ended ({type(error).__name__}).") from None


async def _content(smtp: SMTP, letter: Letter) -> Delivery:
    try:
        await smtp.data(letter.data)
    except SMTPDataError as error:
        raise _refused(error.code, error.message) from None
    except (SMTPServerDisconnected, SMTPTimeoutError, SMTPException, OSError) as error:
        told = f"The connection ended ({type(error).__name__}) before the server confirmed {letter.message_id}."
        return Delivery(state="unknown", platform_id=letter.message_id, error=told)
    return Delivery(state="sent", platform_id=letter.message_id)


def _refused(code: int, said: str) -> RunbellError:
    text = f"The mail server answered {code}: {' '.join(said.split())[:200]}"
    if code in (530, 535):
        return Misconfigured(f"{text}. Look at user, password and smtp_port.")
    return RateLimited(text, after=GREYLIST_SECONDS) if 400 <= code < 500 else Rejected(text)


def _unconnected(error: Exception) -> RunbellError:
    cause = error.__cause__
    if isinstance(error, ssl.SSLCertVerificationError) or isinstance(cause, ssl.SSLCertVerificationError):
        return Misconfigured("The SMTP server's certificate is not trusted: see channels.email.ca_file.")
    if isinstance(error, SMTPAuthenticationError):
        if 400 <= error.code < 500:
            return Unavailable(f"The SMTP server lets nobody in for now ({error.code}).", after=30.0)
        return Misconfigured(f"The SMTP server refuses user and password, or the token ({error.code}).")
    if isinstance(error, SMTPNotSupported):
        return Misconfigured("The SMTP server offers no STARTTLS or no sign-in at this port: set smtp_port.")
    if isinstance(error, SMTPResponseException):
        refused = _refused(error.code, "")
        return refused if isinstance(refused, RateLimited) else Unavailable(str(refused), after=30.0)
    return Unavailable(f"The SMTP server can't be reached ({type(error).__name__}).")
