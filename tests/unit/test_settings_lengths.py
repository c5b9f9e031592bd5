"""Lengths of time in the settings: written as people write them, and refused by the setting's name."""

from datetime import timedelta
from pathlib import Path

import pytest

from integrations.errors import InvalidInput
from integrations.settings import Settings
from orchestration.terminal.configuration import read_settings


def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> Settings:
    (tmp_path / "runbell.toml").write_text(text)
    monkeypatch.chdir(tmp_path)
    return read_settings()


def test_the_lengths_of_an_approval_of_plans_are_words_or_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    found = settings(
        tmp_path,
        monkeypatch,
        """[plans.approval]
        approvers = "manager"
        expires_after = "3 days"
        remind_after = "2h"
        escalate_to = ["board"]
        escalate_after = 86400
        """,
    ).plans.approval

    assert found is not None
    assert (found.approvers, found.escalate_to) == (("role:manager",), ("role:board",))
    lengths = (found.expires_after, found.remind_after, found.escalate_after)
    assert lengths == (timedelta(days=3), timedelta(hours=2), timedelta(days=1))


def test_settings_in_seconds_take_words_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RUNBELL_WORKERS__LEASE_S", "0.25")
    monkeypatch.setenv("RUNBELL_WORKERS__OP_TIMEOUT_S", "1h30m")

    found = settings(tmp_path, monkeypatch, "[plans]\nseconds = '10 minutes'\n[serving]\nrequest_timeout_s = 30")

    assert (found.workers.lease_s, found.workers.op_timeout_s) == (0.25, 5400.0)
    assert (found.plans.seconds, found.serving.request_timeout_s) == (600.0, 30.0)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "[plans.approval]\napprovers = ['a']\nexpires_after = 'soon'",
            "plans.approval.expires_after: 'soon': no length of time",
        ),
        (
            "[plans.approval]\napprovers = ['a']\nremind_after = '5 parsecs'",
            "plans.approval.remind_after: '5 parsecs': an unknown unit",
        ),
        (
            "[plans.approval]\napprovers = ['a']\nremind_after = '2d'",
            "plans.approval: remind_after must be shorter than",
        ),
        (
            "[plans]\nseconds = 'a while'",
            "plans.seconds: 'a while': no length of time; a length of time is written 90s, 2h or 3 days",
        ),
        ("[actions.http]\ntimeout_s = '0s'", "actions.http.timeout_s: it must be more than 0"),
    ],
)
def test_what_is_no_length_of_time_is_refused_by_the_name_of_its_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, told: str
):
    with pytest.raises(InvalidInput) as refused:
        settings(tmp_path, monkeypatch, text)

    assert told in str(refused.value)
