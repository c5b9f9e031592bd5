"""Settings with every network set up, for tests that look at all channels; nothing in them is a real secret."""

from pathlib import Path
from typing import Any

from integrations.settings import Settings

AES_KEY = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQ"
NOWHERE = "http://127.0.0.1:9"
SECTIONS: dict[str, dict[str, Any]] = {
    "webhook": {
        "alerts": {"secret": "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"},
        "deploys": {"secret": "simple secret", "kind": "simple"},
    },
    "slack": {
        "mode": "http",
        "bot_token": "xoxb-secret",
        "app_token": "xapp-secret",
        "signing_secret": "signing-secret",
        "api_url": f"{NOWHERE}/api/",
    },
    "dingtalk": {
        "mode": "http",
        "app_key": "dingkey",
        "app_secret": "app-secret",
        "robot_code": "dingkey",
        "event_token": "event-token",
        "event_aes_key": AES_KEY,
        "api_url": NOWHERE,
    },
    "feishu": {
        "mode": "http",
        "app_id": "cli_1",
        "app_secret": "app-secret",
        "encrypt_key": "encrypt-key",
        "verification_token": "verification-token",
        "domain": NOWHERE,
    },
    "wecom": {
        "corp_id": "wwcorp",
        "corp_secret": "corp-secret",
        "agent_id": 1000002,
        "token": "callback-token",
        "aes_key": AES_KEY,
        "bot_id": "aib-1",
        "bot_secret": "robot-secret",
        "api_url": NOWHERE,
        "socket_url": "ws://127.0.0.1:9",
    },
    "telegram": {
        "mode": "webhook",
        "bot_token": "123456789:AAF-secret-of-the-bot_abcdefghijk",
        "secret_token": "webhook-secret",
        "api_url": NOWHERE,
    },
    "teams": {
        "app_id": "00000000-aaaa-bbbb-cccc-000000000001",
        "app_secret": "app-secret",
        "security_token": "vqF0En+Z0ucuRTM/01o2GuhMH3hKKk/N2bOmlM31zaA=",
        "login_url": NOWHERE,
        "metadata_url": f"{NOWHERE}/openid",
    },
    "discord": {
        "mode": "http",
        "bot_token": "bot-secret",
        "application_id": "845027738276462632",
        "public_key": "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8",
        "api_url": NOWHERE,
    },
    "email": {
        "address": "bell@example.com",
        "user": "bell",
        "password": "mail-password",
        "imap_host": "127.0.0.1",
        "smtp_host": "127.0.0.1",
    },
}


def connected(home: Path, **changed: dict[str, Any]) -> Settings:
    """Return settings of an installation at `home` that has every network, with some sections changed."""
    token = home / "token"
    if not token.exists():
        token.write_text("a-token-for-tests-only\n")
        token.chmod(0o600)
    sections = {name: {**section, **changed.get(name, {})} for name, section in SECTIONS.items()}
    return Settings.model_validate({"home": home, "channels": sections})
