"""`runbell connect` against the simulated networks: what is asked, what is written, what is explained."""

import asyncio
import stat
import subprocess
import sys
import tomllib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from integrations.channels.discord.check import PERMISSIONS
from integrations.channels.feishu.check import PERMISSIONS as FEISHU
from integrations.channels.setup import networks
from integrations.channels.simulators.base import Fault
from integrations.channels.simulators.dingtalk import SimulatedDingTalk
from integrations.channels.simulators.dingtalk_platform import SCOPES as DINGTALK
from integrations.channels.simulators.discord import SimulatedDiscord
from integrations.channels.simulators.email import SimulatedEmail
from integrations.channels.simulators.feishu import SimulatedFeishu
from integrations.channels.simulators.slack import SimulatedSlack
from integrations.channels.simulators.teams import SimulatedTeams
from integrations.channels.simulators.telegram import SimulatedTelegram
from integrations.channels.simulators.wecom import SimulatedWeCom
from integrations.channels.slack.check import SCOPES
from integrations.errors import InvalidInput
from orchestration.terminal.configuration import read_settings
from orchestration.terminal.connect import Typist, check, connect, find

RUNBELL = Path(sys.executable).with_name("runbell")
SIMULATORS: dict[str, type[Any]] = {
    "dingtalk": SimulatedDingTalk,
    "discord": SimulatedDiscord,
    "email": SimulatedEmail,
    "feishu": SimulatedFeishu,
    "slack": SimulatedSlack,
    "teams": SimulatedTeams,
    "telegram": SimulatedTelegram,
    "wecom": SimulatedWeCom,
}
BEFORE = """# our bell
[gateway]
public_url = "https://bell.example"  # behind the proxy
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with settings of its own; the command works where it is called."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RUNBELL_HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir(mode=0o700)
    (tmp_path / "home" / "token").write_text("a-token-for-tests-only\n")
    (tmp_path / "home" / "token").chmod(0o600)
    (tmp_path / "runbell.toml").write_text(BEFORE)
    return tmp_path


@pytest.fixture(params=sorted(SIMULATORS))
async def network(request: pytest.FixtureRequest) -> AsyncIterator[tuple[str, Any]]:
    async with SIMULATORS[request.param]() as simulator:
        yield request.param, simulator


def pairs(simulator: Any, **changed: str) -> list[str]:
    section = simulator.settings().model_dump(mode="json", exclude_none=True) | changed
    return [f"{k}={','.join(v) if isinstance(v, list) else v}" for k, v in section.items()]


async def connected(name: str, given: Sequence[str], typist: Typist | None = None) -> int:
    """Set a network up, and test it; return the exit status."""

    def work() -> int:
        connect(find(name), read_settings(), given, typist)
        return check(find(name), as_json=False)

    return await asyncio.to_thread(work)


async def test_every_network_is_set_up_by_settings_and_its_secrets_lie_in_files(
    network: tuple[str, Any], place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, simulator = network
    secret = {key: value for key, _, value in (one.partition("=") for one in pairs(simulator))}

    assert await connected(name, pairs(simulator)) == 0

    written = (place / "runbell.toml").read_text()
    assert written.startswith(BEFORE)
    assert "is set up" in capsys.readouterr().out
    for file in (place / "home" / "secrets").iterdir():
        key = file.name.partition(".")[2]
        assert file.read_text().strip() == secret[key]
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert tomllib.loads(written)["channels"][name][key] == f"file:{file}"
        assert secret[key] not in written


@pytest.mark.parametrize(
    ("name", "changed", "told"),
    [
        ("slack", {"bot_token": "xoxb-no"}, "OAuth & Permissions"),
        ("slack", {"app_token": "xapp-no"}, "connections:write"),
        ("telegram", {"bot_token": "1:no"}, "@BotFather"),
        ("feishu", {"app_secret": "no"}, "app_id and app_secret"),
        ("dingtalk", {"app_secret": "no"}, "app_key and app_secret"),
        ("wecom", {"agent_id": "7"}, "agent_id does not belong"),
        ("discord", {"application_id": "1"}, "different applications"),
        ("teams", {"app_secret": "wrong"}, "invalid_client"),
        ("email", {"password": "no"}, "app password"),
        ("email", {"mailbox": "Bell"}, "set channels.email.mailbox"),
        ("email", {"encryption": "starttls"}, "offers no STARTTLS"),
    ],
)
async def test_what_is_wrong_is_explained_and_kept_to_be_tested_again(
    name: str, changed: dict[str, str], told: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with SIMULATORS[name]() as simulator:
        assert await connected(name, pairs(simulator, **changed)) == 1
        assert told in capsys.readouterr().out

        right = dict(one.split("=", 1) for one in pairs(simulator))
        assert await connected(name, [f"{key}={right[key]}" for key in changed]) == 0


def take_away(name: str, simulator: Any, what: str) -> None:
    if name == "discord":
        bit = next(bit for bit, told in PERMISSIONS.items() if told == what)
        simulator.servers[0]["permissions"] = str(sum(PERMISSIONS) & ~bit)
    elif name == "email":
        simulator.fail("SMTP MAIL", Fault(553, "5.7.1 not owned by user"))
    elif name == "wecom":
        codes = {"trusted IP": 60020, "agent_id does not belong": 301002}
        simulator.fail("agent", Fault(200, {"errcode": codes[what], "errmsg": "refused"}))
    elif what == "no bot":
        simulator.bot = False
    else:
        simulator.scopes.discard(what)


WANTED = [
    *(("slack", scope, "add it under OAuth & Permissions, then reinstall") for scope in SCOPES),
    *(("discord", name, "the bot lacks") for name in PERMISSIONS.values()),
    *(("feishu", names[0], "Permissions & Scopes") for names in FEISHU),
    *(("dingtalk", scope, "apply for it on the app's page") for scope in DINGTALK.values()),
    ("feishu", "no bot", "switch it on under Features"),
    ("wecom", "trusted IP", "trusted IP"),
    ("wecom", "agent_id does not belong", "agent_id does not belong"),
    ("email", "may not send as", "may not send as bell@runbell.test"),
]


@pytest.mark.usefixtures("place")
async def test_each_missing_permission_is_named_with_what_to_do_and_its_grant_is_seen(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in sorted({name for name, _, _ in WANTED}):
        for what, told in [(what, told) for wanted, what, told in WANTED if wanted == name]:
            async with SIMULATORS[name]() as simulator:
                more = {"card_template_id": "template"} if name == "dingtalk" else {}
                assert await connected(name, pairs(simulator, **more)) == 0, capsys.readouterr().out
                take_away(name, simulator, what)
                capsys.readouterr()
                assert await asyncio.to_thread(check, find(name), as_json=False) == 1
                said = capsys.readouterr().out
                assert told in said
                assert what in said or what == "no bot"


async def test_several_workspaces_of_slack_are_told_the_way_over_oauth(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with SimulatedSlack() as slack:
        section = slack.several().model_dump(mode="json", exclude_none=True)
        (place / "runbell.toml").write_text("")
        without = await connected("slack", [f"{key}={value}" for key, value in section.items()])
        before = capsys.readouterr().out
        (place / "runbell.toml").write_text(BEFORE)
        status = await connected("slack", [f"{key}={value}" for key, value in section.items()])
        said = capsys.readouterr().out
        wrong = await connected("slack", ["client_secret=no"])
        refused = capsys.readouterr().out

    assert (without, status, wrong) == (1, 0, 1)
    assert "https://YOUR.HOST/channels/slack/oauth as Redirect URL" in before
    assert "→ Redirect URL, to enter under OAuth & Permissions: https://bell.example/channels/slack/oauth" in said
    assert "https://bell.example/channels/slack/install?invite=" in said
    assert "client_secret (bad_client_secret)" in refused


async def test_a_network_that_calls_us_needs_an_address_and_tells_which(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "runbell.toml").write_text("")
    async with SimulatedSlack() as slack:
        assert await connected("slack", pairs(slack, mode="http")) == 1

    assert "https://YOUR.HOST/channels/slack/events" in capsys.readouterr().out


async def test_a_person_is_asked_for_what_applies_and_secrets_are_typed_hidden(place: Path) -> None:
    async with SimulatedSlack() as slack:
        (place / "runbell.toml").write_text(f'{BEFORE}[channels.slack]\napi_url = "{slack.url}/api/"  # a test\n')
        openly, hidden = ["carrier pigeon", "socket", ""], ["", slack.bot_token, "env:SLACK_APP_TOKEN"]
        asked: list[str] = []

        def answer(answers: list[str], prompt: str) -> str:
            asked.append(prompt.split(maxsplit=1)[0].strip(":"))
            return answers.pop(0)

        typist = Typist(lambda prompt: answer(openly, prompt), lambda prompt: answer(hidden, prompt))
        status = await connected("slack", [], typist)

    section = tomllib.loads((place / "runbell.toml").read_text())["channels"]["slack"]
    assert asked == ["mode", "mode", "workspaces", "bot_token", "bot_token", "app_token"]
    assert section["app_token"] == "env:SLACK_APP_TOKEN"
    assert section["bot_token"].startswith("file:")
    assert "# a test" in (place / "runbell.toml").read_text()
    assert status == 1  # The variable is not set.


@pytest.mark.parametrize(
    ("name", "given", "told"),
    [
        ("slack", ["mode=pigeon"], "channels.slack.mode"),
        ("slack", ["bot_tokn=x"], "no setting 'bot_tokn'"),
        ("slack", ["bot_token"], "--set key=value"),
        ("wecom", ["agent_id=seven"], "channels.wecom.agent_id"),
    ],
)
def test_what_can_not_be_is_refused_and_changes_nothing(name: str, given: list[str], told: str, place: Path) -> None:
    with pytest.raises(InvalidInput, match=told):
        connect(find(name), read_settings(), given)

    assert (place / "runbell.toml").read_text() == BEFORE
    assert not (place / "home" / "secrets").exists()


def test_an_unknown_network_is_told_what_there_is() -> None:
    with pytest.raises(InvalidInput, match="Did you mean slack"):
        find("slak")


def test_every_network_says_what_it_asks_for() -> None:
    assert set(networks()) == set(SIMULATORS)
    for one in networks().values():
        assert {ask.name for ask in one.asks} <= set(one.section.model_fields)
        assert all(ask.secret for ask in one.asks if "secret" in ask.name or "password" in ask.name)


def test_the_command_lists_the_networks_and_says_how_to_go_on_without_a_terminal(place: Path) -> None:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [RUNBELL, "connect", *words],
            check=False,
            cwd=place,
            capture_output=True,
            text=True,
            timeout=60,
            stdin=subprocess.DEVNULL,
        )

    listed, asked = run(), run("telegram")

    assert "telegram   not set up" in listed.stdout
    assert (asked.returncode, "--set key=value" in asked.stderr) == (2, True)
