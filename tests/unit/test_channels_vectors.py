"""Every test vector, what is decrypted from them, and the edges of each network's proof that they don't show."""

import base64
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from integrations.channels.dingtalk.verify import EventSubscription, RobotSign, acknowledge
from integrations.channels.discord.verify import DiscordSignature
from integrations.channels.email.verify import verify_dkim
from integrations.channels.feishu.verify import FeishuEvents, FeishuLegacyCards
from integrations.channels.slack.verify import SlackSignature
from integrations.channels.teams.verify import BotFrameworkToken, OutgoingWebhook, UnknownKey
from integrations.channels.telegram.verify import WebhookSecret, verify_login, verify_web_app
from integrations.channels.vectors import CHECKS, judge, main
from integrations.channels.webhook.verify import SimpleSignature, StandardSignature
from integrations.channels.wecom.verify import WeComApp, WeComRobot
from integrations.errors import InvalidInput, Misconfigured, RunbellError, Unauthorized
from integrations.security.documents import read_json, read_xml
from integrations.security.envelopes import Envelope
from tests.requests import AES_KEY, VECTORS, Json, authentic, vectors

CASES = {case["id"]: case for case in vectors()}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_vector_is_judged_as_a_gateway_must(case: Json) -> None:
    try:
        read = judge(case["platform"], case["scheme"], case["input"])
    except RunbellError:
        assert not case["valid"]
        return
    assert case["valid"]
    plaintext = case["expected"].get("plaintext")
    if isinstance(plaintext, str):
        assert read == plaintext


def test_a_file_of_the_robot_is_decrypted() -> None:
    case = CASES["wecom-14-aibot-file"]

    read = judge("wecom", case["scheme"], case["input"])

    assert read == base64.b64decode(case["expected"]["plaintext_b64"])


def test_a_passive_reply_is_what_the_official_library_makes() -> None:
    case = CASES["wecom-11-passive-reply"]

    assert judge("wecom", case["scheme"], case["input"]) == case["expected"]["response_xml"]


@pytest.mark.parametrize(
    "name", ["dingtalk-20-stream-bot-ack", "dingtalk-21-stream-ping-ack", "dingtalk-24-stream-event-ack"]
)
def test_stream_frames_are_acknowledged_as_the_protocol_says(name: str) -> None:
    case = CASES[name]
    wanted = case["expected"]["ack"]

    ack = acknowledge(case["input"]["frame"])

    assert ack is not None
    assert (ack["code"], ack["headers"]) == (wanted["code"], wanted["headers"])
    data = json.loads(str(ack["data"]))
    assert data in ({"response": None}, {"opaque": "123-dsfs"}, {"status": "SUCCESS", "message": "OK"})


def test_a_disconnect_wants_no_answer() -> None:
    assert acknowledge({"type": "SYSTEM", "headers": {"topic": "disconnect", "messageId": "m"}, "data": "{}"}) is None


@pytest.mark.parametrize(
    "frame", [{}, {"type": "EVENT"}, {"type": "X", "headers": {}}, {"type": "EVENT", "headers": 1}]
)
def test_what_is_no_frame_is_no_frame(frame: Json) -> None:
    with pytest.raises(InvalidInput):
        acknowledge(frame)


def test_the_command_tells_each_verdict_and_whether_all_agree(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(VECTORS)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(CASES)
    assert lines[0] == "slack-02-interactive-form accepted"

    lying = tmp_path / "lying.json"
    lying.write_text(json.dumps({"cases": [{**CASES["slack-08-tampered-body"], "valid": True}]}))
    assert main([str(lying)]) == 1
    assert capsys.readouterr().out.startswith("slack-08-tampered-body rejected ")


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"cases": [{}]}', "\ud800".encode("utf-8", "surrogatepass").decode("latin-1")]
)
def test_a_file_that_holds_no_vectors_is_told(content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "other.json"
    path.write_text(content)

    assert main([str(path)]) == 2
    assert "no file of test vectors" in capsys.readouterr().err


def test_a_scheme_that_nobody_knows_is_rejected() -> None:
    with pytest.raises(Unauthorized, match="unknown scheme"):
        judge("slack", "slack-v9", {})


@pytest.mark.parametrize("scheme", CHECKS, ids=str)
def test_an_empty_case_is_rejected(scheme: tuple[str, str]) -> None:
    with pytest.raises(RunbellError):
        judge(*scheme, {})


BLANK: dict[str, Callable[[str], object]] = {
    "slack": lambda blank: SlackSignature([blank]),
    "dingtalk robot": lambda blank: RobotSign([blank]),
    "dingtalk token": lambda blank: EventSubscription(blank, AES_KEY, "app"),
    "dingtalk key": lambda blank: EventSubscription("t", blank, "app"),
    "dingtalk owner": lambda blank: EventSubscription("t", AES_KEY, blank),
    "feishu": lambda blank: FeishuEvents(encrypt_keys=[blank], verification_tokens=[blank]),
    "feishu cards": lambda blank: FeishuLegacyCards([blank]),
    "wecom token": lambda blank: WeComApp(blank, AES_KEY, "corp"),
    "wecom corp": lambda blank: WeComApp("t", AES_KEY, blank),
    "wecom robot": lambda blank: WeComRobot("t", blank),
    "telegram": lambda blank: WebhookSecret([blank]),
    "telegram app": lambda blank: verify_web_app(blank, "hash=1"),
    "telegram login": lambda blank: verify_login(blank, {"hash": "1"}),
    "discord": lambda blank: DiscordSignature([blank]),
    "teams": lambda blank: BotFrameworkToken([blank]),
    "teams webhook": lambda blank: OutgoingWebhook([blank]),
    "standard": lambda blank: StandardSignature([blank]),
    "simple": lambda blank: SimpleSignature([blank]),
}


@pytest.mark.parametrize("blank", ["", " ", "\n\t"])
@pytest.mark.parametrize("name", BLANK)
def test_a_blank_secret_is_never_used(name: str, blank: str) -> None:
    with pytest.raises(Misconfigured):
        BLANK[name](blank)


@pytest.mark.parametrize("key", ["x", "€" * 43, AES_KEY + "A", "a" * 42])
def test_what_is_no_aes_key_is_told(key: str) -> None:
    with pytest.raises(Misconfigured, match="43 characters"):
        WeComApp("t", key, "corp")


def test_both_slack_secrets_count_during_rotation() -> None:
    given = CASES["slack-13-empty-body"]["input"]

    SlackSignature(["new secret", given["signing_secret"]]).verify(given["headers"], b"", given["now"])


def test_both_feishu_keys_count_during_rotation() -> None:
    given = CASES["feishu-10-event-encrypted-signed"]["input"]
    events = FeishuEvents(
        encrypt_keys=["new", given["encrypt_key"]], verification_tokens=["new", given["verification_token"]]
    )

    assert events.open(given["headers"], given["body"].encode())["schema"] == "2.0"


def test_an_unsigned_challenge_is_answered_and_nothing_else_is() -> None:
    token, key = "v3rificationT0ken", "kudryavka-encrypt-key-01"
    events = FeishuEvents(encrypt_keys=[key], verification_tokens=[token])
    challenge = {"type": "url_verification", "token": token, "challenge": "c"}

    assert events.open({}, json.dumps(challenge).encode())["challenge"] == "c"
    with pytest.raises(Unauthorized):
        events.open({}, json.dumps({**challenge, "type": "event_callback"}).encode())
    with pytest.raises(Unauthorized):
        events.open(
            {},
            json.dumps(
                {"encrypt": json.loads(CASES["feishu-10-event-encrypted-signed"]["input"]["body"])["encrypt"]}
            ).encode(),
        )
    with pytest.raises(Unauthorized):
        events.open({}, json.dumps({**challenge, "header": {"token": "other"}}).encode())


def test_header_names_may_come_in_any_case() -> None:
    for request in authentic():
        headers = request.given.get("headers")
        if headers and request.scheme != "dkim-rsa-sha256":
            shouted = {**request.given, "headers": {name.upper(): value for name, value in headers.items()}}
            judge(request.platform, request.scheme, shouted)


def test_a_doubled_header_is_refused() -> None:
    given = CASES["slack-13-empty-body"]["input"]
    doubled = {**given["headers"], "x-slack-signature": "v0=00"}

    with pytest.raises(Unauthorized):
        SlackSignature([given["signing_secret"]]).verify(doubled, b"", given["now"])


def test_discords_digits_and_body_can_be_cut_in_one_way_only() -> None:
    given = CASES["discord-01-ping"]["input"]
    headers = {**given["headers"], "X-Signature-Timestamp": given["headers"]["X-Signature-Timestamp"] + "{"}

    with pytest.raises(Unauthorized):
        DiscordSignature([given["public_key"]]).verify(headers, given["body"].encode()[1:])


def test_an_unknown_key_is_told_apart_so_that_keys_can_be_fetched_anew() -> None:
    given = CASES["teams-23-jwt-unknown-kid"]["input"]

    with pytest.raises(UnknownKey):
        BotFrameworkToken([given["app_id"]]).verify(
            given["authorization"], given["activity"], given["jwks"], given["now"]
        )


@pytest.mark.parametrize(("seconds", "fine"), [(298, True), (299, True), (300, False), (-86_400, True)])
def test_a_token_ends_five_minutes_after_its_time(seconds: int, fine: bool) -> None:
    given = CASES["teams-11-jwt-expired-in-leeway"]["input"]  # It expires 299 s before the case's clock.
    token, now = BotFrameworkToken([given["app_id"]]), given["now"] - 299 + seconds
    if seconds < 0:
        now = given["now"] - 299

    if fine:
        token.verify(given["authorization"], given["activity"], given["jwks"], now)
    else:
        with pytest.raises(Unauthorized, match="expired"):
            token.verify(given["authorization"], given["activity"], given["jwks"], now)


def test_a_key_without_endorsements_is_not_enough() -> None:
    given = CASES["teams-11-jwt-expired-in-leeway"]["input"]
    jwks = {"keys": [{k: v for k, v in given["jwks"]["keys"][0].items() if k != "endorsements"}]}

    with pytest.raises(Unauthorized, match="endorsed"):
        BotFrameworkToken([given["app_id"]]).verify(given["authorization"], given["activity"], jwks, given["now"])


def email(before: bytes = b"", *, after: bytes = b"") -> Json:
    given = CASES["email-01-dkim-ok"]["input"]
    message = before + base64.b64decode(given["message_b64"]) + after
    return {**given, "message_b64": base64.b64encode(message).decode()}


@pytest.mark.parametrize(
    "spoilt",
    [
        email(b"From: Mallory <boss@example.com>\r\n"),
        email(b"From: Alice <alice@other.example>\r\n"),
        email(after=b"PS: pay at once\r\n"),
        {**email(), "dns_txt": {}},
        {**email(), "dns_txt": {"ops._domainkey.example.com.": "v=DKIM1; k=rsa; p="}},
        {**email(), "dns_txt": {"ops._domainkey.example.com.": "nonsense \ud800"}},
        {**email(), "message_b64": ""},
        {**email(), "now": 1_600_000_000},
    ],
)
def test_a_mail_that_its_senders_domain_does_not_vouch_for_is_refused(spoilt: Json) -> None:
    with pytest.raises(Unauthorized):
        judge("email", "dkim-rsa-sha256", spoilt)


def test_a_mail_tells_which_domain_vouches() -> None:
    given = email()
    records = {name: value.encode() for name, value in given["dns_txt"].items()}

    assert verify_dkim(base64.b64decode(given["message_b64"]), records.get) == "example.com"


BOMB = '<!DOCTYPE x [<!ENTITY a "aaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><xml><Encrypt>&b;</Encrypt></xml>'


@pytest.mark.parametrize(
    "body",
    [
        BOMB,
        '<!DOCTYPE x SYSTEM "file:///etc/passwd"><xml><Encrypt>x</Encrypt></xml>',
        "<xml><Encrypt>a</Encrypt><Encrypt>b</Encrypt></xml>",
        "<xml><Encrypt>a</Encrypt>",
        "",
        "<a>" * 50_000,
        "<xml>" + "<b/>" * 2000 + "</xml>",
        b"\xff\xfe<xml/>",
        "x" * 2_000_000,
    ],
)
def test_xml_that_expands_nests_or_doubles_is_refused(body: str | bytes) -> None:
    with pytest.raises(InvalidInput):
        read_xml(body)
    with pytest.raises(Unauthorized):
        WeComApp("t", AES_KEY, "corp").open({}, body if isinstance(body, bytes) else body.encode())


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b'{"a":1,"a":2}', b'{"a":NaN}', b'{"a":1e999}', b"[" * 200_000, b'{"a":' * 100 + b"1" + b"}" * 100,
     b'{"a":"\\ud800"}', b'{"a":"\\u0000"}', b"\xff", b'{"a":' + b"9" * 5000 + b"}"],
)  # fmt: skip
def test_json_that_is_no_plain_object_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidInput):
        read_json(body)


def test_an_envelope_opens_what_it_sealed_whatever_the_length() -> None:
    envelope = Envelope("t", AES_KEY, "corp")

    for length in range(70):
        text = "字" * length
        sealed, signature = envelope.seal(text, timestamp="1700000000", nonce="n")
        assert envelope.open(sealed, signature=signature, timestamp="1700000000", nonce="n") == text


def test_an_encrypted_success_confirms_an_event() -> None:
    events = EventSubscription("t", AES_KEY, "app")

    answer = events.answer(timestamp="1700000000000", nonce="n")

    query = {"msg_signature": answer["msg_signature"], "timestamp": answer["timeStamp"], "nonce": answer["nonce"]}
    assert events.open(query, json.dumps({"encrypt": answer["encrypt"]}).encode()) == "success"


def test_secrets_do_not_show_in_a_verifiers_repr() -> None:
    assert "geheim" not in repr(
        [SlackSignature(["geheim"]), Envelope("geheim", AES_KEY, ""), SimpleSignature(["geheim"])]
    )
