"""Discord's channel: messages in over the gateway, interactions over it or HTTP, messages and edits out over REST.

The answer to a command takes the place of its "thinking…" (`interactions.py`) while that lives; else, and for every
other message, it is an ordinary one.
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx
from pydantic import ValidationError

from integrations.channels import Answer, Call, Capabilities, Hook, Link, Rate, Receive
from integrations.channels.buttons import Buttons
from integrations.channels.discord import gateway, inbound, shapes
from integrations.channels.discord.api import Api, File
from integrations.channels.discord.interactions import Interactions
from integrations.channels.discord.verify import DiscordSignature
from integrations.channels.http import Lost
from integrations.channels.link import Keeper
from integrations.errors import (
    InvalidInput,
    Misconfigured,
    Overloaded,
    RateLimited,
    Rejected,
    RunbellError,
    Unavailable,
)
from integrations.errors import Unauthorized as NotProven
from integrations.files import FileStore
from integrations.messages import Attachment, Delivery, InboundMessage, OutboundMessage, utc_now
from integrations.security import secrets
from integrations.security.documents import read_json
from integrations.settings import Settings
from integrations.settings_channels import Discord as Section

logger = logging.getLogger(__name__)
PATIENCE_SECONDS = 10.0
FETCH_SECONDS = 20.0
CAPABILITIES = Capabilities(
    markdown=True,
    edit=True,
    buttons=shapes.MAX_BUTTONS,
    links=True,
    cards=True,
    forms=True,
    files=True,
    pictures=True,
    threads=True,
    streaming="edits",
    max_text=shapes.MAX_TEXT,
    max_file=shapes.MAX_FILE,
    button_bytes=100,
    edit_interval_s=1.2,
    rates=(Rate(5, 5.0), Rate(50, 1.0, "app")),
    idempotent=True,
    push="gateway",
)


@dataclass(frozen=True, slots=True)
class Push:
    """What the gateway connection needs."""

    session: gateway.Session
    intents: int


class Discord:
    """One application and its bot."""

    name = inbound.CHANNEL
    # A nonce counts for a few minutes only, and a lease may end later than that.
    repeatable = False
    capabilities = CAPABILITIES

    def __init__(
        self,
        proof: DiscordSignature | None,
        api: Api,
        application_id: str,
        buttons: Buttons,
        files: FileStore,
        *,
        tenant: str = "default",
        push: Push | None = None,
    ) -> None:
        self._proof = proof
        self._api = api
        self._application_id = application_id
        self._buttons = buttons
        self._files = files
        self._tenant = tenant
        self._push = push
        self._now = utc_now
        self._interactions = Interactions(buttons, tenant, utc_now)
        self._keeper = Keeper(self.name, silence_s=gateway.SILENCE_SECONDS)

    @classmethod
    def of(cls, settings: Settings, section: Section) -> "Discord":
        """Build it; raises Misconfigured where something is blank."""
        if not (section.application_id or "").strip():
            raise Misconfigured("channels.discord needs application_id, from the application's General page.")
        token = secrets.resolve(section.bot_token, name="channels.discord.bot_token").get_secret_value()
        proof = push = None
        if section.mode == "http" or section.public_key is not None:
            key = secrets.resolve(section.public_key, name="channels.discord.public_key").get_secret_value()
            proof = DiscordSignature([key])
        if section.mode == "gateway":
            contents = gateway.MESSAGE_CONTENT if section.message_content else 0
            session = gateway.Session(settings.state / "discord-session.json")
            push = Push(session, gateway.GUILD_MESSAGES | gateway.DIRECT_MESSAGES | contents)
        return cls(
            proof,
            Api(section.api_url, token),
            str(section.application_id).strip(),
            Buttons.of(settings),
            FileStore(settings.state / "files"),
            tenant=settings.tenant,
            push=push,
        )

    @property
    def hooks(self) -> tuple[Hook, ...]:
        """The interactions endpoint."""
        return (Hook("/interactions", "Receive Discord's signed interactions"),) if self._proof else ()

    @property
    def link(self) -> Link:
        """How the gateway connection is; always up where Discord calls us."""
        return self._keeper.link if self._push else Link("up", self._keeper.link.since, "HTTP interactions")

    async def listen(self, receive: Receive) -> None:
        """Hold the gateway connection for ever, if there is one."""
        push = self._push
        if push is None:
            return

        async def handle(kind: str, data: inbound.Json) -> None:
            await self.hear(kind, data, receive)

        try:
            await self._keeper.run(lambda alive: gateway.converse(self._api, push.session, push.intents, handle, alive))
        finally:
            push.session.release()

    async def aclose(self) -> None:
        """Close the connections to Discord."""
        await self._api.close()

    async def accept(self, call: Call, receive: Receive) -> Answer:
        """Prove, answer Discord's ping, or store what was said before the three seconds are over."""
        if self._proof is None:
            raise NotProven("Interactions come over the connection here.")
        self._proof.verify(call.headers, call.body)
        data = read_json(call.body)
        if data.get("type") == inbound.PING:
            return Answer(200, {"type": 1})
        return Answer(200, await self._interactions.take(data, receive, call.headers.get("traceparent")))

    async def send(self, message: OutboundMessage) -> Delivery:
        """Answer a deferred command in its place, or send a message; the nonce lets Discord find a repetition."""
        body = self._body(message)
        files = [await self._load(file) for file in message.attachments]
        command = message.in_reply_to
        if token := self._interactions.token(command):
            path = f"/webhooks/{self._application_id}/{token}/messages/@original"
            try:
                answer = await self._api.call("PATCH", path, body, repeatable=True, files=files)
            except Rejected as error:
                if self._interactions.fresh(command):
                    # We were quicker than our own "thinking…".
                    raise Unavailable(str(error), after=0.5) from error
                logger.info("the place of a deferred answer is gone", extra={"channel": self.name})
            else:
                self._interactions.answered(command)
                return Delivery(state="sent", platform_id=_id(answer))
        elif command and not self._interactions.known(command):
            body["message_reference"] = {"message_id": command, "fail_if_not_exists": False}
        return await self._create(message, {**body, **shapes.nonce(message)}, files)

    async def _create(self, message: OutboundMessage, body: dict[str, Any], files: list[File]) -> Delivery:
        """Create a message; where nobody can tell whether it came to be, the nonce lets us ask again, once."""
        path = f"/channels/{message.address.conversation}/messages"
        for last in (not message.key, True):
            try:
                answer = await self._api.call("POST", path, body, repeatable=False, files=files)
                return Delivery(state="sent", platform_id=_id(answer))
            except Lost as error:
                if last:
                    return Delivery(state="unknown", error=str(error))
        raise AssertionError("the second attempt ends it")

    async def edit(self, platform_id: str, message: OutboundMessage) -> Delivery:
        """Put a message in the place of an earlier one."""
        path = f"/channels/{message.address.conversation}/messages/{platform_id}"
        files = [await self._load(file) for file in message.attachments]
        await self._api.call("PATCH", path, self._body(message), repeatable=True, files=files)
        return Delivery(state="sent", platform_id=platform_id)

    async def hear(self, kind: str, data: inbound.Json, receive: Receive) -> None:
        """Store what an event of the gateway says, and answer interactions; TemporaryError brings it again."""
        try:
            if kind == "INTERACTION_CREATE":
                await self._answer(data, receive)
            elif kind in ("MESSAGE_CREATE", "MESSAGE_UPDATE"):
                message = await self.said(data, self._push.session.bot_id if self._push else "")
                if message is not None:
                    await self._patiently(message, receive)
            elif kind == "MESSAGE_DELETE":
                await receive(inbound.removed(data, self._tenant, self._now()))
        except (KeyError, TypeError, ValidationError, InvalidInput) as error:
            logger.warning("an event was ignored", extra={"channel": self.name, "error": type(error).__name__})

    async def _answer(self, data: inbound.Json, receive: Receive) -> None:
        """Take an interaction and call back, within three seconds of it."""
        answer = await self._interactions.take(data, receive)
        path = f"/interactions/{data['id']}/{data['token']}/callback"
        try:
            await self._api.call("POST", path, answer, repeatable=False)
        except (RunbellError, Lost) as error:
            logger.info("an interaction could not be answered", extra={"channel": self.name, "error": str(error)})

    async def _patiently(self, message: InboundMessage, receive: Receive) -> None:
        """Receive a message; what is in excess waits its turn for a moment, and then it is left out."""
        for last in (False, True):
            try:
                await receive(message)
            except (RateLimited, Overloaded) as error:
                if last:
                    logger.warning("a message in excess was left out", extra={"channel": self.name})
                else:
                    await asyncio.sleep(min(error.after, PATIENCE_SECONDS))
            else:
                return

    async def said(self, data: inbound.Json, bot_id: str) -> InboundMessage | None:
        """Return what a message of the connection says, its files stored."""
        message = inbound.message(data, bot_id, self._tenant, self._now())
        if message is None or message.kind == "edit":
            return message
        stored: list[Attachment] = []
        left_out: list[str] = []
        for file in inbound.files(data):
            name = str(file.get("filename") or "file")
            try:
                async with asyncio.timeout(FETCH_SECONDS):
                    content = await self._api.download(str(file.get("url")))
                stored.append(await asyncio.to_thread(self._files.put, content, name=name))
            except (RunbellError, httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
                logger.warning("a file was left out", extra={"channel": self.name, "error": type(error).__name__})
                left_out.append(f"📎 {name}: not fetched")
        return inbound.with_files(message, stored, left_out)

    def _body(self, message: OutboundMessage) -> dict[str, Any]:
        return shapes.body(message, lambda text: self._buttons.seal(text, message.address, account=message.asked))

    async def _load(self, file: Attachment) -> File:
        content = await asyncio.to_thread(self._files.path(file.id).read_bytes)
        return (file.name, content, file.media_type)


def _id(answer: Mapping[str, Any]) -> str | None:
    return str(answer["id"]) if answer.get("id") else None
