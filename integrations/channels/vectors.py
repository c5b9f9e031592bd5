"""`python -m integrations.channels.vectors FILE`: judge test vectors with the code that the gateway uses.

Prints `id accepted|rejected reason` per case and exits 0 when all agree with their `valid`. The clock comes from each
case. A case whose secret we would refuse to start with is rejected, as are schemes that nobody here knows.
"""

import argparse
import base64
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from integrations.channels.dingtalk.verify import EventSubscription, RobotSign, acknowledge
from integrations.channels.discord.verify import DiscordSignature
from integrations.channels.email.verify import verify_dkim
from integrations.channels.feishu.verify import FeishuEvents, FeishuLegacyCards, decrypt_text
from integrations.channels.slack.verify import SlackSignature
from integrations.channels.teams.verify import BotFrameworkToken, OutgoingWebhook
from integrations.channels.telegram.verify import WebhookSecret, verify_login, verify_web_app
from integrations.channels.webhook.verify import SimpleSignature, StandardSignature
from integrations.channels.wecom.verify import WeComApp, WeComRobot, decrypt_file_text
from integrations.errors import RunbellError, Unauthorized

Given = Mapping[str, Any]
Check = Callable[[Given], object]


def judge(platform: str, scheme: str, given: Given) -> object:
    """Return what the case holds (a decrypted text, an acknowledgement); raise a RunbellError where it is refused."""
    check = CHECKS.get((platform, scheme))
    if check is None:
        raise Unauthorized(f"unknown scheme {scheme} of {platform}")
    try:
        return check(given)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise Unauthorized(f"the case is malformed: {type(error).__name__} {error}") from error


def main(arguments: Sequence[str] | None = None) -> int:
    """Judge a file; returns 0 when all verdicts agree, 1 otherwise, 2 where the file can't be read."""
    parser = argparse.ArgumentParser(prog="python -m integrations.channels.vectors", description="Verify test vectors.")
    parser.add_argument("file", type=Path, help="JSON: {cases: [{id, platform, scheme, valid, input}]}")
    path: Path = parser.parse_args(arguments).file
    try:
        cases = json.loads(path.read_bytes())["cases"]
        verdicts = [_verdict(case) for case in cases]
    except (OSError, ValueError, KeyError, TypeError) as error:
        sys.stderr.write(f"{path} is no file of test vectors: {type(error).__name__} {error}\n")
        return 2
    wrong = [case["id"] for case, (accepted, _) in zip(cases, verdicts, strict=True) if accepted != case["valid"]]
    for case, (accepted, reason) in zip(cases, verdicts, strict=True):
        sys.stdout.write(f"{case['id']} {'accepted' if accepted else 'rejected'} {reason}".rstrip() + "\n")
    if wrong:
        sys.stderr.write(f"{len(wrong)} of {len(cases)} disagree: {', '.join(wrong)}\n")
    return 1 if wrong else 0


def _verdict(case: Mapping[str, Any]) -> tuple[bool, str]:
    try:
        judge(case["platform"], case["scheme"], case["input"])
    except RunbellError as error:
        return False, str(error)
    return True, ""


def _body(given: Given) -> bytes:
    body = given.get("body", "")
    if isinstance(body, bytes):
        return body
    return body.encode("utf-8", "surrogatepass") if isinstance(body, str) else json.dumps(body).encode()


def _slack(given: Given) -> object:
    return SlackSignature([given["signing_secret"]]).verify(given["headers"], _body(given), given["now"])


def _robot(given: Given) -> object:
    now_ms = given["now_ms"] if "now_ms" in given else given["now"] * 1000
    sign = RobotSign([given["app_secret"]], tolerance_ms=given.get("max_skew_ms", 3_600_000))
    return sign.verify(given["headers"], now_ms)


def _subscription(given: Given) -> object:
    events = EventSubscription(given["token"], given["encoding_aes_key"], given["owner_key"])
    return events.open(given["query"], _body(given))


def _feishu(given: Given) -> object:
    events = FeishuEvents(
        encrypt_keys=[given.get("encrypt_key") or ""], verification_tokens=[given["verification_token"]]
    )
    return events.open(given["headers"], _body(given))


def _feishu_card(given: Given) -> object:
    return FeishuLegacyCards([given["verification_token"]]).verify(given["headers"], _body(given))


def _wecom(given: Given) -> WeComApp:
    return WeComApp(given["token"], given["encoding_aes_key"], given["receive_id"])


def _wecom_robot(given: Given) -> WeComRobot:
    return WeComRobot(given["token"], given["encoding_aes_key"], given["receive_id"])


def _wecom_reply(given: Given) -> object:
    return _wecom(given).reply(
        given["plaintext"],
        timestamp=given["timestamp"],
        nonce=given["nonce"],
        random=given["random16"].encode(),
    )


def _discord(given: Given) -> object:
    return DiscordSignature([given["public_key"]]).verify(given["headers"], _body(given))


def _standard(given: Given) -> object:
    return StandardSignature([given["secret"]]).verify(given["headers"], _body(given), given["now"])


def _simple(given: Given) -> object:
    return SimpleSignature([given["secret"]]).verify(given["signature"], _body(given))


def _teams_webhook(given: Given) -> object:
    return OutgoingWebhook([given["security_token"]]).verify(given["headers"], _body(given))


def _teams(given: Given) -> object:
    token = BotFrameworkToken([given["app_id"]], leeway_s=given.get("leeway_s", 300))
    return token.verify(given.get("authorization") or "", given["activity"], given["jwks"], given["now"])


def _email(given: Given) -> object:
    records: Mapping[str, str] = given["dns_txt"]

    def lookup(name: str) -> bytes | None:
        found = records.get(name) or records.get(name.rstrip("."))
        return None if found is None else found.encode()

    return verify_dkim(base64.b64decode(given["message_b64"]), lookup, given.get("now"))


CHECKS: Mapping[tuple[str, str], Check] = {
    ("slack", "slack-v0"): _slack,
    ("dingtalk", "dingtalk-robot-sign"): _robot,
    ("dingtalk", "dingtalk-event-aes"): _subscription,
    ("dingtalk", "dingtalk-stream-ack"): lambda given: acknowledge(given["frame"]),
    ("feishu", "feishu-event"): _feishu,
    ("feishu", "feishu-aes"): lambda given: decrypt_text(given["encrypt_key"], given["encrypt"]),
    ("feishu", "feishu-card-legacy"): _feishu_card,
    ("wecom", "wecom-xml-aes"): lambda given: _wecom(given).open(given["query"], _body(given)),
    ("wecom", "wecom-verify-url"): lambda given: _wecom(given).verify_url(given["query"]),
    ("wecom", "wecom-xml-aes-reply"): _wecom_reply,
    ("wecom", "wecom-json-aes"): lambda given: _wecom_robot(given).open(given["query"], _body(given)),
    ("wecom", "wecom-aibot-file-aes"): lambda given: decrypt_file_text(given["aeskey"], given["file_b64"]),
    ("telegram", "telegram-secret-token"): lambda given: WebhookSecret([given["secret_token"]]).verify(
        given["headers"]
    ),
    ("telegram", "telegram-webapp-hmac"): lambda given: verify_web_app(given["bot_token"], given["init_data"]),
    ("telegram", "telegram-login-hmac"): lambda given: verify_login(given["bot_token"], given["data"]),
    ("discord", "discord-ed25519"): _discord,
    ("webhook", "standard-webhooks-v1"): _standard,
    ("webhook", "simple-hmac-sha256-base64"): _simple,
    ("teams", "teams-outgoing-webhook-hmac"): _teams_webhook,
    ("teams", "botframework-jwt"): _teams,
    ("email", "dkim-rsa-sha256"): _email,
}


if __name__ == "__main__":
    sys.exit(main())
