"""Mails in: one IMAP connection (imapclient, which blocks, in a thread of its own) that waits in IDLE, or polls.

Unread mails are taken in order of arrival and marked as read once they are stored; so the mailbox itself is the queue,
and whatever ends in between is met again. IDLE (RFC 2177) is renewed long before servers and middle boxes give it up,
and every renewal looks for mails too. What arrives between a search and IDLE is announced as IDLE begins.
"""

import asyncio
import imaplib
import logging
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import Any, Protocol, Self, TypeVar

from imapclient import IMAPClient, SocketTimeout
from imapclient.exceptions import CapabilityError, IMAPClientError, LoginError

from integrations.channels.email.access import Access
from integrations.channels.link import Alive
from integrations.errors import Misconfigured, RunbellError, TemporaryError, Unavailable

logger = logging.getLogger(__name__)
logging.getLogger("imapclient").setLevel(logging.WARNING)  # At DEBUG it logs what people say.
IDLE_SECONDS, POLL_SECONDS, LEFT_SECONDS = 120.0, 20.0, 5.0
SILENCE_SECONDS = IDLE_SECONDS + 90.0
CONNECT_SECONDS, READ_SECONDS = 15.0, 60.0
MAX_MAIL, OLDEST_DAYS, AT_ONCE = 25 * 1024 * 1024, 14, 200
_HEADERS = b"BODY[HEADER]"
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Fetched:
    """A mail as it lies on the server, and when it came; `raw` is None where it is too large to be read."""

    uid: int
    raw: bytes | None
    at: datetime


class Taker(Protocol):
    """What becomes of mails."""

    def begin(self) -> None:
        """Hear that a round through the unread mails begins."""
        ...

    def wants(self, uid: int) -> bool:
        """Say whether an unread mail is to be read in this round."""
        ...

    async def take(self, several: Sequence[Fetched]) -> set[int]:
        """Store mails; returns those that are done with, the others stay unread. TemporaryError ends this round."""
        ...


async def converse(access: Access, taker: Taker, alive: Alive) -> None:
    """Hold one connection until it ends; raises Misconfigured where it is refused for good, Unavailable otherwise."""
    async with Box(access) as box:
        alive()
        while True:
            after = await _round(box, taker, alive)
            if after is None and box.idles:
                await box.run(lambda: box.wait(IDLE_SECONDS))
            else:
                await asyncio.sleep(POLL_SECONDS if after is None else min(after, POLL_SECONDS))
                await box.run(box.client.noop)
            alive()


async def _round(box: "Box", taker: Taker, alive: Alive) -> float | None:
    """Take what is unread; returns None when all is done, or after how many seconds to try the rest again.

    It ends with a search that finds nothing new: what arrives before that may be announced to other commands than IDLE.
    """
    taker.begin()
    met = set[int]()
    while True:
        unread = await box.run(box.unread)
        wanted = [uid for uid in unread if uid not in met and taker.wants(uid)]
        if not wanted:
            return LEFT_SECONDS if any(not taker.wants(uid) for uid in unread) else None
        found, rest = await box.run(lambda wanted=wanted: box.fetch(wanted))
        met.update(wanted[: len(wanted) - len(rest)])
        alive()
        try:
            done = await taker.take(found)
        except TemporaryError as error:
            logger.warning("mails wait in their mailbox", extra={"channel": "email", "why": str(error)})
            return error.after
        if done:
            await box.run(lambda done=done: box.seen(sorted(done)))


class Box:
    """One connection and its thread; ending it ends whatever its thread waits for."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="imap")
        self._client: IMAPClient | None = None
        self.idles = False

    @property
    def client(self) -> Any:  # noqa: ANN401 - imapclient is not typed
        """The connection."""
        if self._client is None:
            raise Unavailable("There is no connection to the IMAP server.")
        return self._client

    async def __aenter__(self) -> Self:
        try:
            secret = await self._access.secret()
            await self.run(lambda: self._open(secret))
        except BaseException:
            self._end()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self._end()

    async def run(self, work: Callable[[], Result]) -> Result:
        """Do something that blocks; errors come in our words, without anything that the server was told."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except RunbellError:
            raise
        except ssl.SSLCertVerificationError as error:
            raise Misconfigured(f"The IMAP server's certificate is not trusted: {error.verify_message}.") from None
        except LoginError as error:
            raise _refused(str(error), token=self._access.oauth is not None) from None
        except CapabilityError:
            raise Misconfigured(
                "The IMAP server offers no STARTTLS: set encryption and imap_port as it wants."
            ) from None
        except (imaplib.IMAP4.error, OSError, ValueError) as error:
            raise Unavailable(f"The IMAP connection ended ({type(error).__name__}).") from None

    def unread(self) -> list[int]:
        """Return the unread mails of the last two weeks, in order of arrival."""
        since = (datetime.now(UTC) - timedelta(days=OLDEST_DAYS)).date()
        return sorted(self.client.search(["UNSEEN", "SINCE", since]))

    def fetch(self, uids: Sequence[int]) -> tuple[list[Fetched], Sequence[int]]:
        """Return the first mails without marking them as read, as many as are not too much at once, and the rest.

        Those that are gone are left out. Several at once: each asking takes as long as the way to the server and back.
        """
        heads = self.client.fetch(uids[:AT_ONCE], ["RFC822.SIZE", "INTERNALDATE"])
        sizes = [int(heads[uid][b"RFC822.SIZE"]) if uid in heads else 0 for uid in uids[:AT_ONCE]]
        sizes = [size if size <= MAX_MAIL else 0 for size in sizes]
        count = max(1, sum(total <= MAX_MAIL for total in accumulate(sizes)))
        there = [uid for uid in uids[:count] if uid in heads]
        wanted = [uid for uid in there if int(heads[uid][b"RFC822.SIZE"]) <= MAX_MAIL]
        bodies = self.client.fetch(wanted, ["BODY.PEEK[]"]) if wanted else {}
        found = [_fetched(uid, heads[uid], bodies.get(uid, {})) for uid in there if uid not in wanted or uid in bodies]
        return found, uids[count:]

    def seen(self, uids: Sequence[int]) -> None:
        """Mark mails as read."""
        self.client.add_flags(uids, [b"\\Seen"], silent=True)

    def head(self, message_id: str) -> bytes:
        """Return the headers of the mail with this id; none where there is no such mail."""
        found = sorted(self.client.search(["HEADER", "Message-ID", message_id]))
        if not found:
            return b""
        return bytes(self.client.fetch(found[-1:], ["BODY.PEEK[HEADER]"])[found[-1]].get(_HEADERS, b""))

    def wait(self, seconds: float) -> None:
        """Return when something happens in the mailbox, or after some seconds; the server answers either way."""
        self.client.idle()
        if not self._announced():
            self.client.idle_check(timeout=seconds)
        self.client.idle_done()

    def _announced(self) -> bool:
        """Whether news came together with the leave to wait: idle_check looks at the socket, not at what is read."""
        connection = self.client.socket()
        connection.settimeout(0)
        try:
            # imaplib's reader, for which neither it nor imapclient has a public name.
            return bool(self.client._imap.file.peek(1))  # noqa: SLF001
        finally:
            connection.settimeout(READ_SECONDS)

    def _open(self, secret: str) -> None:
        server = self._access.imap
        tls = self._access.tls()
        client = IMAPClient(
            server.host,
            port=server.port,
            ssl=server.encryption == "tls",
            ssl_context=tls if server.encryption == "tls" else None,
            timeout=SocketTimeout(CONNECT_SECONDS, READ_SECONDS),  # pyright: ignore[reportArgumentType] - as documented
        )
        self._client = client
        if server.encryption == "starttls":
            client.starttls(tls)
        self._sign_in(client, secret)
        self.idles = client.has_capability("IDLE")
        try:
            client.select_folder(self._access.mailbox)
        except IMAPClientError as error:
            if isinstance(error, imaplib.IMAP4.abort):
                raise
            raise Misconfigured(f"There is no mailbox {self._access.mailbox!r}: set channels.email.mailbox.") from None

    def _sign_in(self, client: IMAPClient, secret: str) -> None:
        if self._access.oauth is None:
            client.login(self._access.user, secret)
            return
        try:
            client.oauth2_login(self._access.user, secret)
        except LoginError:
            self._access.refused(secret)
            raise

    def _end(self) -> None:
        """Break the connection, which wakes its thread, and let that close it: closing waits for whoever reads."""
        client = self._client
        if client is not None:
            try:
                client.socket().shutdown(socket.SHUT_RDWR)
            except OSError:
                logger.debug("the IMAP connection had ended before")
            self._threads.submit(_close, client)
        self._threads.shutdown(wait=False)


def _fetched(uid: int, head: Mapping[bytes, Any], body: Mapping[bytes, Any]) -> Fetched:
    at = head.get(b"INTERNALDATE") or datetime.now()  # noqa: DTZ005 - imapclient gives local time without a zone
    raw = body.get(b"BODY[]")
    return Fetched(uid, None if raw is None else bytes(raw), at.astimezone(UTC))


def _close(client: IMAPClient) -> None:
    try:
        client.shutdown()
    except OSError:
        logger.debug("the IMAP connection had ended before")


def _refused(said: str, *, token: bool) -> RunbellError:
    if "UNAVAILABLE" in said or "INUSE" in said or "LIMIT" in said:
        return Unavailable("The IMAP server lets nobody in for now.", after=30.0)
    if token:
        return Misconfigured(
            "The IMAP server refuses the token: the application needs the right to this mailbox; look at oauth_scope."
        )
    return Misconfigured(
        "The IMAP server refuses user and password: many providers want an app password, and IMAP switched on."
    )
