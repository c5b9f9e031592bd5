"""Slack, by Socket Mode (`socket.py`, Bolt) or HTTP events (`verify.py`); both carry the same payloads (`inbound.py`).

Out go Markdown, Block Kit (`blocks.py`), files, edits, and in threads Slack's own streaming (`stream.py`). Slack has no
key against sending twice, so what is unclear stays `unknown`. A form is a button, and a modal once it is pressed.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from typing import cast
from urllib.parse import parse_qs

from integrations.channels import Answer, Call, Capabilities, Channel, Hook, Link, Rate, Receive, Stream, members
from integrations.channels.buttons import Buttons
from integrations.channels.link import Keeper
from integrations.channels.slack import blocks, inbound
from integrations.channels.slack.api import Api, Unclear
from integrations.channels.slack.socket import converse
from integrations.channels.slack.stream import SlackStream, stop
from integrations.channels.slack.verify import SlackSignature
from integrations.channels.stream import EditedStream
from integrations.errors import Forbidden, InvalidInput, PermanentError, RunbellError, Unauthorized, Unavailable
from integrations.files import MAX_BYTES, FileStore
from integrations.messages import Attachment, Delivery, Form, InboundMessage, OutboundMessage
from integrations.security import secrets
from integrations.security.documents import read_json
from integrations.settings import Settings
from integrations.settings_channels import Slack as Section

logger = logging.getLogger(__name__)
MAX_FILES = 10
SILENCE_SECONDS = 30.0


class Slack:
    """One workspace."""

    name = "slack"
    repeatable = False
    capabilities = Capabilities(
        markdown=True,
        edit=True,
        buttons=blocks.MAX_BUTTONS,
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
        api: Api,
        files: FileStore,
        buttons: Buttons,
        *,
        app_token: str = "",
        signature: SlackSignature | None = None,
        tenant: str = "default",
        now: Callable[[], float] = time.time,
    ) -> None:
        self._api = api
        self._files = files
        self._buttons = buttons
        self._app_token = app_token
        self._signature = signature
        self._reader = inbound.Reader(self.name, tenant)
        self._now = now
        self._team = ""
        self._keeper = Keeper(self.name, silence_s=SILENCE_SECONDS)

    @property
    def link(self) -> Link:
        """How Socket Mode is; always up where Slack calls us."""
        return self._keeper.link if self._app_token else Link("up", self._keeper.link.since, "HTTP events")

    @property
    def hooks(self) -> tuple[Hook, ...]:
        """One address for events, commands and interactivity."""
        if self._signature is None:
            return ()
        return (Hook("/events", "Receive events, slash commands and interactions of Slack"),)

    async def listen(self, receive: Receive) -> None:
        """Hold the socket open for ever, if there is one."""
        if self._app_token:
            await self._keeper.run(
                lambda alive: converse(self._api, self._app_token, lambda body: self.take(body, receive), alive)
            )

    async def accept(self, call: Call, receive: Receive) -> Answer:
        """Verify the raw bytes, then take what they say."""
        if self._signature is None:
            raise Unauthorized("Slack's signing secret is not set.")
        self._signature.verify(call.headers, call.body, self._now())
        payload = _parsed(call)
        if payload.get("type") == "url_verification":
            return Answer(200, {"challenge": members.text(payload, "challenge")[:1000]})
        return Answer(200, await self.take(payload, receive))

    async def take(self, payload: Mapping[str, object], receive: Receive) -> Mapping[str, object] | None:
        """Store what an authentic payload says; returns what Slack wants to hear besides. Raises as `receive` does."""
        try:
            said = self._reader.read(payload)
        except (InvalidInput, ValueError) as error:
            logger.warning("an event of Slack's could not be read", extra={"error": type(error).__name__})
            return None
        if isinstance(said, inbound.Press):
            return await self._pressed(said, receive)
        if isinstance(said, inbound.Submission):
            return await self._submitted(said, receive)
        if said is not None:
            if said.kind == "message":
                said = await self._with_files(said, members.table(payload, "event"))
            await receive(said)
        return None

    async def send(self, message: OutboundMessage) -> Delivery:
        """Post one message, with its files after it."""
        ids = [(await self._upload(file), file.name) for file in message.attachments]
        place = _place(message)
        stamp = ""
        try:
            if message.text.strip() or not ids:
                posted = await self._api.call("chat.postMessage", {**place, **self._content(message), **_QUIET})
                stamp = str(posted["ts"])
            if ids:
                await self._share(ids, place)
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
        channel = _place(message)["channel"]
        try:
            await self._api.call("chat.update", {"channel": channel, "ts": platform_id, **content})
        except Unclear as error:
            raise Unavailable(str(error)) from error
        return Delivery(state="sent", platform_id=platform_id)

    async def open_stream(self, message: OutboundMessage) -> Stream:
        """Begin a stream: Slack's own in a thread, for somebody; edits elsewhere."""
        place = _place(message)
        if "thread_ts" not in place or not message.asked:
            return EditedStream(self, message)
        begin = place | {"recipient_user_id": message.asked, "recipient_team_id": await self._team_id()}
        return SlackStream(self._api, begin, self.edit, self.send)

    async def take_over(self, handle: str, message: OutboundMessage) -> Delivery:
        """End the stream, if it was one, and let it say exactly the message."""
        if "thread_ts" in _place(message):
            await stop(self._api, _place(message)["channel"], handle)
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
            await self._api.call("views.open", {"trigger_id": press.trigger_id, "view": view})
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
        channel, _, thread = message.address.conversation.partition("/")
        where = {"channel": channel, "user": message.account} | ({"thread_ts": thread} if thread else {})
        try:
            await self._api.call("chat.postEphemeral", {**where, "text": said})
        except RunbellError as error:
            logger.info("nobody could be told", extra={"error": str(error)})

    async def _with_files(self, message: InboundMessage, event: Mapping[str, object]) -> InboundMessage:
        kept: list[Attachment] = []
        refused: list[str] = []
        for file in members.tables(event, "files")[:MAX_FILES]:
            name = members.text(file, "name")[:200] or "file"
            try:
                data = await self._api.download(
                    members.text(file, "url_private_download") or members.text(file, "url_private"), MAX_BYTES
                )
                media = members.text(file, "mimetype")[:100] or None
                kept.append(await asyncio.to_thread(self._files.put, data, name=name, media_type=media))
            except InvalidInput as error:
                refused.append(f"({name}: {error})")
        if not kept and not refused:
            return message
        text = "\n".join(filter(None, [message.text, *refused]))
        return message.model_copy(update={"attachments": tuple(kept), "text": text})

    async def _upload(self, file: Attachment) -> str:
        data = await asyncio.to_thread(self._files.path(file.id).read_bytes)
        return await self._api.upload(file.name, data)

    async def _share(self, ids: Iterable[tuple[str, str]], place: Mapping[str, object]) -> None:
        files = [{"id": file_id, "title": name} for file_id, name in ids]
        shown = {"files": files, "channel_id": place["channel"]}
        thread = {"thread_ts": place["thread_ts"]} if "thread_ts" in place else {}
        await self._api.call("files.completeUploadExternal", shown | thread)

    async def _team_id(self) -> str:
        if not self._team:
            try:
                self._team = str((await self._api.call("auth.test", {}))["team_id"])
            except Unclear as error:
                raise Unavailable(str(error)) from error
        return self._team


_QUIET: Mapping[str, object] = {"unfurl_links": False, "unfurl_media": False}


def _place(message: OutboundMessage) -> dict[str, object]:
    channel, _, thread = message.address.conversation.partition("/")
    return {"channel": channel, "thread_ts": thread} if thread else {"channel": channel}


def _parsed(call: Call) -> Mapping[str, object]:
    """Read an authentic body: JSON for events, a form for the rest, with JSON inside for interactions."""
    if call.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
        return read_json(call.body)
    try:
        form = {name: values[0] for name, values in parse_qs(call.body.decode(), max_num_fields=100).items()}
    except ValueError as error:
        raise InvalidInput("The body is not a form.") from error
    return read_json(form["payload"]) if "payload" in form else cast("Mapping[str, object]", form)


def connect(settings: Settings) -> Iterable[Channel]:
    """Return the channel; raises Misconfigured for a blank secret."""
    section = settings.channels.slack
    if section is None:
        return []
    api = Api(_secret(section.bot_token, "bot_token"), section.api_url)
    socket = section.mode == "socket"
    return [
        Slack(
            api,
            FileStore(settings.state / "files"),
            Buttons.of(settings),
            app_token=_secret(section.app_token, "app_token") if socket else "",
            signature=None if socket else _signature(section),
            tenant=settings.tenant,
        )
    ]


def _signature(section: Section) -> SlackSignature:
    found = [_secret(section.signing_secret, "signing_secret")]
    if section.previous_signing_secret is not None:
        found.append(_secret(section.previous_signing_secret, "previous_signing_secret"))
    return SlackSignature(found)


def _secret(reference: str | None, name: str) -> str:
    return secrets.resolve(reference, name=f"channels.slack.{name}").get_secret_value()
