"""The signed webhook: which deliveries are authentic, and what an event says. Vectors: the standard's own."""

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks.webhooks import Webhook

from integrations.channels import Accepted, Call, discover
from integrations.channels.webhook import SignedWebhook, Source
from integrations.channels.webhook.events import parse
from integrations.channels.webhook.verify import StandardSignature
from integrations.errors import InvalidInput, Misconfigured, NotFound, Unauthorized
from integrations.messages import InboundMessage
from integrations.settings import Settings

KEY = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
BODY = b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
SIGNED_AT = 1614265330
OTHER = base64.b64encode(b"another secret of 32 bytes......").decode()


def headers(**changed: str) -> dict[str, str]:
    names = {"id": ID, "timestamp": str(SIGNED_AT), "signature": SIGNATURE, **changed}
    return {f"webhook-{name}": value for name, value in names.items()}


def at(seconds: float = 0) -> datetime:
    return datetime.fromtimestamp(SIGNED_AT, UTC) + timedelta(seconds=seconds)


@pytest.mark.parametrize("seconds", [0, 300, -300])
def test_the_standards_own_sample_is_accepted_within_five_minutes(seconds: float) -> None:
    assert StandardSignature([KEY]).verify(headers(), BODY, at(seconds).timestamp()) == ID


@pytest.mark.parametrize("seconds", [301, -301])
def test_stale_and_future_deliveries_are_refused(seconds: float) -> None:
    with pytest.raises(Unauthorized, match="five minutes"):
        StandardSignature([KEY]).verify(headers(), BODY, at(seconds).timestamp())


def test_both_secrets_count_while_one_replaces_the_other() -> None:
    assert StandardSignature([OTHER, KEY]).verify(headers(), BODY, at().timestamp()) == ID


def test_one_fitting_signature_of_a_list_is_enough() -> None:
    several = f"v1,AAAA v1a,BBBB nonsense v2 {SIGNATURE}"

    assert StandardSignature([KEY]).verify(headers(signature=several), BODY, at().timestamp()) == ID


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": ""},
        {"id": "msg_other"},
        {"id": "a b"},
        {"id": "x" * 181},
        {"id": "é"},
        {"timestamp": ""},
        {"timestamp": "abc"},
        {"timestamp": f"{SIGNED_AT}.0"},
        {"timestamp": "１６１４２６５３３０"},
        {"timestamp": "9" * 12},
        {"timestamp": "nan"},
        {"signature": ""},
        {"signature": "v1"},
        {"signature": "v1,"},
        {"signature": "v1,%%%"},
        {"signature": "v1,é"},
        {"signature": SIGNATURE.replace("v1,", "v1a,")},
        {"signature": SIGNATURE.replace("g0", "G0")},
    ],
)
def test_every_malformed_or_wrong_header_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(Unauthorized):
        StandardSignature([KEY]).verify(headers(**wrong), BODY, at().timestamp())


@pytest.mark.parametrize("body", [b"", b'{"test": 2432232315}', b"\xff\xfe"])
def test_another_body_is_refused(body: bytes) -> None:
    with pytest.raises(Unauthorized):
        StandardSignature([KEY]).verify(headers(), body, at().timestamp())


def test_a_source_without_secret_accepts_nothing() -> None:
    with pytest.raises(Misconfigured, match="missing"):
        StandardSignature([])


@pytest.mark.parametrize("secret", ["", "   ", "env:NOT_SET_ANYWHERE", "not base64!", "whsec_c2hvcnQ="])
async def test_a_source_whose_secret_is_no_secret_stays_shut(secret: str) -> None:
    settings = Settings.model_validate({"channels": {"webhook": {"alerts": {"secret": secret}}}})
    channel = discover(settings)["webhook"]
    assert isinstance(channel, SignedWebhook)

    with pytest.raises(Unauthorized):
        await channel.accept(Call({"source": "alerts"}, {}, headers(), BODY), unreachable)


@pytest.mark.parametrize(
    "secret",
    [
        KEY,
        f"whsec_{KEY}",
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8",
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
    ],
)
async def test_a_secret_is_read_with_and_without_prefix_and_padding(secret: str) -> None:
    settings = Settings.model_validate({"channels": {"webhook": {"alerts": {"secret": secret}}}})
    now = datetime.now(UTC)
    body, event_id = '{"text": "hi"}', "evt"
    signed = headers(
        id=event_id, timestamp=str(int(now.timestamp())), signature=Webhook(secret).sign(event_id, now, body)
    )
    channel = discover(settings)["webhook"]
    assert isinstance(channel, SignedWebhook)

    async def receive(_: InboundMessage) -> Accepted:
        return Accepted("m1")

    answer = await channel.accept(Call({"source": "alerts"}, {}, signed, body.encode()), receive)

    assert answer.status == 202


async def test_an_unknown_source_is_not_there() -> None:
    with pytest.raises(NotFound):
        await SignedWebhook({}).accept(Call({"source": "alerts"}, {}, headers(), BODY), unreachable)


async def test_an_event_becomes_a_message_of_its_source() -> None:
    received: list[InboundMessage] = []

    async def receive(message: InboundMessage) -> Accepted:
        received.append(message)
        return Accepted("m1")

    body = json.dumps({"type": "alert", "data": {"text": "磁盘 90%", "conversation": "disks"}}).encode()
    signature = Webhook(KEY).sign(ID, at(), body.decode())
    channel = SignedWebhook({"alerts": Source(StandardSignature([KEY]))}, now=at)

    answer = await channel.accept(Call({"source": "alerts"}, {}, headers(signature=signature), body), receive)

    message = received[0]
    assert (answer.status, answer.content["message_id"]) == (202, "m1")
    assert (message.address.channel, message.address.conversation) == ("webhook", "alerts/disks")
    assert (message.event_id, message.account, message.text) == (f"alerts:{ID}", "alerts", "磁盘 90%")
    assert InboundMessage.model_validate(message.model_dump()) == message


@pytest.mark.parametrize(
    "event",
    [{"text": "hi"}, {"data": {"text": "hi"}}, {"text": "hi", "type": "x", "more": 1}, {"text": "\x07hi"}],
)
def test_text_is_read_from_the_top_or_from_data(event: object) -> None:
    assert parse(json.dumps(event).encode()).text == "hi"


def test_a_command_needs_no_text() -> None:
    event = parse(b'{"command": "digest", "args": {"days": 2}}')

    assert (event.command, event.args) == ("digest", {"days": 2})


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{", b"{}", b'{"text": " "}', b'{"text": 1}', b'{"text": "a\\u0000"}', b'{"text": "\\ud800"}',
     b'{"text": "x", "conversation": "a\\nb"}', b'{"command": "x", "args": {"a": NaN}}', b"{" * 100_000,
     b'{"text": "' + b"x" * 100_001 + b'"}'],
)  # fmt: skip
def test_an_authentic_body_that_says_nothing_usable_is_invalid(body: bytes) -> None:
    with pytest.raises(InvalidInput):
        parse(body)


async def unreachable(message: InboundMessage) -> Accepted:
    raise AssertionError(f"nothing may be received, least of all {message}")
