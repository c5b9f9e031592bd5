"""WeCom's intelligent robot: spoken to alone or mentioned in groups, over its long connection.

What answers a message that came over the present connection is a stream under its request id; everything else is
sent by `aibot_send_msg`, files above all (`robot_files.py`). Neither has a key against sending twice, so what is
unclear stays unknown. Limits of 30 messages a minute and 1000 an hour per conversation, and 20 480 bytes of text, are
the app's and the callback robot's, taken to hold here [U].
"""

import asyncio
import logging
from collections import OrderedDict
from typing import Any

import httpx

from integrations.channels import Capabilities, Link, Rate, Receive, Stream, addresses, http
from integrations.channels.buttons import Buttons
from integrations.channels.http import Lost
from integrations.channels.link import Keeper
from integrations.channels.members import Json
from integrations.channels.wecom import cards, robot_events
from integrations.channels.wecom.robot_files import WithFiles
from integrations.channels.wecom.robot_socket import SILENCE_SECONDS, Account, Line, converse
from integrations.channels.wecom.robot_stream import RobotStream, frame
from integrations.channels.wecom.verify import decrypt_file
from integrations.errors import (
    Forbidden,
    InvalidInput,
    Rejected,
    RunbellError,
    TemporaryError,
    Unauthorized,
    Unavailable,
)
from integrations.files import MAX_BYTES, FileStore
from integrations.messages import Attachment, Choice, Delivery, InboundMessage, OutboundMessage, utc_now
from integrations.security import secrets
from integrations.settings import Settings
from integrations.settings_channels import WeCom as Section

logger = logging.getLogger(__name__)
FILE_HOSTS = (".myqcloud.com", ".work.weixin.qq.com", ".qpic.cn")
ANSWER_SECONDS, PATIENCE_SECONDS, RETRY_SECONDS, REMEMBERED = 330.0, 60.0, 2.0, 5000
WELCOME = "👋 /help"
SIGNATURES = ((b"\x89PNG", ".png"), (b"\xff\xd8\xff", ".jpg"), (b"GIF8", ".gif"), (b"%PDF", ".pdf"))
CAPABILITIES = Capabilities(
    markdown=True,
    buttons=cards.MAX_BUTTONS,
    cards=True,
    files=True,
    pictures=True,
    max_file=MAX_BYTES,
    streaming="native",
    max_text=20_000,
    unit="bytes",
    button_bytes=1024,
    edit_interval_s=2.0,
    rates=(Rate(30, 60.0), Rate(1000, 3600.0)),
    push="long connection",
)


class Robot:
    """One robot."""

    name = robot_events.CHANNEL
    repeatable = False
    capabilities = CAPABILITIES

    def __init__(self, section: Section, secret: str, buttons: Buttons, files: FileStore, tenant: str) -> None:
        self._account = Account(section.socket_url, (section.bot_id or "").strip(), secret)
        self._buttons = buttons
        self._files = files
        self._tenant = tenant
        self._http = http.client()
        self._line: Line | None = None
        self._asked: OrderedDict[str, tuple[Line, str, float]] = OrderedDict()
        self._cards: OrderedDict[str, Json] = OrderedDict()
        self._keeper = Keeper(self.name, silence_s=SILENCE_SECONDS)

    @classmethod
    def of(cls, settings: Settings, section: Section) -> "Robot":
        """Build it; raises Misconfigured where the secret is blank."""
        secret = secrets.resolve(section.bot_secret, name="channels.wecom.bot_secret").get_secret_value()
        return cls(section, secret, Buttons.of(settings), FileStore(settings.state / "files"), settings.tenant)

    @property
    def link(self) -> Link:
        """How the connection is."""
        return self._keeper.link

    async def listen(self, receive: Receive) -> None:
        """Hold the connection for ever."""

        async def handle(line: Line, request: str, body: Json) -> None:
            await self.hear(line, request, body, receive)

        await self._keeper.run(lambda alive: converse(self._account, self._begin, handle, alive))

    async def aclose(self) -> None:
        """Close the connections to WeCom."""
        await self._http.aclose()

    async def hear(self, line: Line, request: str, body: Json, receive: Receive) -> None:
        """Store what a callback says, and answer what wants that at once; raises Unavailable where we are displaced."""
        try:
            found = robot_events.read(body, self._tenant, utc_now())
            if isinstance(found, robot_events.Said):
                self._remember(found.message.event_id, line, request)
                await self._patiently(await self._with_files(found), receive)
            elif isinstance(found, robot_events.Press):
                await self._pressed(found, line, request, receive)
            elif isinstance(found, robot_events.Entered):
                welcome = {"msgtype": "text", "text": {"content": WELCOME}}
                await self._answer(line, "aibot_respond_welcome_msg", welcome, request)
        except (InvalidInput, ValueError) as error:
            logger.warning("a callback was ignored", extra={"channel": self.name, "error": type(error).__name__})
            return
        if isinstance(found, robot_events.Displaced):
            raise Unavailable("Another connection of this robot has taken its place: only one may be open.", after=30.0)

    async def send(self, message: OutboundMessage) -> Delivery:
        """Answer the message that asked, where its connection still stands, or send a message by itself."""
        return await self._answer_to(message).finish(message)

    async def open_stream(self, message: OutboundMessage) -> Stream:
        """Begin an answer; where nothing came over this connection that it answers, it is shown at its end."""
        return self._answer_to(message)

    async def take_over(self, handle: str, message: OutboundMessage) -> Delivery:
        """Refuse: a stream ends with its connection."""
        raise Rejected(f"The stream {handle} to {message.address.conversation} has ended with its connection.")

    def _answer_to(self, message: OutboundMessage) -> WithFiles:
        line, request = self._live(message)
        return WithFiles(RobotStream(line, request, self._send, self._build), self._present, self._files)

    def _present(self) -> Line:
        if self._line is None or not self._line.open:
            raise Unavailable("The robot's connection is not there.", after=1.0)
        return self._line

    async def _send(self, message: OutboundMessage) -> Delivery:
        line, done = self._present(), 0
        try:
            for body in self._bodies(message):
                await line.call("aibot_send_msg", {"chatid": message.address.conversation, **body})
                done += 1
        except Lost as error:
            return Delivery(state="unknown", error=str(error))
        except RunbellError as error:
            if not done:
                raise
            return Delivery(state="unknown", error=f"The text arrived, its card did not: {error}")
        return Delivery(state="sent")

    def _bodies(self, message: OutboundMessage) -> list[dict[str, Any]]:
        """Return a text as Markdown and a card after it, as the app has them."""
        found = cards.bodies(message, lambda choice: self._seal(choice, message))
        for body in found:
            if body["msgtype"] == "template_card":
                self._keep(body["template_card"])
        return [
            {"msgtype": "markdown", "markdown": body["text"]} if body["msgtype"] == "text" else body for body in found
        ]

    def _build(self, message: OutboundMessage, stream_id: str) -> dict[str, Any]:
        """Return the body that answers a message: a stream that is finished, a card, or both."""
        bodies = self._bodies(message)
        card = next((body["template_card"] for body in bodies if body["msgtype"] == "template_card"), None)
        said = next((body["markdown"]["content"] for body in bodies if body["msgtype"] == "markdown"), "")
        if card is not None and not said:
            return {"msgtype": "template_card", "template_card": card}
        return frame(stream_id, said, finish=True, card=card)

    def _seal(self, choice: Choice, message: OutboundMessage) -> str:
        return self._buttons.seal(choice.text, message.address, account=message.asked)

    async def _pressed(self, press: robot_events.Press, line: Line, request: str, receive: Receive) -> None:
        """Store what a button says; the card then shows that it was pressed, or that it no longer counts."""
        message = press.message
        try:
            said = self._buttons.open(press.token, message.address, message.account)
        except (Unauthorized, Forbidden) as error:
            logger.info("a button was refused", extra={"channel": self.name, "error": str(error)})
            label = "已失效 · ended"
        else:
            await self._patiently(message.model_copy(update={"text": said}), receive)
            label = "✓"
        card = self._cards.get(message.subject or "")
        if card is not None:
            shown = {**card, "button_list": [{"text": label, "style": 2, "key": press.token}]}
            update = {"response_type": "update_template_card", "template_card": shown}
            await self._answer(line, "aibot_respond_update_msg", update, request)

    async def _answer(self, line: Line, command: str, body: dict[str, Any], request: str) -> None:
        """Say something that is only courtesy."""
        try:
            await line.call(command, body, request)
        except (RunbellError, Lost) as error:
            logger.info("a callback could not be answered", extra={"channel": self.name, "error": str(error)})

    async def _patiently(self, message: InboundMessage, receive: Receive) -> None:
        """Receive a message, again and again for a minute: WeCom may not bring it a second time."""
        end = asyncio.get_running_loop().time() + PATIENCE_SECONDS
        while True:
            try:
                await receive(message)
            except TemporaryError as error:
                if asyncio.get_running_loop().time() > end:
                    logger.exception("a message was lost", extra={"channel": self.name, "event": message.event_id})
                    return
                await asyncio.sleep(min(error.after, RETRY_SECONDS))
            else:
                return

    async def _with_files(self, said: robot_events.Said) -> InboundMessage:
        kept, lines = list[Attachment](), [said.message.text]
        for media in said.files:
            try:
                hosts = (*FILE_HOSTS, *self._own_hosts())
                data = await addresses.fetch(self._http, media.url, hosts=hosts, limit=MAX_BYTES + 64)
                data = decrypt_file(media.key, data) if media.key else data
                kept.append(await asyncio.to_thread(self._files.put, data, name=_named(media.name, data)))
            except (RunbellError, httpx.HTTPError) as error:
                logger.warning("a file was left out", extra={"channel": self.name, "error": type(error).__name__})
                lines.append(f"📎 {media.name}: not fetched")
        text = "\n".join(filter(None, lines))
        return said.message.model_copy(update={"attachments": tuple(kept), "text": text})

    def _own_hosts(self) -> tuple[str, ...]:
        """Return where a simulated WeCom keeps its files: at its socket, on this machine."""
        own = httpx.URL(self._account.url)
        return (f"http://{own.netloc.decode()}",) if own.host in ("127.0.0.1", "localhost") else ()

    def _begin(self, line: Line) -> None:
        self._line = line

    def _live(self, message: OutboundMessage) -> tuple[Line | None, str]:
        """Return where the message that asked came from, once, while it can be answered there."""
        line, request, until = self._asked.pop(message.in_reply_to or "", (None, "", 0.0))
        if line is None or not line.open or asyncio.get_running_loop().time() > until:
            return None, ""
        return line, request

    def _remember(self, number: str, line: Line, request: str) -> None:
        self._asked[number] = (line, request, asyncio.get_running_loop().time() + ANSWER_SECONDS)
        while len(self._asked) > REMEMBERED:
            self._asked.popitem(last=False)

    def _keep(self, card: Json) -> None:
        self._cards[str(card.get("task_id"))] = card
        while len(self._cards) > REMEMBERED:
            self._cards.popitem(last=False)


def _named(name: str, data: bytes) -> str:
    if "." in name:
        return name
    return name + next((ending for signature, ending in SIGNATURES if data.startswith(signature)), "")
