"""The generic signed webhook, `POST /channels/webhook/{source}`: Standard Webhooks, or a simple HMAC.

A source may have two secrets while one replaces the other (`verify.py`). What it says is our own form of event, or
any JSON that the source's table of fields describes (`events.py`). An event that is delivered again, by the sender
or by somebody who overheard it, finds the first one and changes nothing: by its id, or, where a simple webhook has
none, by the hash of its body within a day. Answers are read at the message's address.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from integrations.channels import Accepted, Answer, Call, Capabilities, Channel, Hook, Receive
from integrations.channels.webhook.events import Envelope, Event, digest, occurrence, parse, translate
from integrations.channels.webhook.verify import SimpleSignature, StandardSignature
from integrations.errors import Misconfigured, NotFound, Unauthorized
from integrations.messages import Address, Delivery, InboundMessage, OutboundMessage, utc_now
from integrations.security import secrets
from integrations.settings import Settings
from integrations.settings_channels import Webhook, WebhookFields

logger = logging.getLogger(__name__)
WINDOW = timedelta(days=1)
_IGNORED = Answer(202, {"message_id": None, "ignored": True})
REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class Source:
    """One sender: how it signs, and how it speaks. Without a signature it stays shut."""

    signature: StandardSignature | SimpleSignature | None
    fields: WebhookFields | None = None
    header: str = ""
    events: bool = False


class SignedWebhook:
    """All sources; each has its own secrets, and no source can speak in another's conversations."""

    name = "webhook"
    repeatable = True
    capabilities = Capabilities(markdown=True, files=True, buttons=True, dialogue=False, max_text=1_000_000)
    hooks = (
        Hook(
            "/{source}",
            "Receive a signed event (Standard Webhooks, or a simple HMAC where the source is set up so)",
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
        sources: Mapping[str, Source],
        *,
        tenant: str = "default",
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._sources = sources
        self._tenant = tenant
        self._now = now
        self._seen: OrderedDict[str, tuple[str, datetime]] = OrderedDict()

    async def listen(self, receive: Receive) -> None:
        """Return at once: sources call us."""

    async def accept(self, call: Call, receive: Receive) -> Answer:
        """Verify, parse, receive; 202 says that the event is stored, or that nothing is to be done with it."""
        name = call.params["source"]
        source = self._sources.get(name)
        if source is None:
            raise NotFound(f"There is no webhook source {name!r}: add [channels.webhook.{name}] with a secret.")
        event_id = self._verified(source, call)
        if source.events:
            happened = occurrence(call.body, source.fields)
            if happened is None:
                return _IGNORED
            message = self._message(name, event_id or self._id_of(name, happened, call.body), happened, call)
            message = message.model_copy(update={"trigger": "event", "source": name})
            return Answer(202, _content(message, await receive(message)))
        event = parse(call.body) if source.fields is None else translate(call.body, source.fields)
        if event is None:
            return _IGNORED
        message = self._message(name, event_id or self._id_of(name, event, call.body), event, call)
        return Answer(202, _content(message, await receive(message)))

    async def send(self, message: OutboundMessage) -> Delivery:  # noqa: ARG002 - the transcript holds it already
        """Confirm that the answer can be read at the message's address."""
        return Delivery(state="sent")

    def _verified(self, source: Source, call: Call) -> str | None:
        """Return the event id that the signature covers, None where it covers none."""
        if source.signature is None:
            raise Unauthorized("This source has no secret, so nothing it sends is accepted.")
        if isinstance(source.signature, StandardSignature):
            return source.signature.verify(call.headers, call.body, self._now().timestamp())
        source.signature.verify(call.headers.get(source.header.lower(), ""), call.body)
        return None

    def _id_of(self, name: str, event: Event, body: bytes) -> str:
        """Return the event's own id, or the same name for the same body within a day."""
        if event.event_id:
            return event.event_id
        now, key = self._now(), f"{name}:{digest(body)}"
        known = self._seen.get(key)
        if known is None or now - known[1] > WINDOW:
            # The day is in the name for the sake of other processes, and of this one after a restart.
            self._seen[key] = known = (f"{digest(body)}:{now:%Y%m%d}", now)
            while len(self._seen) > REMEMBERED:
                self._seen.popitem(last=False)
        return known[0]

    def _message(self, source: str, event_id: str, event: Event, call: Call) -> InboundMessage:
        conversation = f"{source}/{event.conversation}" if event.conversation else source
        return InboundMessage.model_construct(
            address=Address.model_construct(channel=self.name, conversation=conversation, tenant=self._tenant),
            event_id=f"{source}:{event_id}",
            account=source,
            account_name=event.account_name or source,
            text=event.text,
            command=event.command,
            args=event.args,
            traceparent=call.headers.get("traceparent"),
            received_at=self._now(),
        )


def connect(settings: Settings) -> Iterable[Channel]:
    """Return the channel; a source whose secret is blank stays shut, and the log says so."""
    sources = {name: open_source(name, source) for name, source in settings.channels.webhook.items()}
    return [SignedWebhook(sources, tenant=settings.tenant)]


def open_source(name: str, source: Webhook) -> Source:
    """Return a source ready to check what comes."""
    try:
        return Source(signature_of(name, source), source.fields, source.header, source.events)
    except Misconfigured as error:
        logger.error("webhook source refused: %s", error, extra={"source": name})  # noqa: TRY400 - told, not failed
        return Source(None)


def signature_of(name: str, source: Webhook) -> StandardSignature | SimpleSignature:
    """Return what checks a source's signatures. Raises Misconfigured where a secret is blank, or of no such form."""
    references = {"secret": source.secret, "previous_secret": source.previous_secret}
    where = f"channels.webhook.{name}"
    found = [
        secrets.resolve(reference, name=f"{where}.{key}").get_secret_value()
        for key, reference in references.items()
        if reference is not None
    ]
    kind = SimpleSignature if source.kind == "simple" else StandardSignature
    return kind(found, name=f"{where}.secret")


def _content(message: InboundMessage, accepted: Accepted) -> dict[str, object]:
    return {
        "message_id": accepted.message_id,
        "conversation": message.address.conversation,
        "url": f"/v1/messages/{accepted.message_id}",
        "duplicate": accepted.duplicate,
    }
