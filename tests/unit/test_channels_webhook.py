"""The signed webhook: which deliveries are authentic, and what an event says. Vectors: the standard's own."""

import base64
import hmac
import json
from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks.webhooks import Webhook

from integrations.channels import Accepted, Answer, Call, discover
from integrations.channels.webhook import SignedWebhook, Source, open_source
from integrations.channels.webhook.events import parse, translate
from integrations.channels.webhook.verify import StandardSignature
from integrations.errors import InvalidInput, Misconfigured, NotFound, Unauthorized
from integrations.messages import InboundMessage
from integrations.settings import Settings
from integrations.settings_channels import Webhook as WebhookSource
from integrations.settings_channels import WebhookFields

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


FIELDS = WebhookFields(
    when={"event": ["deploy", "rollback"]},
    command="{event}",
    args={"version": "{release.tag}", "days": "{days}", "who": "{user.name} <{user.id}>", "gone": "{no.such.path}"},
    conversation="{release.repository}",
    account_name="{user.name}",
    event_id="{id}",
)
DEPLOY = {
    "event": "deploy",
    "id": 77,
    "days": 3,
    "release": {"tag": "v1", "repository": "shop"},
    "user": {"name": "小明", "id": [1]},
}


def test_any_json_becomes_a_command_by_the_table() -> None:
    event = translate(json.dumps(DEPLOY).encode(), FIELDS)

    assert event is not None
    assert (event.command, event.conversation, event.account_name) == ("deploy", "shop", "小明")
    assert event.args == {"version": "v1", "days": 3, "who": "小明 <[1]>"}
    assert event.event_id == "77"


def test_events_that_do_not_count_are_ignored() -> None:
    assert translate(b'{"event": "ping"}', FIELDS) is None
    assert translate(b'{"other": 1}', FIELDS) is None


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{items.1.title}", "b"),
        ("{items.9.title}|{items.x}|", "||"),
        ("{title!r}|{title:>9}|{title.__class__}|{0}|", "||||"),
        ("{title} {{title}} { title }", "t {t} { title }"),
    ],
)
def test_templates_name_values_and_evaluate_nothing(template: str, text: str) -> None:
    body = json.dumps({"title": "t", "items": [{"title": "a"}, {"title": "b"}]}).encode()

    event = translate(body, WebhookFields(text=template, command="x"))

    assert event is not None
    assert event.text == text


async def simple(body: bytes, signature: str, channel: SignedWebhook) -> tuple[list[InboundMessage], Answer]:
    received: list[InboundMessage] = []

    async def receive(message: InboundMessage) -> Accepted:
        received.append(message)
        return Accepted("m1")

    answer = await channel.accept(Call({"source": "deploys"}, {}, {"x-signature": signature}, body), receive)
    return received, answer


def deploys(fields: WebhookFields | None = None, secret: str = "geheim") -> SignedWebhook:
    source = WebhookSource(secret=secret, kind="simple", fields=fields)
    return SignedWebhook({"deploys": open_source("deploys", source)}, now=at)


def signed(body: bytes, secret: bytes = b"geheim") -> str:
    return base64.b64encode(hmac.digest(secret, body, "sha256")).decode()


async def test_a_simple_webhook_is_heard_and_the_same_body_is_the_same_event() -> None:
    channel, body = deploys(), b'{"text": "hi"}'

    (first,), _ = await simple(body, signed(body), channel)
    (second,), _ = await simple(body, signed(body), channel)
    (third,), _ = await simple(b'{"text":"hi"}', signed(b'{"text":"hi"}'), channel)

    assert first.event_id == second.event_id != third.event_id
    assert first.event_id.startswith("deploys:")


async def test_an_event_of_the_table_carries_its_own_id_and_an_ignored_one_is_acknowledged() -> None:
    body, ping = json.dumps(DEPLOY).encode(), b'{"event": "ping"}'

    (message,), _ = await simple(body, signed(body), deploys(FIELDS))
    received, answer = await simple(ping, signed(ping), deploys(FIELDS))

    assert (message.event_id, message.command) == ("deploys:77", "deploy")
    assert (received, answer.status) == ([], 202)


@pytest.mark.parametrize("signature", ["", "é", "AAAA", signed(b"other"), signed(b'{"text": "hi"}', b"wrong")])
async def test_a_simple_webhook_with_another_signature_is_refused(signature: str) -> None:
    with pytest.raises(Unauthorized):
        await simple(b'{"text": "hi"}', signature, deploys())


async def test_a_simple_source_with_a_blank_secret_stays_shut() -> None:
    with pytest.raises(Unauthorized, match="no secret"):
        await simple(b'{"text": "hi"}', signed(b'{"text": "hi"}', b""), deploys(secret=" "))
