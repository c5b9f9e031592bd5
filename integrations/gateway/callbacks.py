"""Callbacks: what becomes of a run is posted to its caller's address, as signed Standard Webhooks, until it is taken.

The outbox keeps order and repeats; `webhook-id` is the same in every attempt, so that the receiver can tell. The
addresses that may be called are those of `[actions.http]`: public ones, unless it names others.
"""

import asyncio
import base64
import json
import secrets
from datetime import datetime

from standardwebhooks import Webhook

from integrations.calling import Address, call
from integrations.channels import Capabilities, Receive
from integrations.database.callbacks import CHANNEL
from integrations.errors import Forbidden, InvalidInput, Rejected, Unavailable
from integrations.messages import Delivery, OutboundMessage, utc_now
from integrations.security.reach import Reach
from integrations.security.secrets import resolve
from integrations.security.tokens import create_secret
from integrations.settings import Settings

FILE = "callback_secret"
TIMEOUT_S = 20.0
MAX_ANSWER_BYTES = 65_536


class Callbacks:
    """The outbox's way to those who asked to be called back; nobody writes here."""

    name = CHANNEL
    repeatable = True
    capabilities = Capabilities(markdown=True, dialogue=False, max_text=10_000_000, idempotent=True)

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._reach = reach_of(settings)
        reference = settings.gateway.callback_secret
        if reference is None:
            value = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
            reference = f"file:{create_secret(settings.state, FILE, value)}"
        self._webhook = Webhook(resolve(reference, name="gateway.callback_secret").get_secret_value())

    async def listen(self, receive: Receive) -> None:
        """Return at once."""

    async def send(self, message: OutboundMessage) -> Delivery:
        """Post it. Raises `Unavailable` for every answer but 2xx and 410, `Rejected` for that one and bad addresses."""
        return await asyncio.to_thread(self._post, message)

    def _post(self, message: OutboundMessage) -> Delivery:
        body, key, now = self._body(message.text), message.key or "", utc_now()
        try:
            called = call(
                "POST",
                message.address.conversation,
                headers=self._headers(key, now, body),
                body=body.encode(),
                reach=self._reach,
                timeout_s=TIMEOUT_S,
                max_bytes=MAX_ANSWER_BYTES,
            )
        except Rejected as error:  # whoever gets it twice knows it by its id
            raise Unavailable(str(error)) from error
        if called.status == 410:
            raise Rejected("The address wants no more callbacks (410).")
        if not 200 <= called.status < 300:
            raise Unavailable(f"The address answered {called.status}.")
        return Delivery(state="sent")

    def _headers(self, key: str, now: datetime, body: str) -> dict[str, str]:
        return {
            "Content-Type": "application/json",
            "User-Agent": "Runbell",
            "webhook-id": key,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": self._webhook.sign(key, now, body),
        }

    def _body(self, text: str) -> str:
        told = json.loads(text)
        told["data"]["run_url"] = self._settings.run_url(told["data"]["run_id"])
        return json.dumps(told, ensure_ascii=False)


def reach_of(settings: Settings) -> Reach:
    """Return what may be called."""
    return Reach(tuple(settings.actions.http.hosts), tuple(settings.actions.http.private))


def check_address(url: str, settings: Settings) -> str:
    """Return an address that may be called back now; raise `InvalidInput` saying why not. Looks its name up."""
    try:
        address = Address.of(url)
        reach_of(settings).resolve(address.host, address.port)
    except (InvalidInput, Forbidden, Unavailable) as error:
        raise InvalidInput(f"This address can't be called back: {error}", field="callback_url") from error
    return url
