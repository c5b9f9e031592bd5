"""Discord's channel: interactions in over HTTP or the connection, messages and edits out over REST.

An interaction must be answered within three seconds and its token lives for fifteen minutes: a command is deferred
("thinking…"), and its first answer takes that place while the token lives; else it is an ordinary message.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import httpx
from pydantic import ValidationError

from integrations.channels import Answer, Call, Capabilities, Hook, Rate, Receive
from integrations.channels.buttons import Buttons
from integrations.channels.discord import inbound, shapes
from integrations.channels.discord.api import Api, File
from integrations.channels.discord.verify import DiscordSignature
from integrations.channels.http import Lost
from integrations.errors import (
    Forbidden,
    InvalidInput,
    Misconfigured,
    Rejected,
    RunbellError,
    TemporaryError,
    Unavailable,
)
from integrations.errors import Unauthorized as NotProven
from integrations.files import FileStore
from integrations.messages import Attachment, Delivery, Form, InboundMessage, OutboundMessage, utc_now
from integrations.security import secrets
from integrations.security.documents import read_json
from integrations.settings import Settings
from integrations.settings_channels import Discord as Section

logger = logging.getLogger(__name__)
TOKEN_SECONDS = 840.0
RACE_SECONDS = 5.0
REMEMBERED = 5000
FETCH_SECONDS = 20.0
CAPABILITIES = Capabilities(
    markdown=True,
    edit=True,
    buttons=shapes.MAX_BUTTONS,
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
)


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
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._proof = proof
        self._api = api
        self._application_id = application_id
        self._buttons = buttons
        self._files = files
        self._tenant = tenant
        self._now = now
        self._deferred: OrderedDict[str, tuple[str, float]] = OrderedDict()

    @classmethod
    def of(cls, settings: Settings, section: Section) -> "Discord":
        """Build it; raises Misconfigured where something is blank."""
        if section.mode != "http":
            raise Misconfigured('channels.discord: the connection is not there yet; write mode = "http".')
        if not (section.application_id or "").strip():
            raise Misconfigured("channels.discord needs application_id, from the application's General page.")
        token = secrets.resolve(section.bot_token, name="channels.discord.bot_token").get_secret_value()
        key = secrets.resolve(section.public_key, name="channels.discord.public_key").get_secret_value()
        return cls(
            DiscordSignature([key]),
            Api(section.api_url, token),
            str(section.application_id).strip(),
            Buttons.of(settings),
            FileStore(settings.state / "files"),
            tenant=settings.tenant,
        )

    @property
    def hooks(self) -> tuple[Hook, ...]:
        """The interactions endpoint."""
        return (Hook("/interactions", "Receive Discord's signed interactions"),) if self._proof else ()

    async def listen(self, receive: Receive) -> None:
        """Return at once: Discord calls us."""

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
        return Answer(200, await self.interact(data, receive, call.headers.get("traceparent")))

    async def interact(self, data: inbound.Json, receive: Receive, traceparent: str | None = None) -> dict[str, Any]:
        """Store what an interaction says and return its answer; a refusal is whispered to the person."""
        if data.get("type") == inbound.AUTOCOMPLETE:
            return {"type": 8, "data": {"choices": []}}
        try:
            return await self._interact(data, receive, traceparent)
        except (KeyError, TypeError, ValidationError) as error:
            logger.warning("an interaction was ignored", extra={"channel": self.name, "error": type(error).__name__})
            return shapes.whisper("This could not be read.")
        except (NotProven, Forbidden, InvalidInput, TemporaryError) as error:
            return shapes.whisper(str(error))

    async def _interact(self, data: inbound.Json, receive: Receive, traceparent: str | None) -> dict[str, Any]:
        if data["type"] == inbound.COMMAND:
            message = inbound.command(data, self._tenant, self._now())
            accepted = await receive(message.model_copy(update={"traceparent": traceparent}))
            if not accepted.duplicate:
                self._defer(message.event_id, str(data["token"]))
            return {"type": 5}
        custom = str(data["data"]["custom_id"])
        if data["type"] == inbound.COMPONENT and custom.startswith(shapes.ASK):
            form, token = self._form(custom, data)
            return shapes.modal(form, token)
        if data["type"] == inbound.COMPONENT and custom.startswith(shapes.PRESS):
            await receive(self._said(data, traceparent, kind="action", text=self._opened(custom, data)))
            return {"type": 6}
        if data["type"] == inbound.MODAL and custom.startswith(shapes.FORM):
            form, _ = self._form(custom, data)
            args = {**form.args, **{name: value for name, value in inbound.inputs(data).items() if value}}
            await receive(self._said(data, traceparent, kind="form", command=form.command, args=args))
            return {"type": 6}
        return shapes.whisper("This is not known here.")

    def _said(self, data: inbound.Json, traceparent: str | None, **more: object) -> InboundMessage:
        common = inbound.said(data, inbound.person(data), self._tenant, self._now())
        subject = (data.get("message") or {}).get("id")
        return InboundMessage.model_validate(
            {**common, "traceparent": traceparent, "subject": str(subject) if subject else None, **more}
        )

    def _opened(self, custom: str, data: inbound.Json) -> str:
        account = str(inbound.person(data)["id"])
        return self._buttons.open(custom[2:], inbound.address(data, self._tenant), account)

    def _form(self, custom: str, data: inbound.Json) -> tuple[Form, str]:
        return Form.model_validate_json(self._opened(custom, data)), custom[2:]

    def _defer(self, interaction_id: str, token: str) -> None:
        self._deferred[interaction_id] = (token, self._now().timestamp() + TOKEN_SECONDS)
        while len(self._deferred) > REMEMBERED:
            self._deferred.popitem(last=False)

    async def send(self, message: OutboundMessage) -> Delivery:
        """Answer a deferred command in its place, or send a message; the nonce lets Discord find a repetition."""
        body = self._body(message)
        files = [await self._load(file) for file in message.attachments]
        token, ends_at = self._deferred.get(message.in_reply_to or "", ("", 0.0))
        if token and ends_at > self._now().timestamp():
            path = f"/webhooks/{self._application_id}/{token}/messages/@original"
            try:
                answer = await self._api.call("PATCH", path, body, repeatable=True, files=files)
            except Rejected as error:
                if ends_at - self._now().timestamp() > TOKEN_SECONDS - RACE_SECONDS:
                    # We were quicker than our own "thinking…".
                    raise Unavailable(str(error), after=0.5) from error
                logger.info("the place of a deferred answer is gone", extra={"channel": self.name})
            else:
                self._deferred.pop(message.in_reply_to or "", None)
                return Delivery(state="sent", platform_id=_id(answer))
        elif message.in_reply_to and not token:
            body["message_reference"] = {"message_id": message.in_reply_to, "fail_if_not_exists": False}
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
