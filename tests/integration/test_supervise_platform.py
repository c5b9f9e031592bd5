"""The whole platform by `runbell up` and `down`, as a user types them, in a home and on ports of its own."""

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from orchestration.supervise import leftovers
from orchestration.supervise.home import Home
from orchestration.supervise.ports import free_port
from orchestration.supervise.processes import is_alive

pytestmark = [pytest.mark.timeout(400), pytest.mark.xdist_group("platform")]
RUNBELL = Path(sys.executable).with_name("runbell")
WORKSPACE = "load_from:\n  - python_module: {module_name: orchestration.definitions, location_name: core}\n"


class Platform:
    """One installation, used through its command line only."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        (folder / "workspace.yaml").write_text(WORKSPACE)
        self.folder = folder
        self.home = Home(folder / "home")
        self.env = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("RUNBELL_", "RAY_"))},
            "RUNBELL_HOME": str(self.home.path),
            "RUNBELL_GATEWAY__PORT": str(free_port()),
            "RUNBELL_DAGSTER__PORT": str(free_port()),
            "RUNBELL_SERVING__PORT": str(free_port()),
        }

    def runbell(self, *arguments: str, timeout: float = 300.0) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [RUNBELL, *arguments],
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def status(self) -> dict[str, Any]:
        return json.loads(self.runbell("status", "--json").stdout)

    def row(self, name: str) -> dict[str, Any]:
        return next(row for row in self.status()["rows"] if row["name"] == name)

    def until(self, condition: Callable[[], bool], seconds: float = 120.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, self.status()
            time.sleep(0.3)


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory, models: Path) -> Iterator[Platform]:
    platform = Platform(tmp_path_factory.mktemp("platform"))
    platform.home.create()
    (platform.home.path / "models").rmdir()
    (platform.home.path / "models").symlink_to(models)
    yield platform
    down = platform.runbell("down")
    assert (down.returncode, leftovers.find(platform.home)) == (0, []), down.stderr


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The starter models, kept between runs of the tests where a folder for that is named."""
    kept = os.environ.get("RUNBELL_TEST_MODELS")
    return Path(kept) if kept else tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def ups(platform: Platform) -> list[subprocess.CompletedProcess[str]]:
    """Two at once."""
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda _: platform.runbell("up"), range(2)))


@pytest.fixture(scope="module")
def up(ups: list[subprocess.CompletedProcess[str]]) -> subprocess.CompletedProcess[str]:
    return ups[0]


def test_of_two_ups_at_once_one_starts_and_both_end_when_it_is_ready(
    ups: list[subprocess.CompletedProcess[str]], platform: Platform
) -> None:
    log = platform.home.log("supervisor").read_text()

    assert [ended.returncode for ended in ups] == [0, 0], [ended.stderr for ended in ups]
    assert log.count("phase: starting") == 1


def test_up_ends_when_it_is_ready_and_prints_both_links(
    up: subprocess.CompletedProcess[str], platform: Platform
) -> None:
    assert up.returncode == 0, up.stdout + up.stderr
    assert f"http://127.0.0.1:{platform.env['RUNBELL_GATEWAY__PORT']}/?key=" in up.stdout
    assert f"http://127.0.0.1:{platform.env['RUNBELL_DAGSTER__PORT']}" in up.stdout


@pytest.mark.usefixtures("up")
def test_status_knows_every_process(platform: Platform) -> None:
    result = platform.runbell("status", "--json")
    rows = {row["name"]: row for row in json.loads(result.stdout)["rows"]}

    assert result.returncode == 0
    assert {"database", "chroma", "ray", "serving", "workers", "gateway", "webserver", "daemon"} <= rows.keys()
    gateway = rows["gateway"]
    assert psutil.pid_exists(gateway["pid"])
    assert gateway["port"] == int(platform.env["RUNBELL_GATEWAY__PORT"])
    assert gateway["memory_mb"] > 10
    assert gateway["uptime_s"] > 0


@pytest.mark.usefixtures("up")
def test_status_makes_no_link_and_open_makes_one(platform: Platform) -> None:
    status, opened = platform.runbell("status"), platform.runbell("open")

    assert "/?key=" not in status.stdout
    assert f"http://127.0.0.1:{platform.env['RUNBELL_GATEWAY__PORT']}" in status.stdout
    assert httpx.get(opened.stdout.strip(), trust_env=False).headers["set-cookie"].startswith("runbell_session=")


@pytest.mark.usefixtures("up")
def test_a_second_up_says_that_it_is_already_up(platform: Platform) -> None:
    before = platform.row("gateway")["pid"]

    second = platform.runbell("up")

    assert second.returncode == 0
    assert "Runbell is already up." in second.stdout
    assert platform.row("gateway")["pid"] == before


@pytest.mark.usefixtures("up")
def test_state_and_secrets_are_private(platform: Platform) -> None:
    assert stat.S_IMODE(platform.home.path.stat().st_mode) == 0o700
    for path in (platform.home.path / "token", platform.home.ray_token, platform.home.endpoints):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.usefixtures("up")
def test_no_secret_stands_in_a_log(platform: Platform) -> None:
    secrets = [(platform.home.path / "token").read_text().strip(), platform.home.ray_token.read_text().strip()]
    logs = list((platform.home.path / "logs").glob("*.log"))

    assert len(logs) > 8
    assert not [log for log in logs for secret in secrets if secret in log.read_text(errors="replace")]


@pytest.mark.usefixtures("up")
def test_a_control_command_is_answered_by_send(platform: Platform) -> None:
    answer = platform.runbell("send", "/whoami")

    assert answer.returncode == 0, answer.stderr
    assert "owner" in answer.stdout


@pytest.mark.usefixtures("up")
def test_chat_answers_lines_of_stdin(platform: Platform) -> None:
    said = subprocess.run(
        [RUNBELL, "chat"],
        input="/whoami\n",
        cwd=platform.folder,
        env=platform.env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert said.returncode == 0, said.stderr
    assert "owner" in said.stdout


@pytest.mark.usefixtures("up")
def test_parse_tells_what_would_be_done(platform: Platform) -> None:
    parsed = json.loads(platform.runbell("parse", "／帮助", "--json").stdout)

    assert (parsed["kind"], parsed["command"], parsed["errors"]) == ("control", "help", [])


@pytest.mark.usefixtures("up")
def test_a_killed_process_comes_back_and_status_says_so(platform: Platform) -> None:
    before = platform.row("gateway")
    os.kill(before["pid"], signal.SIGKILL)

    platform.until(lambda: platform.row("gateway")["restarts"] == 1 and platform.row("gateway")["healthy"])

    assert platform.row("gateway")["pid"] != before["pid"]
    assert platform.runbell("send", "/whoami").returncode == 0


@pytest.mark.usefixtures("up")
def test_a_killed_supervisor_is_noticed_and_up_starts_anew(platform: Platform) -> None:
    """The last of this file that needs the first start: what it leaves is what `down` of the next test stops."""
    before = platform.status()
    os.kill(before["supervisor_pid"], signal.SIGKILL)
    platform.until(lambda: platform.status()["overall"] == "abandoned")

    doctor = platform.runbell("doctor")
    assert doctor.returncode == 0, doctor.stdout
    assert "processes still run\n    → `runbell up` takes over" in doctor.stdout
    assert "still Runbell's own" in doctor.stdout

    again = platform.runbell("up")

    assert again.returncode == 0, again.stdout + again.stderr
    after = platform.status()
    assert after["well"]
    assert not {row["pid"] for row in before["rows"] if row["pid"]} & {row["pid"] for row in after["rows"]}


@pytest.mark.usefixtures("up")
def test_down_leaves_no_process_and_says_so_twice(platform: Platform) -> None:
    pids = [row["pid"] for row in platform.status()["rows"] if row["pid"]]

    down = platform.runbell("down")

    assert down.returncode == 0, down.stderr
    assert leftovers.find(platform.home) == []
    assert not [pid for pid in pids if psutil.pid_exists(pid) and is_alive(psutil.Process(pid))]
    assert platform.runbell("down").returncode == 0
    assert platform.runbell("status").returncode == 1
