"""What must not reach a log or a span."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integrations.telemetry.redaction import MASK, MAX_CHARS, redact, redact_value

SECRET = "s3cr3tValue0123456789"


@pytest.mark.parametrize(
    "text",
    [
        f"Authorization: Bearer {SECRET}",
        f"authorization: bearer {SECRET}",
        f"postgresql://runbell:{SECRET}@127.0.0.1:5432/runbell",
        f"postgresql+psycopg2://runbell:p@ss:{SECRET}@host/db failed",
        f"redis://:{SECRET}@host",
        f"secret whsec_{SECRET}+/= is wrong",
        f"https://hooks.slack.com/services/T000/B000/{SECRET}",
        f"https://open.feishu.cn/open-apis/bot/v2/hook/{SECRET}",
        f"https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key={SECRET}",
        f"https://oapi.dingtalk.com/robot/send?access_token={SECRET}&sign={SECRET}",
        f"https://api.telegram.org/bot123456:{SECRET}/getUpdates",
        f"xoxb-1234-{SECRET}",
        f"sk-{SECRET}",
        f"{{'api_key': '{SECRET}', 'x': 1}}",
        f'{{"webhook_secret": "{SECRET}"}}',
        f"password={SECRET} host=127.0.0.1",
        f"PGPASSWORD={SECRET}",
    ],
)
def test_a_secret_is_masked(text: str):
    assert SECRET not in redact(text)
    assert MASK in redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "message 1f0c answered in 120 ms",
        "postgresql://127.0.0.1:5432/runbell is up",
        "tokens_in=120 run_key=daily-1 idempotency_key=7",
        "http://127.0.0.1:8080/v1/messages?after=3",
        "你好，世界",
        "see mailto:anna@example.com",
    ],
)
def test_what_is_no_secret_stays(text: str):
    assert redact(text) == text


def test_fields_are_masked_by_their_name_however_deep():
    value = {"headers": [{"Authorization": "abc", "Cookie": "d"}], "tokens_in": 12, "url": f"x://u:{SECRET}@h"}

    assert redact_value("request", value) == {
        "headers": [{"Authorization": MASK, "Cookie": MASK}],
        "tokens_in": 12,
        "url": f"x://u:{MASK}@h",
    }


def test_a_huge_text_is_cut():
    assert len(redact("x" * 1_000_000)) < MAX_CHARS + 50


@pytest.mark.parametrize(
    "text", ["://a:" * 20_000, "bearer " * 20_000, "password=" * 20_000, "a" * 100_000, "/bot1" * 20_000]
)
def test_a_hostile_text_takes_no_time(text: str):
    begun = time.thread_time()

    redact(text)

    assert time.thread_time() - begun < 0.5


@given(st.text(max_size=300))
def test_any_text_can_be_redacted_twice(text: str):
    once = redact(text)

    assert redact(redact(once)) == redact(once)
