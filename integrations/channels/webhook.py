"""The generic signed webhook, `POST /channels/webhook/{source}`, as Standard Webhooks describe it.

Signed is `{webhook-id}.{webhook-timestamp}.{raw body}`; five minutes of clock difference are allowed both ways
(github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md). A source may have two secrets
while one replaces the other. The id is the event id: a delivery that is repeated, by the sender or by somebody
who overheard it, finds the first one and changes nothing. Answers are read at the message's address.
"""

import base64
import binascii
import hmac
import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from standardwebhooks.webhooks import EmptyWebhookSecretError, Webhook

from integrations import settings as configuration
from integrations.channels import Accepted, Answer, Call, Channel, Hook, Receive
from integrations.errors import InvalidInput, Misconfigured, NotFound, Unauthorized
from integrations.messages import MAX_TEXT, Address, Delivery, InboundMessage, OutboundMessage, utc_now
from integrations.security import secrets, text

logger = logging.getLogger(__name__)
TOLERANCE_SECONDS = 300
MIN_SECRET_BYTES = 16
MAX_SIGNATURES = 10
_TIMESTAMP = re.compile(r"[0-9]{1,12}")
_ID = re.compile(r"[\x21-\x7e]{1,180}")


class Event(BaseModel):
    """What a source says: `text`, or a `command` with `args`.

    Either at the top or, as Standard Webhooks recommend, inside `data`. Other members are the sender's own
    business and ignored.
    """

    model_config = ConfigDict(extra="ignore", strict=True)

    text: str = Field("", max_length=MAX_TEXT, description="What to say, or `/command key=value`.")
    command: str | None = Field(None, max_length=200)
    args: dict[str, object] = Field(default_factory=dict[str, object])
    conversation: str = Field("", max_length=200, description="One of the source's conversations.")
    account_name: str = Field("", max_length=200)


class Envelope(Event):
    """An event, perhaps wrapped: `{"type": …, "timestamp": …, "data": {…}}`."""

    data: Event | None = None


class SignedWebhook:
    """All sources; each has its own secrets, and no source can speak in another's conversations."""

    name = "webhook"
    repeatable = True
    hooks = (
        Hook(
            "/{source}",
            "Receive a signed event (Standard Webhooks)",
            parameters={
                "webhook-id": "The event's id, the same in every delivery of it.",
                "webhook-timestamp": "Unix seconds of this delivery; five minutes off at most.",
                "webhook-signature": "Space-separated list of `v1,` and base64 of the HMAC-SHA256.",
            },
            body=Envelope.model_json_schema(),
        ),
    )

    def __init__(
        self,
        sources: Mapping[str, Sequence[Webhook]],
        *,
        tenant: str = "default",
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._sources = sources
        self._tenant = tenant
        self._now = now

    async def listen(self, receive: Receive) -> None:
        """Return at once: sources call us."""

    async def accept(self, call: Call, receive: Receive) -> Answer:
        """Verify, parse, receive; 202 says that the event is stored."""
        source = call.params["source"]
        if source not in self._sources:
            raise NotFound(f"There is no webhook source {source!r}: add [channels.webhook.{source}] with a secret.")
        event_id = verify(self._sources[source], call.headers, call.body, self._now())
        message = self._message(source, event_id, parse(call.body), call.headers.get("traceparent"))
        accepted = await receive(message)
        return Answer(202, _content(message, accepted))

    async def send(self, message: OutboundMessage) -> Delivery:  # noqa: ARG002 - the transcript holds it already
        """Confirm that the answer can be read at the message's address."""
        return Delivery(state="sent")

    def _message(self, source: str, event_id: str, event: Event, traceparent: str | None) -> InboundMessage:
        conversation = f"{source}/{event.conversation}" if event.conversation else source
        return InboundMessage(
            address=Address(channel=self.name, conversation=conversation, tenant=self._tenant),
            event_id=f"{source}:{event_id}",
            account=source,
            account_name=event.account_name or source,
            text=event.text,
            command=event.command,
            args=event.args,
            traceparent=traceparent,
            received_at=self._now(),
        )


def verify(webhooks: Sequence[Webhook], headers: Mapping[str, str], body: bytes, now: datetime) -> str:
    """Return the event id of an authentic delivery; raise Unauthorized for any other, whatever is wrong.

    The library signs and we compare: its own `verify` reads its own clock, and raises ValueError on some
    malformed headers.
    """
    event_id, stamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not webhooks:
        raise Unauthorized("This source has no secret, so nothing it sends is accepted.")
    if not _ID.fullmatch(event_id) or not _TIMESTAMP.fullmatch(stamp):
        raise Unauthorized("webhook-id and webhook-timestamp must be there, as Standard Webhooks describe them.")
    if abs(now.timestamp() - int(stamp)) > TOLERANCE_SECONDS:
        raise Unauthorized("webhook-timestamp is more than five minutes away from our clock.")
    offered = [part[3:] for part in headers.get("webhook-signature", "").split(" ") if part.startswith("v1,")]
    at = datetime.fromtimestamp(int(stamp), UTC)
    for webhook in webhooks:
        expected = _sign(webhook, event_id, at, body)
        for signature in offered[:MAX_SIGNATURES]:
            if hmac.compare_digest(expected, signature.encode("utf-8", "replace")):
                return event_id
    raise Unauthorized("webhook-signature does not fit this body, id and timestamp.")


def _sign(webhook: Webhook, event_id: str, at: datetime, body: bytes) -> bytes:
    try:
        return webhook.sign(event_id, at, body.decode()).removeprefix("v1,").encode()
    except UnicodeDecodeError as error:
        raise Unauthorized("The body is not UTF-8, so its signature can't be checked.") from error


def parse(body: bytes) -> Event:
    """Read the event out of an authentic body; raise InvalidInput where it says nothing usable."""
    try:
        envelope = Envelope.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "body"
        raise InvalidInput(f"{where}: {first['msg']}", field=where) from error
    event = envelope.data if envelope.data and not (envelope.text or envelope.command) else envelope
    spoken = text.clean(event.text)
    if not spoken.strip() and not event.command:
        raise InvalidInput(
            'Send {"text": "…"} or {"command": "…", "args": {…}}, at the top or in "data".', field="text"
        )
    for field in ("conversation", "account_name", "command"):
        if value := getattr(event, field):
            text.check_name(value, field=field)
    text.check_value(event.args, field="args")
    return event.model_copy(update={"text": spoken})


def _content(message: InboundMessage, accepted: Accepted) -> dict[str, object]:
    return {
        "message_id": accepted.message_id,
        "conversation": message.address.conversation,
        "url": f"/v1/messages/{accepted.message_id}",
        "duplicate": accepted.duplicate,
    }


def connect(settings: configuration.Settings) -> Iterable[Channel]:
    """Return the channel; a source whose secret is blank stays shut, and the log says so."""
    sources = {name: _open(name, source) for name, source in settings.channels.webhook.items()}
    return [SignedWebhook(sources, tenant=settings.tenant)]


def _open(name: str, source: configuration.Webhook) -> list[Webhook]:
    try:
        webhooks = [_webhook(source.secret, f"channels.webhook.{name}.secret")]
        if source.previous_secret is not None:
            webhooks.append(_webhook(source.previous_secret, f"channels.webhook.{name}.previous_secret"))
    except Misconfigured as error:
        logger.error("webhook source refused: %s", error, extra={"source": name})  # noqa: TRY400 - told, not failed
        return []
    return webhooks


def _webhook(reference: str, name: str) -> Webhook:
    secret = secrets.resolve(reference, name=name).get_secret_value()
    try:
        encoded = secret.removeprefix("whsec_").rstrip("=")
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
        if len(key) < MIN_SECRET_BYTES:
            raise Misconfigured(f"The secret {name} is too short: Standard Webhooks asks for 24 to 64 random bytes.")
        return Webhook(key)
    except (binascii.Error, EmptyWebhookSecretError) as error:
        raise Misconfigured(f"The secret {name} must be base64, with or without whsec_ before it.") from error
