"""RUNBELL_HOME, what must be right before a start, and the code locations."""

import importlib.util
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from integrations.errors import Misconfigured
from integrations.settings import Gateway, Serving, Settings
from orchestration.supervise import ray_head
from orchestration.supervise.home import Home, private_folder
from orchestration.supervise.locations import read_locations
from orchestration.supervise.models import wanted
from orchestration.supervise.plan import choose_endpoints, make_plan
from orchestration.supervise.preflight import disk_problem, problems


@pytest.fixture(autouse=True)
def _no_folder_is_left(tmp_path: Path) -> Iterator[None]:
    yield
    for path in (tmp_path, tmp_path / "home", tmp_path / "h"):
        Home(path).remove_sockets()


def a_workspace(folder: Path, text: str) -> Path:
    path = folder / "workspace.yaml"
    path.write_text(text)
    return path


CORE = "load_from:\n  - python_module: {module_name: orchestration.definitions, location_name: core}\n"


def test_a_home_and_its_secrets_are_private(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")

    home.create()
    home.create()

    assert stat.S_IMODE(home.path.stat().st_mode) == 0o700
    assert stat.S_IMODE((home.path / "token").stat().st_mode) == 0o600
    assert stat.S_IMODE(home.ray_token.stat().st_mode) == 0o600


def test_a_home_that_was_open_is_closed(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir(mode=0o755)

    Home(tmp_path / "home").create()

    assert stat.S_IMODE((tmp_path / "home").stat().st_mode) == 0o700


def test_sockets_of_a_long_home_live_in_a_short_private_folder(tmp_path: Path) -> None:
    home = Home(tmp_path / ("long" * 20))
    home.create()

    assert len(str(home.ray)) < 36
    assert stat.S_IMODE(home.sockets.stat().st_mode) == 0o700

    home.remove_sockets()

    assert not home.sockets.exists()


def test_a_short_home_keeps_everything_inside() -> None:
    home = Home(Path("/srv/runbell"))

    assert (home.sockets, home.ray) == (Path("/srv/runbell/run"), Path("/srv/runbell/ray"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_folder_of_someone_else_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    os.chown(other, 12345, 12345)

    with pytest.raises(Misconfigured, match=r"belongs to another user .uid 12345."):
        private_folder(other)


def test_a_home_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "home").touch()

    with pytest.raises(Misconfigured, match=r"can't be written"):
        Home(tmp_path / "home").create()


def test_a_full_disk_is_told_with_what_to_do(tmp_path: Path) -> None:
    problem = disk_problem(Home(tmp_path), 100_000_000)

    assert problem is not None
    assert "100 MB are free, 500 MB are needed" in problem
    assert "RUNBELL_HOME" in problem
    assert disk_problem(Home(tmp_path), 900_000_000) is None


def test_two_parts_on_one_port_are_told_before_anything_starts(tmp_path: Path) -> None:
    workspace = a_workspace(tmp_path, CORE)
    settings = Settings.model_validate(
        {"home": tmp_path / "h", "dagster": {"workspace": workspace, "port": 47111}, "gateway": {"port": 47111}}
    )
    home = Home(settings.state)
    home.create()

    found = problems(make_plan(settings, home, choose_endpoints(settings, home)), home)

    assert found == [
        "dagster.port and gateway.port are both 47111. Choose another for one: RUNBELL_GATEWAY__PORT=47112 in the "
        "environment, or port = 47112 under [gateway] in runbell.toml."
    ]


def test_ray_knows_the_setting_that_gives_its_node_time_to_join() -> None:
    """It is named in Ray's compiled part only, and an unknown one would be ignored."""
    found = importlib.util.find_spec("ray")
    assert found is not None
    assert found.origin is not None

    assert ray_head.environment("127.0.0.1:1", Path("token"))["RAY_raylet_start_wait_time_s"] == "90"
    assert b"raylet_start_wait_time_s" in Path(found.origin).with_name("_raylet.so").read_bytes()


def test_the_database_url_is_in_private_files_only(tmp_path: Path) -> None:
    settings = Settings.model_validate(
        {
            "home": tmp_path / "h",
            "database": {"url": "postgresql://me:hunter2hunter2@db/x"},
            "dagster": {"workspace": a_workspace(tmp_path, CORE)},
        }
    )
    home = Home(settings.state)
    home.create()

    make_plan(settings, home, choose_endpoints(settings, home))

    holders = [path for path in home.path.rglob("*") if path.is_file() and "hunter2" in path.read_text()]
    assert holders == [home.endpoints]
    assert stat.S_IMODE(home.endpoints.stat().st_mode) == 0o600


def test_locations_of_all_kinds_are_read(tmp_path: Path) -> None:
    workspace = a_workspace(
        tmp_path,
        "load_from:\n"
        "  - python_module: {module_name: a.b, location_name: core}\n"
        "  - python_file: {relative_path: jobs/c.py, working_directory: jobs, attribute: defs}\n"
        "  - python_package: d\n",
    )

    core, file, package = read_locations(workspace)

    assert (core.name, core.arguments) == ("core", ("--module-name", "a.b"))
    assert (file.name, file.folder) == ("jobs/c.py", tmp_path / "jobs")
    assert file.arguments == ("--python-file", str(tmp_path / "jobs/c.py"), "--attribute", "defs")
    assert (package.name, package.arguments) == ("d", ("--package-name", "d"))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("load_from: [", "no valid YAML"),
        ("{}", "must list code locations"),
        ("load_from:\n  - grpc_server: {host: x}\n", "grpc_server is not supported"),
        ("load_from:\n  - python_module: a\n  - python_module: a\n", "the same location_name"),
    ],
)
def test_a_workspace_that_makes_no_sense_is_explained(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(Misconfigured, match=told):
        read_locations(a_workspace(tmp_path, text))


def test_an_engine_that_there_is_not_is_refused_before_anything_starts() -> None:
    with pytest.raises(Misconfigured, match=r"There is: llama_cpp, openai"):
        wanted(Settings(serving=Serving(engine="opnai")))


@pytest.mark.parametrize("port", [-1, 65_536, 99_999])
def test_a_port_that_there_is_not_is_refused(port: int) -> None:
    with pytest.raises(ValidationError, match=r"than or equal to"):
        Gateway(port=port)
