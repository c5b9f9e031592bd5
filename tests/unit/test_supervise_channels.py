"""What `runbell status` says of channels that a gateway has told about."""

from datetime import UTC, datetime, timedelta

import pytest

from orchestration.supervise.status import ProcessStatus, Status, with_channels
from orchestration.terminal.reports import link_text, show_status

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
READY = Status("ready", "/home", rows=(ProcessStatus("gateway", "ready", healthy=True),))


def link(state: str, *, seconds: float = 0, attempts: int = 0, detail: str = "") -> dict[str, object]:
    since = (NOW - timedelta(seconds=seconds)).isoformat()
    return {"state": state, "since": since, "detail": detail, "attempts": attempts}


@pytest.mark.parametrize(
    "broken",
    [
        link("refused", detail="bot_token is wrong"),
        link("down", seconds=61, attempts=1),
        link("connecting", seconds=1, attempts=6),
        link("down", attempts=6),
    ],
)
def test_a_channel_that_is_refused_or_long_away_is_a_problem(broken: dict[str, object]) -> None:
    found = with_channels(READY, {"slack": broken, "telegram": link("up")}, NOW)

    assert (found.overall, found.well, len(found.problems)) == ("degraded", False, 1)
    assert found.problems[0].startswith("slack: ")


@pytest.mark.parametrize("fine", [link("up"), link("called"), link("down", seconds=5, attempts=1), link("connecting")])
def test_a_connection_that_comes_back_at_once_is_none(fine: dict[str, object]) -> None:
    assert with_channels(READY, {"slack": fine}, NOW).well


def test_the_state_of_each_channel_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    down = link("down", attempts=3, detail="the network closed the connection")

    show_status(with_channels(READY, {"slack": down, "teams": link("called")}, NOW))

    shown = capsys.readouterr().out
    assert "✗  slack: not connected after 3 attempts: the network closed the connection" in shown
    assert "✓  teams: called by the network" in shown
    assert link_text(link("up")) == "connected"
