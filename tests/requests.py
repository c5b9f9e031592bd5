"""Authentic requests of every network, from the given vectors and from our own signing, and how to spoil them."""

import base64
import copy
import hashlib
import hmac
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from hypothesis import strategies as st

from integrations.channels.vectors import judge
from integrations.security.envelopes import Envelope

VECTORS = Path(__file__).parent / "data" / "channels" / "vectors.json"
Json = dict[str, Any]
AES_KEY = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQ"
SETTINGS = {"now", "now_ms", "max_skew_ms", "leeway_s", "jwks", "dns_txt", "app_id", "public_key", "plaintext"}
SETTINGS |= {"signing_secret", "app_secret", "secret", "token", "encoding_aes_key", "owner_key", "receive_id", "aeskey"}
SETTINGS |= {"encrypt_key", "verification_token", "secret_token", "bot_token", "security_token", "random16"}


@dataclass(frozen=True)
class Authentic:
    """A request that is accepted, and what is read out of it."""

    platform: str
    scheme: str
    given: Json
    read: object

    @classmethod
    def of(cls, platform: str, scheme: str, given: Json) -> "Authentic":
        return cls(platform, scheme, given, judge(platform, scheme, given))


def vectors() -> list[Json]:
    return json.loads(VECTORS.read_bytes())["cases"]


def authentic() -> list[Authentic]:
    """Return one or more per scheme that proves something."""
    unproven = {"dingtalk-stream-ack", "wecom-xml-aes-reply", "feishu-aes", "wecom-aibot-file-aes"}
    given = [c for c in vectors() if c["valid"] and c["scheme"] not in unproven]
    found = [Authentic.of(c["platform"], c["scheme"], c["input"]) for c in given]
    return [*found, feishu_card(), wecom_url(), wecom_robot(), telegram_web_app()]


def feishu_card() -> Authentic:
    token, stamp, nonce, body = (
        "v3rificationT0ken",
        "1700000000",
        "7c3d1f",
        '{"open_id":"ou_x","action":{"tag":"button"}}',
    )
    signature = hashlib.sha1((stamp + nonce + token + body).encode()).hexdigest()
    headers = {"X-Lark-Request-Timestamp": stamp, "X-Lark-Request-Nonce": nonce, "X-Lark-Signature": signature}
    given = {"verification_token": token, "headers": headers, "body": body}
    return Authentic.of("feishu", "feishu-card-legacy", given)


def wecom_url() -> Authentic:
    settings = {"token": "t0ken", "encoding_aes_key": AES_KEY, "receive_id": "wwcorp"}
    echo, signature = Envelope("t0ken", AES_KEY, "wwcorp").seal("12345", timestamp="1700000000", nonce="77")
    query = {"msg_signature": signature, "timestamp": "1700000000", "nonce": "77", "echostr": echo}
    return Authentic.of("wecom", "wecom-verify-url", {**settings, "query": query})


def wecom_robot() -> Authentic:
    settings = {"token": "t0ken", "encoding_aes_key": AES_KEY, "receive_id": ""}
    text = '{"msgid":"m1","text":{"content":"你好"}}'
    encrypted, signature = Envelope("t0ken", AES_KEY, "").seal(text, timestamp="1700000000", nonce="n")
    query = {"msg_signature": signature, "timestamp": "1700000000", "nonce": "n"}
    return Authentic.of(
        "wecom", "wecom-json-aes", {**settings, "query": query, "body": json.dumps({"encrypt": encrypted})}
    )


def telegram_web_app() -> Authentic:
    bot, fields = "123:abc", {"auth_date": "1700000000", "query_id": "AAH", "user": '{"id":1,"first_name":"小明"}'}
    key = hmac.digest(b"WebAppData", bot.encode(), "sha256")
    signed = "\n".join(f"{name}={fields[name]}" for name in sorted(fields)).encode()
    data = urlencode({**fields, "hash": hmac.digest(key, signed, "sha256").hex()})
    return Authentic.of("telegram", "telegram-webapp-hmac", {"bot_token": bot, "init_data": data})


# A mutation is (which leaf, what, where, with what): integers only, so that hypothesis shrinks them well.
Mutation = tuple[int, int, int, int]
mutations = st.tuples(
    st.integers(0, 40), st.integers(0, 13), st.integers(0, 5000), st.integers(0, 0x10FFFF)
)  # fmt: skip


def spoil(request: Authentic, mutation: Mutation) -> Json:
    """Return a copy of the request with one leaf of it spoilt."""
    given = copy.deepcopy(request.given)
    leaves = [(holder, key) for holder, key in _leaves(given)]
    leaf, how, where, what = mutation
    holder, key = leaves[leaf % len(leaves)]
    if key == "message_b64":
        holder[key] = base64.b64encode(_spoil_email(base64.b64decode(holder[key]), where, what)).decode()
    elif key == "body" and isinstance(holder[key], str) and how < 5:
        holder[key] = _spoil_bytes(holder[key].encode(), how, where, what)
    elif how == 13:
        del holder[key]
    else:
        holder[key] = _spoil_text(str(holder[key]), how, where, what)
    return given


def _leaves(value: Json, *, top: bool = True) -> list[tuple[Json, str]]:
    found: list[tuple[Json, str]] = []
    for key, item in value.items():
        if top and key in SETTINGS:
            continue
        found += _leaves(item, top=False) if isinstance(item, dict) else [(value, key)]
    return found


def _spoil_bytes(data: bytes, how: int, where: int, what: int) -> bytes:
    at = where % max(1, len(data))
    flipped = bytes([data[at] ^ (1 << what % 8)]) if data else b"\x00"
    return (
        data[:at] + flipped + data[at + 1 :],
        data[:at],
        data[:at] + bytes([what % 256]) + data[at:],
        data[at:] + data[:at] if at else data + b" ",
        b"[" * 20_000 + data,
    )[how]


def _spoil_text(text: str, how: int, where: int, what: int) -> str:
    at = where % max(1, len(text))
    return (
        text[:at] + chr(ord(text[at : at + 1] or "a") ^ (1 << what % 7)) + text[at + 1 :],
        text[:at],
        text[:at] + chr(what) + text[at:],
        text.swapcase(),
        text[:at] + text[at + 1 :],
        "",
        text + "\n",
        f" {text}",
        text + "=",
        chr(what),
        text * 2,
        "9" * (where + 1),
        "\x00\ud800٣",
        text,
    )[how]


def _spoil_email(message: bytes, where: int, what: int) -> bytes:
    """Change a letter of what is signed: the sender, the subject, the id, the signature or the body."""
    at = where % len(message)
    while not chr(message[at]).isalnum() or _unsigned(message, at):
        at = (at + 1) % len(message)
    old = chr(message[at]).lower()
    new = next(code for code in (97 + what % 26, 97 + (what + 1) % 26) if chr(code) != old)
    return message[:at] + bytes([new]) + message[at + 1 :]


def _unsigned(message: bytes, at: int) -> bool:
    head, _, _ = message.partition(b"\r\n\r\n")
    line = message[message.rfind(b"\r\n", 0, at) + 2 :].lower()
    return at < len(head) and line.startswith((b"mime-version", b"content-t"))


READ = {"wecom-xml-aes", "wecom-json-aes", "dingtalk-event-aes", "wecom-verify-url", "feishu-event"}
READ |= {"telegram-webapp-hmac"}


def is_unchanged(request: Authentic, given: Json, read: object) -> bool:
    """Tell whether an accepted request says what the authentic one says: nothing that is proven was touched."""
    if request.given in (given, {"body": "", **given}):
        return True
    if request.scheme == "feishu-event" and not request.given["encrypt_key"]:
        # Nothing is signed without an Encrypt Key; all that the protocol has is the token.
        return "v3rificationT0ken" in str(given["body"])
    if request.scheme in READ:
        return read == request.read
    if request.scheme == "standard-webhooks-v1":
        return _without_list(given) == _without_list(request.given) and _signatures(given) >= _signatures(request.given)
    body = given.get("body")
    return isinstance(body, bytes) and {**given, "body": body.decode("utf-8", "replace")} == request.given


def _without_list(given: Json) -> Json:
    return {**given, "headers": {k: v for k, v in given["headers"].items() if k != "webhook-signature"}}


def _signatures(given: Json) -> set[str]:
    """Return the entries of the list that could count; others may be added, since unknown versions are skipped."""
    return {entry for entry in given["headers"]["webhook-signature"].split(" ") if "AAAA" not in entry}
