"""WeCom's app: the encrypted callback in, `message/send` out.

WeCom drops silently what exceeds 30 messages a minute or 1000 an hour to one member, so these limits are kept here.
Its duplicate check compares contents, not keys: it would swallow a second "done" that is meant, and is not used. So
what may have arrived is recorded as unknown and not repeated.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime
from typing import Any

from integrations.channels import Answer, Call, Capabilities, Hook, Rate, Receive
from integrations.channels.buttons import Buttons
from integrations.channels.http import Lost
from integrations.channels.wecom import cards, events
from integrations.channels.wecom.api import Api
from integrations.channels.wecom.verify import WeComApp
from integrations.errors import (
    Forbidden,
    InvalidInput,
    Misconfigured,
    Rejected,
    RunbellError,
    TemporaryError,
    Unauthorized,
)
from integrations.files import FileStore
from integrations.messages import Attachment, Choice, Delivery, InboundMessage, OutboundMessage, utc_now
from integrations.security import secrets
from integrations.security.documents import read_xml
from integrations.settings import Settings
from integrations.settings_channels import WeCom as Section

logger = logging.getLogger(__name__)
FETCH_SECONDS = 3.0
REMEMBERED = 5000
PICTURES = frozenset({"image/jpeg", "image/png"})
MAX_PICTURE = 10 * 1024 * 1024
CAPABILITIES = Capabilities(
    buttons=cards.MAX_BUTTONS,
    cards=True,
    files=True,
    pictures=True,
    max_text=cards.MAX_TEXT,
    unit="bytes",
    button_bytes=1024,
    rates=(Rate(30, 60.0), Rate(1000, 3600.0), Rate(10_000, 60.0, "app")),
)


class WeCom:
    """One app. Every conversation is with one member, and named by the member's id."""

    name = events.CHANNEL
    repeatable = False
    capabilities = CAPABILITIES
    hooks = (
        Hook(
            "",
            "Receive WeCom's encrypted callbacks; GET is its check of the address",
            methods=("GET", "POST"),
        ),
    )

    def __init__(
        self,
        proof: WeComApp,
        api: Api,
        agent_id: int,
        buttons: Buttons,
        files: FileStore,
        *,
        tenant: str = "default",
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._proof = proof
        self._api = api
        self._agent_id = agent_id
        self._buttons = buttons
        self._files = files
        self._tenant = tenant
        self._now = now
        self._done: OrderedDict[str, list[str | None]] = OrderedDict()

    @classmethod
    def of(cls, settings: Settings, section: Section) -> "WeCom":
        """Build it; raises Misconfigured where something is blank."""

        def secret(name: str) -> str:
            return secrets.resolve(getattr(section, name), name=f"channels.wecom.{name}").get_secret_value()

        if not (section.corp_id or "").strip() or section.agent_id is None:
            raise Misconfigured("channels.wecom needs corp_id and agent_id, from the admin console.")
        corp_id = (section.corp_id or "").strip()
        return cls(
            WeComApp(secret("token"), secret("aes_key"), corp_id),
            Api(section.api_url, corp_id, secret("corp_secret")),
            section.agent_id,
            Buttons.of(settings),
            FileStore(settings.state / "files"),
            tenant=settings.tenant,
        )

    async def listen(self, receive: Receive) -> None:
        """Return at once: WeCom calls us."""

    async def aclose(self) -> None:
        """Close the connections to WeCom."""
        await self._api.close()

    async def accept(self, call: Call, receive: Receive) -> Answer:
        """Answer the address check; or store a message and acknowledge with an empty body, within five seconds."""
        if call.method != "POST":
            return Answer(200, self._proof.verify_url(call.query), "text/plain")
        fields = read_xml(self._proof.open(call.query, call.body))
        if fields.get("AgentID", "") not in {"", str(self._agent_id)}:
            return Answer(200)
        pressed = events.press(fields)
        if pressed is not None:
            return await self._pressed(pressed, fields, call, receive)
        try:
            message = events.message(fields, self._tenant, self._now())
        except (InvalidInput, ValueError) as error:
            # WeCom would send it three times more.
            logger.warning("a message was ignored", extra={"channel": self.name, "error": type(error).__name__})
            return Answer(200)
        if message is not None:
            traced = message.model_copy(update={"traceparent": call.headers.get("traceparent")})
            await receive(await self._with_files(traced, fields))
        return Answer(200)

    async def send(self, message: OutboundMessage) -> Delivery:
        """Send the text, the card, then each file; what was sent of it is not sent again by this process."""
        done = self._done.setdefault(message.key, []) if message.key else []
        while len(self._done) > REMEMBERED:
            self._done.popitem(last=False)
        steps = cards.bodies(message, lambda choice: self._seal(choice, message))
        total = len(steps) + len(message.attachments)
        try:
            for index in range(len(done), total):
                body = steps[index] if index < len(steps) else await self._file(message.attachments[index - len(steps)])
                done.append(await self._post(message.address.conversation, body))
        except Lost as error:
            return Delivery(state="unknown", error=str(error))
        self._done.pop(message.key or "", None)
        return Delivery(state="sent", platform_id=done[0] if done else None)

    async def _post(self, member: str, body: dict[str, Any]) -> str | None:
        answer = await self._api.post(
            "/cgi-bin/message/send", {"touser": member, "agentid": self._agent_id, "safe": 0, **body}
        )
        # `errcode` is 0 although nobody gets it.
        for field, why in (("invaliduser", "is no member whom the app sees"), ("unlicenseduser", "has no licence")):
            if member.lower() in str(answer.get(field) or "").lower().split("|"):
                raise Rejected(f"The receiver {why}: check the app's visible range.")
        return str(answer.get("msgid") or "") or None

    async def _file(self, attachment: Attachment) -> dict[str, Any]:
        content = await asyncio.to_thread(self._files.path(attachment.id).read_bytes)
        kind = "image" if attachment.media_type in PICTURES and len(content) <= MAX_PICTURE else "file"
        return cards.file_body(kind, await self._api.upload(kind, attachment.name, content))

    def _seal(self, choice: Choice, message: OutboundMessage) -> str:
        return self._buttons.seal(choice.text, message.address, account=message.asked)

    async def _pressed(self, pressed: events.Press, fields: events.Fields, call: Call, receive: Receive) -> Answer:
        """Store what a button says; the card then shows that it was pressed, or why it no longer counts."""
        address = events.address(pressed.account, self._tenant)
        try:
            text = self._buttons.open(pressed.token, address, pressed.account)
        except (Unauthorized, Forbidden) as error:
            logger.info("a button was refused", extra={"channel": self.name, "error": str(error)})
            return self._rename("已失效 · ended", fields, call)
        await receive(
            InboundMessage(
                address=address,
                event_id=pressed.event_id,
                account=pressed.account,
                text=text,
                kind="action",
                subject=pressed.task_id,
                traceparent=call.headers.get("traceparent"),
                received_at=self._now(),
            )
        )
        return self._rename("✓", fields, call)

    def _rename(self, label: str, fields: events.Fields, call: Call) -> Answer:
        """Answer with another label for the card's buttons (document/path/90241)."""
        stamp = str(int(self._now().timestamp()))
        member, corp = (fields.get(name, "").replace("]]>", "") for name in ("FromUserName", "ToUserName"))
        plain = (
            f"<xml><ToUserName><![CDATA[{member}]]></ToUserName><FromUserName><![CDATA[{corp}]]></FromUserName>"
            f"<CreateTime>{stamp}</CreateTime><MsgType><![CDATA[update_button]]></MsgType>"
            f"<Button><ReplaceName><![CDATA[{label}]]></ReplaceName></Button></xml>"
        )
        sealed = self._proof.reply(plain, timestamp=stamp, nonce=call.query.get("nonce", "0"))
        return Answer(200, sealed, "application/xml")

    async def _with_files(self, message: InboundMessage, fields: events.Fields) -> InboundMessage:
        """Fetch what the message brings, so far as WeCom's deadline allows; the text says what did not come."""
        media = events.media(fields)
        if media is None:
            return message
        try:
            async with asyncio.timeout(FETCH_SECONDS):
                content, kind = await self._api.download(media.id)
                stored = await asyncio.to_thread(
                    self._files.put, content, name=media.named(kind), media_type=kind or None
                )
        except (TimeoutError, TemporaryError) as error:
            raise TemporaryError("The file can't be fetched now; send it again.", after=2.0) from error
        except RunbellError as error:
            logger.warning("a file was left out", extra={"channel": self.name, "error": str(error)})
            return message.model_copy(update={"text": f"{message.text}\n📎 {media.name}: {error}".strip()})
        return message.model_copy(update={"attachments": (stored,)})
