"""Slack's channel: what it is told goes through `inbound`, what it says through `blocks`; see the package."""

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, cast
from urllib.parse import parse_qs

from integrations.channels import Answer, Call, Capabilities, Hook, Link, Rate, Receive, Stream, members
from integrations.channels.buttons import Buttons
from integrations.channels.link import Keeper
from integrations.channels.slack import blocks, inbound
from integrations.channels.slack.api import Api, Unclear
from integrations.channels.slack.files import share, upload, with_files
from integrations.channels.slack.install import Install
from integrations.channels.slack.socket import converse
from integrations.channels.slack.stream import SlackStream, stop
from integrations.channels.slack.verify import SlackSignature
from integrations.channels.slack.workspaces import Place, Workspaces, place, team_of, user
from integrations.channels.stream import EditedStream
from integrations.errors import Forbidden, InvalidInput, PermanentError, RunbellError, Unauthorized, Unavailable
from integrations.files import MAX_BYTES, FileStore
from integrations.messages import Delivery, Form, InboundMessage, OutboundMessage
from integrations.security.documents import read_json

if TYPE_CHECKING:
    from integrations.database import Database

logger = logging.getLogger(__name__)
SILENCE_SECONDS = 30.0


class Slack:
    """One workspace, or several."""

    name = "slack"
    repeatable = False
    capabilities = Capabilities(
        markdown=True,
        edit=True,
        buttons=blocks.MAX_BUTTONS,
        links=True,
        cards=True,
        forms=True,
        files=True,
        pictures=True,
        threads=True,
        streaming="native",
        max_text=blocks.MAX_TEXT,
        max_file=MAX_BYTES,
        button_bytes=2000,
        edit_interval_s=1.2,
        rates=(Rate(1, 1.0), Rate(50, 60.0, "tenant")),
        push="Socket Mode",
    )

    def __init__(
        self,
        workspaces: Workspaces,
        files: FileStore,
        buttons: Buttons,
        *,
        socket: tuple[Api, str] | None = None,
        signature: SlackSignature | None = None,
        install: Install | None = None,
        tenant: str = "default",
    ) -> None:
        self._workspaces = workspaces
        self._files = files
        self._buttons = buttons
        self._socket = socket
        self._signature = signature
        self._install = install
        self._tenant = tenant
        self._keeper = Keeper(self.name, silence_s=SILENCE_SECONDS)

    def attach(self, database: "Database") -> None:
        """Take the place where installations are kept."""
        if self._install is not None:
            self._install.workspaces.attach(database.installations)

    @property
    def link(self) -> Link:
        """How Socket Mode is; always up where Slack calls us. With several workspaces, how these are, too."""
        link = self._keeper.link if self._socket else Link("up", self._keeper.link.since, "HTTP events")
        if self._install is None:
            return link
        return replace(link, detail="; ".join(filter(None, [link.detail, self._install.workspaces.detail])))

    @property
    def hooks(self) -> tuple[Hook, ...]:
        """One address for events, commands and interactivity; those where it is installed."""
        events = Hook("/events", "Receive events, slash commands and interactions of Slack")
        return ((events,) if self._signature else ()) + (self._install.hooks if self._install else ())

    async def listen(self, receive: Receive) -> None:
        """Hold the socket open for ever, if there is one; keep the tokens of several workspaces fresh."""
        async with asyncio.TaskGroup() as group:
            if self._install is not None:
                group.create_task(self._install.workspaces.watch())
            if self._socket is not None:
                api, app_token = self._socket
                await self._keeper.run(
                    lambda alive: converse(api, app_token, lambda body: self.take(body, receive), alive)
                )

    async def accept(self, call: Call, receive: Receive) -> Answer:
        """Verify the raw bytes, then take what they say."""
        if self._install is not None and call.path in self._install.paths:
            return await self._install.accept(call)
        if self._signature is None:
            raise Unauthorized("Slack's signing secret is not set.")
        self._signature.verify(call.headers, call.body, time.time())
        payload = _parsed(call)
        if payload.get("type") == "url_verification":
            return Answer(200, {"challenge": members.text(payload, "challenge")[:1000]})
        return Answer(200, await self.take(payload, receive))

    async def take(self, payload: Mapping[str, object], receive: Receive) -> Mapping[str, object] | None:
        """Store what an authentic payload says; returns what Slack wants to hear besides. Raises as `receive` does."""
        reader, team = inbound.Reader(self.name, self._tenant), ""
        if self._install is not None:
            team = team_of(payload)
            if (refused := await self._install.refusal(payload, team)) is not None:
                return refused or None
            reader = inbound.Reader(self.name, self._tenant, team, await self._install.workspaces.bot(team) or "")
        try:
            said = reader.read(payload)
        except (InvalidInput, ValueError) as error:
            logger.warning("an event of Slack's could not be read", extra={"error": type(error).__name__})
            return None
        if isinstance(said, inbound.Press):
            return await self._pressed(said, receive)
        if isinstance(said, inbound.Submission):
            return await self._submitted(said, receive)
        if said is not None:
            event = members.table(payload, "event")
            if said.kind == "message" and members.tables(event, "files"):
                said = await with_files(said, event, await self._workspaces.api(team), self._files)
            await receive(said)
        return None

    async def send(self, message: OutboundMessage) -> Delivery:
        """Post one message, with its files after it."""
        at = _place(message)
        api, where = await self._workspaces.api(at.team), at.arguments
        ids = [(await upload(file, api, self._files), file.name) for file in message.attachments]
        stamp = ""
        try:
            if message.text.strip() or not ids:
                posted = await api.call("chat.postMessage", {**where, **self._content(message), **_QUIET})
                stamp = str(posted["ts"])
            if ids:
                await share(ids, where, api)
        except Unclear as error:
            return Delivery(state="unknown", platform_id=stamp or None, error=str(error))
        except RunbellError as error:
            if not stamp:
                raise
            return Delivery(state="unknown", platform_id=stamp, error=f"The text arrived, its files did not: {error}")
        return Delivery(state="sent", platform_id=stamp or None)

    async def edit(self, platform_id: str, message: OutboundMessage) -> Delivery:
        """Replace a message; files can't be added to one."""
        content = self._content(message, replacing=True)
        at = _place(message)
        api = await self._workspaces.api(at.team)
        try:
            await api.call("chat.update", {"channel": at.channel, "ts": platform_id, **content})
        except Unclear as error:
            raise Unavailable(str(error)) from error
        return Delivery(state="sent", platform_id=platform_id)

    async def open_stream(self, message: OutboundMessage) -> Stream:
        """Begin a stream: Slack's own in a thread, for somebody; edits elsewhere."""
        at = _place(message)
        if not at.thread or not message.asked:
            return EditedStream(self, message)
        team = await self._workspaces.team_id(at.team)
        begin = at.arguments | {"recipient_user_id": user(message.asked), "recipient_team_id": team}
        return SlackStream(await self._workspaces.api(at.team), begin, self.edit, self.send)

    async def take_over(self, handle: str, message: OutboundMessage) -> Delivery:
        """End the stream, if it was one, and let it say exactly the message."""
        at = _place(message)
        if at.thread:
            await stop(await self._workspaces.api(at.team), at.channel, handle)
        return await self.edit(handle, message)

    def _content(self, message: OutboundMessage, *, replacing: bool = False) -> dict[str, object]:
        def seal(text: str) -> str:
            return self._buttons.seal(text, message.address, account=message.asked)

        return blocks.content(message, seal, replacing=replacing)

    async def _pressed(self, press: inbound.Press, receive: Receive) -> None:
        try:
            said = self._buttons.open(press.token, press.message.address, press.message.account)
            if not press.opens_form:
                await receive(press.message.model_copy(update={"text": said}))
                return
            metadata = " ".join([press.token, press.message.address.conversation, press.message.subject or ""])
            view = blocks.modal(Form.model_validate_json(said), metadata)
            api = await self._workspaces.api(_place(press.message).team)
            await api.call("views.open", {"trigger_id": press.trigger_id, "view": view})
        except (Unauthorized, Forbidden, ValueError) as error:
            await self._whisper(press.message, str(error) if isinstance(error, RunbellError) else "Ask again.")
        except (PermanentError, Unclear) as error:
            logger.warning("a form could not be opened", extra={"error": str(error)})
            await self._whisper(press.message, "The form could not be opened: press the button again.")

    async def _submitted(self, sent: inbound.Submission, receive: Receive) -> Mapping[str, object] | None:
        message = sent.message
        try:
            form = Form.model_validate_json(self._buttons.open(sent.token, message.address, message.account))
            args = blocks.answers(form, sent.values)
        except InvalidInput as error:
            return {"response_action": "errors", "errors": {error.field or "q0": str(error)}}
        except (Unauthorized, Forbidden, ValueError) as error:
            told = str(error) if isinstance(error, RunbellError) else "This form was not made here."
            return {"response_action": "errors", "errors": {"q0": told}}
        await receive(message.model_copy(update={"command": form.command, "args": args}))
        return None

    async def _whisper(self, message: InboundMessage, said: str) -> None:
        """Tell one person why nothing happened; that this fails must not bring the press back."""
        at = _place(message)
        try:
            api = await self._workspaces.api(at.team)
            await api.call("chat.postEphemeral", {**at.arguments, "user": user(message.account), "text": said})
        except RunbellError as error:
            logger.info("nobody could be told", extra={"error": str(error)})


_QUIET: Mapping[str, object] = {"unfurl_links": False, "unfurl_media": False}


def _place(message: InboundMessage | OutboundMessage) -> Place:
    return place(message.address.conversation)


def _parsed(call: Call) -> Mapping[str, object]:
    """Read an authentic body: JSON for events, a form for the rest, with JSON inside for interactions."""
    if call.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
        return read_json(call.body)
    try:
        form = {name: values[0] for name, values in parse_qs(call.body.decode(), max_num_fields=100).items()}
    except ValueError as error:
        raise InvalidInput("The body is not a form.") from error
    return read_json(form["payload"]) if "payload" in form else cast("Mapping[str, object]", form)
