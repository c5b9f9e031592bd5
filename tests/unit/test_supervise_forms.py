"""`runbell doctor` on secrets, addresses and variables of the environment: what is malformed or unread is told."""

from pathlib import Path
from typing import Any

import pytest

from integrations.settings import Settings
from orchestration.supervise.forms import misformed, where_to_mend
from orchestration.supervise.variables import unread

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def wrong(home: Path, **sections: Any) -> dict[str, str]:
    return dict(misformed(Settings.model_validate({"home": home, **sections})))


@pytest.mark.parametrize(
    ("sections", "name", "told"),
    [
        ({"channels": {"webhook": {"shop": {"secret": "whsec_%%%"}}}}, "channels.webhook.shop.secret", "base64"),
        ({"channels": {"webhook": {"shop": {"secret": "c2hvcnQ="}}}}, "channels.webhook.shop.secret", "too short"),
        ({"channels": {"webhook": {"shop": {"secret": " "}}}}, "channels.webhook.shop.secret", "blank"),
        ({"gateway": {"callback_secret": "no base64!"}}, "gateway.callback_secret", "base64"),
        ({"sealing_key": "short"}, "sealing_key", "shorter than 16"),
        ({"serving": {"api_key": "env:RUNBELL_NOT_THERE"}}, "serving.api_key", "not set"),
        ({"gateway": {"public_url": "bell.example"}}, "gateway.public_url", "https://…"),
        ({"serving": {"base_url": "http://host:port"}}, "serving.base_url", "no address"),
        ({"telemetry": {"otlp_endpoint": "grpc://host:1"}}, "telemetry.otlp_endpoint", "https://…"),
        ({"database": {"url": "mysql://u:hunter2@host/db"}}, "database.url", "postgresql://"),
        ({"channels": {"slack": {"bot_token": " "}}}, "channels.slack", "blank"),
    ],
)
def test_a_malformed_secret_or_address_is_told_with_its_name(
    tmp_path: Path, sections: dict[str, Any], name: str, told: str
) -> None:
    found = wrong(tmp_path, **sections)[name]

    assert told in found
    assert "hunter2" not in found


@pytest.mark.parametrize(
    "sections",
    [
        {"channels": {"webhook": {"shop": {"secret": SECRET}}}, "gateway": {"callback_secret": SECRET}},
        {"channels": {"webhook": {"shop": {"secret": "anything", "kind": "simple"}}}},
        {"database": {"url": "postgresql:///runbell?host=/run/postgresql"}, "gateway": {"public_url": "https://x.io"}},
    ],
)
def test_what_has_the_right_form_is_not_complained_of(tmp_path: Path, sections: dict[str, Any]) -> None:
    found = wrong(tmp_path, **sections)

    assert found
    assert not any(found.values())


def test_it_is_told_where_a_webhooks_secret_stands_and_how_one_is_made() -> None:
    told = where_to_mend("channels.webhook.shop.secret")

    assert "RUNBELL_CHANNELS__WEBHOOK__SHOP__SECRET" in told
    assert "whsec_$(openssl rand -base64 32)" in told


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("RUNBELL_NONSENSE", "Unset it; settings are RUNBELL_SECTION__NAME."),
        ("RUNBELL_GATEWAY_PORT", "Did you mean RUNBELL_GATEWAY__PORT?"),
        ("RUNBELL_GATWAY__PORT", "Did you mean RUNBELL_GATEWAY__PORT?"),
        ("RUNBELL_HOMES", "Did you mean RUNBELL_HOME?"),
    ],
)
def test_a_variable_that_nothing_reads_is_told_with_what_was_perhaps_meant(name: str, remedy: str) -> None:
    assert unread({name: "1"}, Settings()) == {name: remedy}


@pytest.mark.parametrize(
    "environment",
    [
        {"RUNBELL_HOME": "x", "RUNBELL_TENANT": "a", "runbell_gateway__port": "1", "RUNBELL_GATEWAY": "{}"},
        {"RUNBELL_TEST_MODELS": "x", "RUNBELL_CHROMIUM": "x", "RUNBELL_PROCESS": "gateway"},
        {"RUNBELL_SERVING__API_KEY": "env:RUNBELL_MODEL_KEY", "RUNBELL_MODEL_KEY": "k", "HOME": "/root"},
    ],
)
def test_settings_and_what_they_refer_to_are_read(environment: dict[str, str]) -> None:
    assert unread(environment, Settings()) == {}


def test_a_variable_that_the_settings_file_refers_to_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("models.yaml").write_text("models:\n  big: {api_key: 'env:RUNBELL_BIG_KEY'}\n")

    assert unread({"RUNBELL_BIG_KEY": "k"}, Settings()) == {}
