"""The bot of Microsoft Teams: activities come to one address, answers go to the serviceUrl they named.

The JWT must be checked against the activity, so the body is read before, within the bounds of `read_json`; the token
covers serviceUrl and nothing else of it, TLS the rest. Teams waits 10 to 15 s, and may repeat an invoke under another
id (github.com/microsoft/botbuilder-dotnet issue 5005): a press that comes again soon is the same press.
"""

import asyncio
import hashlib
import logging
import time
from collections import OrderedDict
from collections.abc import Callable

from integrations.channels import Answer, Call, Capabilities, Hook, Rate, Receive, Stream
from integrations.channels.buttons import Buttons
from integrations.channels.stream import EditedStream
from integrations.channels.teams.api import Api
from integrations.channels.teams.cards import activity as written
from integrations.channels.teams.inbound import File, Heard, read, root
from integrations.channels.teams.keys import Proof
from integrations.channels.teams.services import Services
from integrations.channels.teams.stream import TypedAnswer, end
from integrations.errors import Forbidden, InvalidInput, RunbellError, Unauthorized
from integrations.files import MAX_BYTES as MAX_FILE
from integrations.files import FileStore
from integrations.messages import MAX_TEXT, Address, Attachment, Delivery, InboundMessage, OutboundMessage
from integrations.security.documents import Document, read_json

logger = logging.getLogger(__name__)
MAX_FILES = 10
PRESS_SECONDS = 120.0
PRESSES = 5000
CARD_ANSWER = "application/vnd.microsoft.activity.message"


class Teams:
    """One bot."""

    name = "teams"
    repeatable = False
    capabilities = Capabilities(
        markdown=True,
        edit=True,
        buttons=6,
        links=True,
        cards=True,
        forms=True,
        secret_fields=True,
        threads=True,
        streaming="native",
        max_text=14_000,  # of the 100 KB (UTF-16, the card's frame included) that an activity may have
        unit="utf16",
        edit_interval_s=1.5,
        rates=(Rate(7, 1.0), Rate(8, 2.0), Rate(60, 30.0), Rate(1800, 3600.0), Rate(30, 1.0, "tenant")),
    )
    hooks = (Hook("/messages", "Receive an activity of the Bot Framework", parameters={"Authorization": "Bearer …"}),)

    def __init__(
        self,
        api: Api,
        proof: Proof,
        services: Services,
        *,
        files: FileStore,
        buttons: Buttons,
        tenant: str = "default",
        now: Callable[[], float] = time.time,
    ) -> None:
        self._api = api
        self._proof = proof
        self._services = services
        self._files = files
        self._buttons = buttons
        self._tenant = tenant
        self._now = now
        self._presses: OrderedDict[str, tuple[str, float]] = OrderedDict()

    async def listen(self, receive: Receive) -> None:
        """Return at once: Teams calls us."""

    async def aclose(self) -> None:
        """Give the connections back."""
        await self._api.aclose()

    async def accept(self, call: Call, receive: Receive) -> Answer:
        """Verify, read, receive; 200 says that the activity is stored, or that nothing is to be done with it."""
        activity = await self._verified(call)
        service = self._services.checked(activity.get("serviceUrl"))
        try:
            heard = read(activity)
        except InvalidInput as error:
            # Delivering it again would not make it better.
            logger.warning("an activity of Teams can't be read", extra={"error": str(error)})
            heard = None
        if heard is None:
            return Answer(200, {}) if activity.get("type") == "invoke" else Answer(200)
        await self._services.put(root(heard.conversation), service)
        if heard.kind not in ("action", "form"):
            await receive(await self._said(heard, service))
            return Answer(200)
        return await self._press(heard, receive, invoked=activity.get("type") == "invoke")

    async def send(self, message: OutboundMessage) -> Delivery:
        """Post, as a reply where a message is answered in a channel's thread."""
        conversation = message.address.conversation
        return await self._api.post(await self._service(conversation), conversation, self._activity(message))

    async def edit(self, platform_id: str, message: OutboundMessage) -> Delivery:
        """Put another activity in the place of an earlier one."""
        conversation = message.address.conversation
        service = await self._service(conversation)
        return await self._api.put(service, conversation, platform_id, self._activity(message))

    async def open_stream(self, message: OutboundMessage) -> Stream:
        """Type the answer in a chat of two; elsewhere Teams has only edits."""
        conversation = message.address.conversation
        if conversation.startswith("19:"):
            return EditedStream(self, message)
        service = await self._service(conversation)
        return TypedAnswer(lambda sent: self._api.post(service, conversation, sent), self.send, self._activity)

    async def take_over(self, handle: str, message: OutboundMessage) -> Delivery:
        """End what is typed in a chat of two; elsewhere it is a message like any other."""
        conversation = message.address.conversation
        if conversation.startswith("19:"):
            return await self.edit(handle, message)
        service = await self._service(conversation)
        activity = self._activity(message)
        return await end(lambda sent: self._api.post(service, conversation, sent), handle, activity)

    async def _verified(self, call: Call) -> Document:
        authorization = call.headers.get("authorization", "")
        if not authorization.startswith("Bearer "):
            raise Unauthorized("Authorization must hold a bearer token.")
        try:
            activity = read_json(call.body)
        except InvalidInput as error:
            raise Unauthorized(str(error)) from error
        await self._proof.verify(authorization, activity, self._now())
        return activity

    async def _said(self, heard: Heard, service: str) -> InboundMessage:
        found = [await self._fetch(file, service) for file in heard.files[:MAX_FILES]]
        notes = [note for note in found if isinstance(note, str)]
        return InboundMessage(
            address=self._address(heard.conversation),
            event_id=heard.event_id,
            account=heard.account,
            account_name=heard.account_name,
            text="\n".join([*filter(None, [heard.text]), *notes])[:MAX_TEXT],
            direct=heard.direct,
            kind=heard.kind,
            ref=heard.ref,
            subject=heard.subject,
            mentioned=heard.mentioned,
            attachments=tuple(file for file in found if isinstance(file, Attachment)),
        )

    async def _press(self, heard: Heard, receive: Receive, *, invoked: bool) -> Answer:
        address = self._address(heard.conversation)
        try:
            await receive(self._pressed(heard, address))
            told = "✓"
        except (Forbidden, Unauthorized, InvalidInput) as error:
            # A refusal as the HTTP status would be shown as a fault of the app: who pressed must see why.
            told = str(error)
            if not invoked:
                await self._tell(address, told)
        return Answer(200, {"statusCode": 200, "type": CARD_ANSWER, "value": told} if invoked else None)

    def _pressed(self, heard: Heard, address: Address) -> InboundMessage:
        sealed = self._address(root(heard.conversation))
        said: dict[str, object] = {}
        if heard.values is None:
            said["text"] = self._buttons.open(heard.token, sealed, heard.account)
        else:
            said["command"], args = self._buttons.open_form(heard.token, sealed, heard.account)
            said["args"] = {**args, **{name: value for name, value in heard.values.items() if value not in (None, "")}}
        return InboundMessage.model_validate(
            {
                **said,
                "kind": heard.kind,
                "address": address,
                "event_id": self._once(heard),
                "account": heard.account,
                "account_name": heard.account_name,
                "direct": heard.direct,
                "ref": heard.ref,
                "subject": heard.subject,
            }
        )

    def _once(self, heard: Heard) -> str:
        """Return the event id of a press; the first one's where the same is pressed again within two minutes."""
        said = f"{heard.conversation}\n{heard.subject}\n{heard.account}\n{heard.token}\n{heard.values}"
        key, now = hashlib.sha256(said.encode("utf-8", "replace")).hexdigest(), self._now()
        known = self._presses.get(key)
        if known is None or now - known[1] > PRESS_SECONDS:
            self._presses[key] = known = (heard.event_id, now)
            while len(self._presses) > PRESSES:
                self._presses.popitem(last=False)
        return known[0]

    async def _tell(self, address: Address, text: str) -> None:
        try:
            await self.send(OutboundMessage(address=address, text=text, kind="notice"))
        except RunbellError as error:
            logger.info("a refusal could not be told", extra={"error": str(error)})

    async def _fetch(self, file: File, service: str) -> Attachment | str:
        """Return a stored file, or the line that says why there is none."""
        try:
            if file.own:
                self._services.checked(file.url.partition("?")[0])
            elif not self._services.holds_files(file.url):
                raise InvalidInput("this address is none of channels.teams.file_hosts")
            data = await self._api.fetch(file.url, limit=MAX_FILE, authorized=file.own)
        except (InvalidInput, Forbidden) as error:
            logger.info("a file of Teams was not taken", extra={"service": service, "error": str(error)})
            return f"[{file.name}: {error}]"
        return await asyncio.to_thread(self._files.put, data, name=file.name)

    async def _service(self, conversation: str) -> str:
        return await asyncio.to_thread(self._services.get, root(conversation))

    def _activity(self, message: OutboundMessage) -> dict[str, object]:
        place = message.address.model_copy(update={"conversation": root(message.address.conversation)})
        return written(
            message,
            lambda text: self._buttons.seal(text, place, account=message.asked),
            lambda form: self._buttons.seal_form(form, place, account=message.asked),
        )

    def _address(self, conversation: str) -> Address:
        return Address(channel=self.name, conversation=conversation, tenant=self._tenant)
