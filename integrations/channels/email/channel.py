"""E-mail's channel: one mailbox of Runbell's own, read by IMAP, answered by SMTP.

A conversation is one thread with one person, `ADDRESS/<root>`: an answer goes to the proven sender alone, never to
Reply-To or to others on the copy. What the thread is called is remembered, and asked of the mailbox where it is not.
"""

import asyncio
import hashlib
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Literal

import dns.exception
import dns.resolver

from integrations.channels import Capabilities, Link, Rate, Receive
from integrations.channels.email import compose, parse
from integrations.channels.email.access import Access, access
from integrations.channels.email.authenticity import Trust, prove
from integrations.channels.email.ignoring import Loops, ignored
from integrations.channels.email.mailbox import SILENCE_SECONDS, Box, Fetched, converse
from integrations.channels.email.quoting import written
from integrations.channels.email.submit import submit
from integrations.channels.email.verify import Lookup
from integrations.channels.lanes import side_by_side
from integrations.channels.link import Keeper
from integrations.errors import InvalidInput, RateLimited, RunbellError, Unauthorized, Unavailable
from integrations.files import FileStore
from integrations.messages import MAX_TEXT, Address, Attachment, Delivery, InboundMessage, OutboundMessage, utc_now
from integrations.settings import Settings
from integrations.settings_channels import Email as Section

logger = logging.getLogger(__name__)
LOOKUP_SECONDS, LATER_SECONDS, DOUBT_SECONDS, REMEMBERED = 10.0, 15.0, 3600.0, 5000
CAPABILITIES = Capabilities(
    dialogue=False,  # Mails are read in hours, a question waits for minutes.
    markdown=True,
    files=True,
    pictures=True,
    threads=True,
    max_text=50_000,
    max_file=15 * 1024 * 1024,
    rates=(Rate(30, 60.0, "app"),),
    push="IMAP IDLE",
)


class Email:
    """One mailbox."""

    name = "email"
    # Many mail programs show a repeated Message-ID once, but not all.
    repeatable = False
    capabilities = CAPABILITIES

    def __init__(
        self,
        reach: Access,
        trust: Trust,
        files: FileStore,
        *,
        tenant: str = "default",
        lookup: Lookup | None = None,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._access = reach
        self._trust = trust
        self._files = files
        self._tenant = tenant
        self._lookup = lookup or text_record
        self._now = now
        self._loops = Loops()
        self._threads: OrderedDict[str, compose.Thread] = OrderedDict()
        self._keeper = Keeper(self.name, silence_s=SILENCE_SECONDS)

    @classmethod
    def of(cls, settings: Settings, section: Section, lookup: Lookup | None = None) -> "Email":
        """Build it; raises Misconfigured where something is blank."""
        trust = Trust(
            section.require_dkim,
            (section.authserv_id or "").strip(),
            frozenset(domain.strip().lower() for domain in section.arc_sealers),
        )
        files = FileStore(settings.state / "files")
        return cls(access(section), trust, files, tenant=settings.tenant, lookup=lookup)

    @property
    def link(self) -> Link:
        """How the IMAP connection is."""
        return self._keeper.link

    async def listen(self, receive: Receive) -> None:
        """Take mails until cancelled."""
        await self._keeper.run(lambda alive: converse(self._access, _Rounds(self, receive), alive))

    async def send(self, message: OutboundMessage) -> Delivery:
        """Send one mail with all its files."""
        thread = await self._thread(message)
        files = [(file, await asyncio.to_thread(self._files.path(file.id).read_bytes)) for file in message.attachments]
        letter = compose.compose(message, thread, self._access.address, files, self._now())
        delivery = await submit(self._access, letter)
        if delivery.state == "sent":
            ids = (*thread.ids, *filter(None, [message.in_reply_to]), letter.message_id)
            self._remember(message.address.conversation, compose.Thread(compose.subject(message, thread), ids))
        return delivery

    async def take(self, several: Sequence[Fetched], receive: Receive, held: set[str]) -> set[int]:
        """Store what mails say, those of one sender in their order; returns the ones that are done with.

        The others wait, or their senders do, who are added to `held`. Raises as `receive` does; what was stored by then
        is found to be known when it is taken again.
        """
        read = await asyncio.gather(*(asyncio.to_thread(self._judged, fetched) for fetched in several))
        done = {fetched.uid for fetched, mail in zip(several, read, strict=True) if mail is None}
        proven = [(fetched, mail) for fetched, mail in zip(several, read, strict=True) if isinstance(mail, parse.Mail)]

        async def keep(one: tuple[Fetched, parse.Mail]) -> None:
            fetched, mail = one
            if mail.sender not in held and await self._keep(mail, fetched, receive, held):
                done.add(fetched.uid)

        await side_by_side(proven, lambda one: one[1].sender, keep)
        return done

    def _judged(self, fetched: Fetched) -> parse.Mail | Literal["later"] | None:
        """Return a mail that may be answered and is proven; None for one that never will be."""
        try:
            return self._read(fetched)
        except (InvalidInput, Unauthorized) as error:
            logger.warning("a mail was left unanswered", extra={"channel": self.name, "why": str(error)})
            return None
        except Unavailable as error:
            # The sender's DNS may be broken for good, and must not stop the mails of others.
            logger.info("a mail can't be proven now", extra={"channel": self.name, "why": str(error)})
            return None if (self._now() - fetched.at).total_seconds() > DOUBT_SECONDS else "later"

    async def _keep(self, mail: parse.Mail, fetched: Fetched, receive: Receive, held: set[str]) -> bool:
        try:
            message = await self._message(mail, fetched)
            if message is not None:
                await receive(message)
        except InvalidInput as error:
            logger.warning("a mail was left unanswered", extra={"channel": self.name, "why": str(error)})
        except RateLimited:
            held.add(mail.sender)
            return False
        return True

    def _read(self, fetched: Fetched) -> parse.Mail:
        """Return a mail that may be answered and is proven; raise InvalidInput or Unauthorized."""
        if fetched.raw is None:
            raise InvalidInput("The mail is larger than 25 MiB.")
        mail = parse.parse(fetched.raw)
        if why := ignored(mail.headers, mail.sender, self._access.address):
            raise InvalidInput(f"It is ignored: {why}.")
        prove(fetched.raw, mail.headers, mail.sender, self._trust, self._lookup)
        return mail

    async def _message(self, mail: parse.Mail, fetched: Fetched) -> InboundMessage | None:
        own_id = mail.message_id or f"<{hashlib.sha256(fetched.raw or b'').hexdigest()[:32]}@unnamed.invalid>"
        if self._loops.many(mail.sender, fetched.at.timestamp(), own_id):
            raise InvalidInput("It is ignored: its sender writes as fast as a machine.")
        kept, refused = await self._stored(mail)
        text = "\n".join(filter(None, [said(mail), *refused]))
        if not text and not kept:
            return None
        root = mail.references[0] if mail.references else own_id
        place = compose.conversation(mail.sender, root, self._access.address)
        self._remember(place, compose.Thread(mail.subject, (*mail.references, own_id)))
        return InboundMessage(
            address=Address(channel=self.name, conversation=place, tenant=self._tenant),
            event_id=own_id,
            account=mail.sender,
            account_name=mail.sender_name,
            text=text[:MAX_TEXT],
            ref=own_id,
            subject=mail.references[-1] if mail.references else None,
            attachments=kept,
            received_at=self._now(),
        )

    async def _stored(self, mail: parse.Mail) -> tuple[tuple[Attachment, ...], list[str]]:
        kept, refused = list[Attachment](), list[str]()
        for file in mail.files:
            try:
                kept.append(
                    await asyncio.to_thread(self._files.put, file.data, name=file.name, media_type=file.media_type)
                )
            except InvalidInput as error:
                refused.append(f"📎 {error}")
        return tuple(kept), refused

    async def _thread(self, message: OutboundMessage) -> compose.Thread:
        """Return what is known of the thread; after a restart the mailbox knows."""
        place = message.address.conversation
        known = self._threads.get(place)
        _, root = compose.parties(place)
        wanted = message.in_reply_to or root
        if known is not None or not wanted.startswith("<"):
            return known or compose.Thread()
        try:
            async with asyncio.timeout(LOOKUP_SECONDS), Box(self._access) as box:
                head = await box.run(lambda: box.head(wanted))
        except (RunbellError, TimeoutError) as error:
            logger.info("a thread could not be looked up", extra={"channel": self.name, "why": str(error)})
            return compose.Thread()
        found = compose.Thread(*parse.headers_of(head)) if head else compose.Thread()
        self._remember(place, found)
        return found

    def _remember(self, place: str, thread: compose.Thread) -> None:
        self._threads[place] = compose.Thread(thread.subject, tuple(dict.fromkeys(thread.ids))[-20:])
        self._threads.move_to_end(place)
        while len(self._threads) > REMEMBERED:
            self._threads.popitem(last=False)


class _Rounds:
    """What is remembered over the rounds of one connection: who has to wait, and which mails could not be taken.

    Both end between rounds only, so that nobody's later mail overtakes an earlier one.
    """

    def __init__(self, channel: Email, receive: Receive) -> None:
        self._channel = channel
        self._receive = receive
        self._held: dict[str, float] = {}
        self._later: dict[int, float] = {}

    def begin(self) -> None:
        """Let those try again who have waited long enough."""
        now = time.monotonic()
        self._held = {sender: at for sender, at in self._held.items() if at > now}
        self._later = {uid: at for uid, at in self._later.items() if at > now}

    def wants(self, uid: int) -> bool:
        """Leave a mail alone that could not be taken a moment ago."""
        return uid not in self._later

    async def take(self, several: Sequence[Fetched]) -> set[int]:
        """Pass mails on."""
        held = set(self._held)
        done = await self._channel.take(several, self._receive, held)
        until = time.monotonic() + LATER_SECONDS
        self._held |= dict.fromkeys(held - set(self._held), until)
        self._later |= {fetched.uid: until for fetched in several if fetched.uid not in done}
        return done


def said(mail: parse.Mail) -> str:
    """Return what a mail says: its own words, under its subject where it begins a thread.

    A new mail whose subject is a command is that command, unless one stands in its text.
    """
    text = written(mail.text, mail.subject)
    if mail.references or text.startswith("/"):
        return text or mail.subject
    return mail.subject if mail.subject.startswith("/") else "\n\n".join(filter(None, [mail.subject, text]))


def text_record(name: str) -> bytes | None:
    """Return the TXT record of a name; None where there is none. Blocks for three seconds at most.

    Raises Unavailable where the DNS does not answer: a mail must not be taken for forged because of that.
    """
    try:
        answer = dns.resolver.resolve(name, "TXT", lifetime=3.0, search=False)
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer, dns.exception.SyntaxError, UnicodeError):
        return None
    except dns.exception.DNSException as error:
        raise Unavailable(f"The DNS does not answer ({type(error).__name__}).", after=30.0) from None
    return b"".join(next(iter(answer)).strings)
