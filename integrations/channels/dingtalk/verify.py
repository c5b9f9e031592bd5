"""DingTalk's three ways in: HTTP robot (a signed time stamp), event subscription (encrypted), Stream (a socket).

- The robot's sign is base64 of HMAC-SHA256 over `{timestamp ms}\\n{secret}`, keyed with the secret, one hour both
  ways. It does NOT cover the body: whoever saw one may send any body for an hour. Prefer Stream. (The formula is
  confirmed by several implementations; DingTalk's own page could not be read.)
- Events: `msg_signature`, AES and the owner's key, see `integrations.security.envelopes`.
- Stream frames come over TLS with a ticket; nothing in them is signed, but each wants its acknowledgement.
"""

import base64
import hmac
import json
from collections.abc import Mapping, Sequence

from integrations.errors import InvalidInput, Unauthorized
from integrations.security.documents import Document, read_json
from integrations.security.envelopes import Envelope
from integrations.security.signatures import all_required, header, required, same

TOLERANCE_MS = 3_600_000
BOT_TOPIC = "/v1.0/im/bot/messages/get"
MAX_STAMP = 15


class RobotSign:
    """Checks calls of a robot in HTTP mode, by app secret or by the `SEC…` of a group robot."""

    def __init__(self, app_secrets: Sequence[str], *, tolerance_ms: int = TOLERANCE_MS) -> None:
        self._secrets = all_required(app_secrets, "DingTalk's app secret")
        self._tolerance_ms = tolerance_ms

    def verify(self, headers: Mapping[str, str], now_ms: float) -> None:
        """Raise Unauthorized unless the sign is ours and at most an hour off."""
        stamp, offered = header(headers, "timestamp"), header(headers, "sign")
        if not (stamp.isascii() and stamp.isdigit() and len(stamp) <= MAX_STAMP):
            raise Unauthorized("timestamp is not a number of milliseconds.")
        if abs(now_ms - int(stamp)) > self._tolerance_ms:
            raise Unauthorized("timestamp is more than an hour away from our clock.")
        if not any(same(sign(stamp, secret), offered) for secret in self._secrets):
            raise Unauthorized("sign does not fit this timestamp.")


class EventSubscription:
    """Opens encrypted events. `owner` is the app key of an internal app, corp id or suite key otherwise."""

    def __init__(self, token: str, aes_key: str, owner: str) -> None:
        self._envelope = Envelope(token, aes_key, required(owner, "DingTalk's app key"))

    def open(self, query: Mapping[str, str], body: bytes) -> str:
        """Return the event's JSON text; raise Unauthorized for everything else."""
        encrypted = _encrypted(body)
        return self._envelope.open(
            encrypted,
            signature=query.get("msg_signature") or query.get("signature") or "",
            timestamp=query.get("timestamp") or query.get("timeStamp") or "",
            nonce=query.get("nonce") or "",
        )

    def answer(self, *, timestamp: str, nonce: str) -> dict[str, str]:
        """Return the encrypted `success` that confirms an event."""
        encrypted, signature = self._envelope.seal("success", timestamp=timestamp, nonce=nonce)
        return {"msg_signature": signature, "encrypt": encrypted, "timeStamp": timestamp, "nonce": nonce}


def sign(timestamp: str, secret: str) -> str:
    """Return the sign of a time stamp; outgoing group robots use the same."""
    return base64.b64encode(hmac.digest(secret.encode(), f"{timestamp}\n{secret}".encode(), "sha256")).decode()


def acknowledge(frame: Mapping[str, object]) -> Document | None:
    """Return what confirms a Stream frame, None for `disconnect`, which wants no answer.

    Raises InvalidInput for what is no frame. Events say SUCCESS, as the protocol's page wants it and not as
    dingtalk-stream 0.24.3 does it, which echoes their data.
    """
    headers, kind = frame.get("headers"), frame.get("type")
    if not isinstance(headers, dict) or kind not in ("SYSTEM", "EVENT", "CALLBACK"):
        raise InvalidInput("This is no Stream frame.")
    topic, message_id = headers.get("topic"), headers.get("messageId")  # pyright: ignore[reportUnknownMemberType]
    if not isinstance(topic, str) or not isinstance(message_id, str) or not message_id:
        raise InvalidInput("A Stream frame needs a topic and a messageId.")
    if kind == "SYSTEM" and topic == "disconnect":
        return None
    data: Document = {"response": None}
    if kind == "EVENT":
        data = {"status": "SUCCESS", "message": "OK"}
    elif kind == "SYSTEM":
        data = _opaque(frame.get("data"))
    return {
        "code": 200,
        "headers": {"messageId": message_id, "contentType": "application/json"},
        "message": "OK",
        "data": json.dumps(data),
    }


def _opaque(data: object) -> Document:
    return read_json(data) if isinstance(data, str) and data else {}


def _encrypted(body: bytes) -> str:
    try:
        encrypted = read_json(body).get("encrypt")
    except InvalidInput as error:
        raise Unauthorized("The body is no encrypted event.") from error
    if not isinstance(encrypted, str):
        raise Unauthorized("The body is no encrypted event.")
    return encrypted
