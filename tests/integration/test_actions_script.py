"""Scripts that try to get out or to use everything up: behind walls nothing of it comes off."""

import os
import socket
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from integrations import sandbox
from integrations.errors import Forbidden, InvalidInput, Misconfigured, NotFound, Rejected
from integrations.sandbox import Bounds, Ended
from integrations.settings import Settings
from integrations.settings_actions import Actions, Scripts
from orchestration.actions import Outcome, prepare
from tests import acting

SMALL = Bounds(seconds=20, memory=200 * 1_048_576, output=20_000, files=4_000_000, processes=16)
Run = Callable[..., Ended]


@pytest.fixture(scope="module", autouse=True)
def walls() -> None:
    assert sandbox.available(), "bubblewrap is missing or may not work: apt-get install bubblewrap"


@pytest.fixture
def python(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run Python code behind walls, in a folder of its own."""

    def run(code: str, *arguments: str, bounds: Bounds = SMALL, **more: object) -> Ended:
        folder = tmp_path_factory.mktemp("script")
        (folder / "script.py").write_text(code)
        command = ["python3", "-I", "script.py", *arguments]
        return sandbox.run(command, folder, environment={}, bounds=bounds, **more)  # type: ignore[arg-type]

    return run


def test_a_script_runs_with_its_input_and_arguments(python: Run) -> None:
    ended = python("import sys; print(sys.stdin.read().upper(), sys.argv[1:])", "a b", stdin="钟".encode() + b"x")

    assert (ended.status, ended.output, ended.errors, ended.reason) == (0, "钟X ['a b']\n", "", "ended")
    assert ended.contained


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "/etc/shadow", "/root", "/home", "/var", "/proc/1/environ", "/run", "/sys", "{secret}"]
)
def test_no_file_of_ours_can_be_read(python: Run, tmp_path: Path, path: str) -> None:
    secret = tmp_path / "secret"
    secret.write_text("tok-4711")
    secret.chmod(0o644)
    code = """
import os, sys
try:
    print(os.listdir(sys.argv[1]) if os.path.isdir(sys.argv[1]) else open(sys.argv[1]).read())
except OSError as error:
    print("no:", error.strerror)
"""
    said = python(code, path.format(secret=secret)).output

    # A folder may be there, empty but for the way to the interpreter.
    python = Path(sandbox.PYTHON)
    below = [python.relative_to(path).parts[0]] if python.is_relative_to(path) else []
    assert said.startswith(("no:", "[]")) or said == f"{below}\n", said


@pytest.mark.parametrize("path", ["/x", "/usr/x", "/etc/x", "/dev/x", "/proc/sys/kernel/core_pattern", "/bin/sh"])
def test_nothing_outside_can_be_written(python: Run, path: str) -> None:
    ended = python("import sys; open(sys.argv[1], 'a').write('x')", path)

    assert ended.status == 1
    assert "Error" in ended.errors


def test_there_is_no_network(python: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        ended = python(
            "import socket, sys; socket.create_connection(('127.0.0.1', int(sys.argv[1])), 2)",
            str(server.getsockname()[1]),
        )
        with pytest.raises(TimeoutError):
            server.accept()
    assert ended.status == 1


def test_secrets_of_our_environment_are_not_there(python: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNBELL_DATABASE__URL", "postgresql://u:tok-4711@h/d")

    assert "tok-4711" not in python("import os; print(dict(os.environ))").output


def test_others_processes_can_be_neither_seen_nor_killed(python: Run) -> None:
    code = """
import os, signal
print(sorted(int(n) for n in os.listdir("/proc") if n.isdigit())[-1] < 30)
try:
    os.kill(int(__import__("sys").argv[1]), signal.SIGKILL)
except OSError as error:
    print("no")
"""
    assert python(code, str(os.getpid())).output == "True\nno\n"


def test_it_can_not_become_somebody_else(python: Run) -> None:
    code = """
import ctypes, os
print(os.getuid() != 0 or not open("/proc/self/uid_map").read().split()[1] == "0")
print(ctypes.CDLL(None).mount(b"none", b"/tmp", b"tmpfs", 0, None))
try: os.setuid(0); print("uid", os.getuid())
except OSError: print("no")
"""
    said = python(code).output.splitlines()

    assert said[:2] == ["True", "-1"]
    assert said[2] == "no"


def test_a_fork_bomb_is_bounded_and_leaves_nothing(python: Run) -> None:
    before = _mark(python)
    code = """
import os, time
made = 0
try:
    while made < 5000:
        if os.fork() == 0: time.sleep(60)
        made += 1
except OSError:
    print(made)
"""
    ended = python(code)

    assert int(ended.output) < SMALL.processes
    assert _mark(python) == before


def test_what_left_its_group_ends_with_the_script(python: Run) -> None:
    code = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for number in range(3): os.close(number)
        time.sleep(4711)
    os._exit(0)
os.wait()
print("done")
"""
    mark = uuid.uuid4().hex

    assert python(code, mark).output == "done\n"

    assert not any(mark in _words(process) for process in psutil.process_iter())


def test_memory_is_bounded_for_one_process(python: Run) -> None:
    assert "MemoryError" in python("x = bytearray(10**9)").errors


def test_memory_is_bounded_for_all_together(python: Run) -> None:
    code = """
import os, time
for _ in range(6):
    if os.fork() == 0:
        x = bytearray(os.urandom(1)) * (60 * 1024 * 1024)
        time.sleep(60)
time.sleep(60)
"""
    assert python(code).reason == "memory"


@pytest.mark.parametrize("place", ["/dev/shm/x", "/tmp/x"])
def test_memory_can_not_be_taken_as_files(python: Run, place: str) -> None:
    ended = python(
        "import sys\nwith open(sys.argv[1], 'wb') as f:\n    for _ in range(64): f.write(bytes(2**20))", place
    )

    assert ended.status == 1


def test_output_is_bounded(python: Run) -> None:
    ended = python("while True: print('x' * 1000)")

    assert (ended.reason, ended.status) == ("output", None)
    assert len(ended.output) <= SMALL.output + 1


def test_many_files_are_bounded(python: Run) -> None:
    code = "n = 0\nwhile True:\n    n += 1\n    open(f'f{n}', 'w').write('x')"

    assert python(code).reason == "files"


def test_one_file_is_bounded(python: Run) -> None:
    ended = python("f = open('f', 'wb')\nwhile True: f.write(bytes(100_000))")

    assert ended.reason == "files" or ended.status != 0


@pytest.mark.parametrize("code", ["import time; time.sleep(60)", "while True: pass", "import sys; sys.stdin.read(); 1"])
def test_time_is_bounded(python: Run, code: str) -> None:
    bounds = Bounds(seconds=1, memory=SMALL.memory)
    began = time.monotonic()

    ended = python(code, bounds=bounds)

    assert ended.reason in {"time", "ended"}
    assert time.monotonic() - began < 20


def test_a_script_that_reads_nothing_does_not_block_its_input(python: Run) -> None:
    assert python("print(1)", stdin=b"x" * 1_000_000).output == "1\n"


def test_without_walls_the_bounds_hold() -> None:
    code = "import os; print(os.getuid(), os.getcwd() != '/'); x = bytearray(10**9)"
    with tempfile.TemporaryDirectory() as folder:
        ended = sandbox.run(["python3", "-c", code], Path(folder), environment={}, bounds=SMALL, contain=False)

    assert not ended.contained
    assert "MemoryError" in ended.errors
    assert ended.output.endswith("True\n")
    assert os.geteuid() or not ended.output.startswith("0 ")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    folder = tmp_path / "scripts"
    (folder / "sub").mkdir(parents=True)
    (folder / "hello.py").write_text("import os, sys; print('hello', *sys.argv[1:], os.listdir())")
    (folder / "sub" / "fail.sh").write_text("echo broken >&2; exit 3")
    (folder / "notes.txt").write_text("no script")
    (tmp_path / "outside.py").write_text("print('out')")
    (folder / "link.py").symlink_to(tmp_path / "outside.py")
    return Settings(actions=Actions(scripts=Scripts(folder=folder)))


def act(settings: Settings, **arguments: object) -> Outcome:
    return acting.act("run_script", settings, arguments)


def test_a_script_of_the_folder_runs_alone_in_a_place_of_its_own(settings: Settings) -> None:
    outcome = act(settings, script="hello.py", arguments=["a b"])

    assert outcome.text == "hello a b ['hello.py']"
    assert outcome.data["contained"] is True


def test_a_script_that_fails_says_so(settings: Settings) -> None:
    with pytest.raises(Rejected, match=r"(?s)status 3.*broken"):
        act(settings, script="sub/fail.sh")


@pytest.mark.parametrize(
    ("script", "error"),
    [
        ("../outside.py", NotFound), ("link.py", NotFound), ("/etc/passwd", NotFound), ("", NotFound),
        ("sub", NotFound), ("none.py", NotFound), ("hello.py\0", NotFound), ("notes.txt", InvalidInput),
    ],
)  # fmt: skip
def test_nothing_beside_the_folder_runs(settings: Settings, script: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        act(settings, script=script)


def test_code_runs_only_where_a_setting_allows_it(settings: Settings) -> None:
    with pytest.raises(Forbidden, match=r"actions\.scripts\.code"):
        act(settings, code="print(1)")
    scripts = settings.actions.scripts.model_copy(update={"code": True})
    allowed = Settings(actions=Actions(scripts=scripts))

    assert act(allowed, code="print(1)").text == "1"
    assert act(allowed, code="echo $((1+1))", language="sh").text == "2"
    with pytest.raises(InvalidInput, match="either script or code"):
        act(allowed, code="print(1)", script="hello.py")


def test_without_bubblewrap_nothing_runs_unless_the_operator_says_so(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = tmp_path / "bin"
    bare.mkdir()
    for name in ("prlimit", "setpriv", "env", "python3"):
        found = next(path for path in (Path("/usr/bin", name), Path(sandbox.PYTHON, "bin", name)) if path.exists())
        (bare / name).symlink_to(found)
    monkeypatch.setenv("PATH", str(bare))

    with pytest.raises(Misconfigured, match="apt-get install bubblewrap"):
        act(settings, script="hello.py")
    scripts = settings.actions.scripts.model_copy(update={"containment": "limits"})
    bounded = Settings(actions=Actions(scripts=scripts))

    assert prepare("run_script", {"script": "hello.py"}, bounded).effect == "destructive"
    assert act(bounded, script="hello.py").data["contained"] is False


def _mark(python: Run) -> int:
    """Count the processes of users who exist only for scripts."""
    assert python("pass").status == 0
    return sum(1 for p in psutil.process_iter(["uids"]) if p.info["uids"] and p.info["uids"].real in sandbox._USERS)


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
