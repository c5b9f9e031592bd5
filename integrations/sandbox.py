"""Run a foreign program closed in: no network, no files but its own folder, no secrets, and bounds on all it uses.

bubblewrap makes the walls (namespaces, a read-only system, a folder of its own), `prlimit` the bounds of each
process, and this process watches what they use together. Started by root, the program is an unprivileged user whom
nobody else is. Without bubblewrap `contained` is false: the bounds hold, the walls are not there.
"""

import os
import secrets
import selectors
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

import psutil

from integrations.errors import Misconfigured
from integrations.reports import Reports

PYTHON = sys.base_prefix
INSIDE = "/script"
"""Where a program that is closed in finds its folder, wherever that lies."""
MODULES = "/modules"
"""Where a program that is closed in finds Python modules that it is lent."""
LOOK_S = 0.05
_USERS = range(61_184, 65_519)
"""User ids that systemd keeps for users who exist while they run; nobody's files carry one."""
_READ = 65_536
Reason = Literal["ended", "time", "memory", "output", "files"]


@dataclass(frozen=True)
class Bounds:
    """What one program may use up, all its processes together; `seconds` of time, bytes of everything else."""

    seconds: float = 300.0
    memory: int = 512 * 1_048_576
    output: int = 1_048_576
    files: int = 64 * 1_048_576
    processes: int = 32


@dataclass(frozen=True)
class Ended:
    """How a program ended: its exit status, or which bound it met (it was killed then)."""

    status: int | None
    output: str
    errors: str
    reason: Reason
    contained: bool


def available() -> bool:
    """Tell whether programs can be closed in here."""
    return all(map(shutil.which, ("bwrap", "prlimit", "setpriv"))) and _works()


def run(
    command: Sequence[str],
    folder: Path,
    *,
    environment: Mapping[str, str],
    bounds: Bounds,
    stdin: bytes = b"",
    contain: bool = True,
    reports: Reports | None = None,
) -> Ended:
    """Run a program in its own folder and return how it ended; blocks for `bounds.seconds` at the most.

    It begins in that folder, and nothing of it is left running. Raises `Misconfigured` where it shall be closed in and
    can't be.
    """
    if contain and not available():
        raise Misconfigured(
            "Scripts are closed in by bubblewrap, which is not there or may not work: apt-get install bubblewrap, "
            'or write containment = "limits" below [actions.scripts] to run them without walls.'
        )
    user = secrets.choice(_USERS) if os.geteuid() == 0 else None
    if user is not None:
        _give(folder, user)
        if reports is not None:
            reports.give(user)
    place = INSIDE if contain else str(folder)
    walls = _walls(folder, user, reports and reports.modules) if contain else []
    line = [*walls, *_bounded(bounds, user, contain=contain), "env", "-C", place, *command]
    path = f"{PYTHON}/bin:/usr/local/bin:/usr/bin:/bin"
    environment = {"PATH": path, "HOME": place, "TMPDIR": place, "LANG": "C.UTF-8", **environment}
    if reports is not None:
        environment["PYTHONPATH"] = MODULES if contain else str(reports.modules)
    process = subprocess.Popen(  # noqa: S603 - a list, not a shell; to run it closed in is what this is for
        line,
        cwd=folder,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        pass_fds=() if reports is None else (reports.inherited,),
    )
    try:
        return _Watch(process, folder, bounds, contained=contain).until_end(stdin, reports)
    finally:
        _end(process, user)


def _walls(folder: Path, user: int | None, modules: Path | None = None) -> list[str]:
    """Return the beginning of the command line that shows a program its folder and a read-only system, no more."""
    words = ["bwrap", "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"]
    words += ["--die-with-parent", "--new-session", "--cap-drop", "ALL", "--ro-bind", "/usr", "/usr"]
    if user is None:
        words += ["--unshare-user"]
    else:
        words += [word for name in ("SETUID", "SETGID", "SETPCAP") for word in ("--cap-add", f"CAP_{name}")]
    for name in ("bin", "lib", "lib32", "lib64", "sbin"):
        path = Path("/", name)
        if path.is_symlink():
            words += ["--symlink", os.readlink(path), str(path)]  # noqa: PTH115 - as it is written, not resolved
        elif path.is_dir():
            words += ["--ro-bind", str(path), str(path)]
    small = ["--size", "1048576", "--tmpfs"]
    words += ["--proc", "/proc", "--dev", "/dev", *small, "/dev/shm", "--remount-ro", "/dev", *small, "/tmp"]  # noqa: S108
    for path in ("/etc/ld.so.cache", "/etc/alternatives", "/etc/localtime", PYTHON):
        words += ["--ro-bind-try", path, path]
    words += ["--ro-bind", str(modules), MODULES] if modules is not None else []
    return [*words, "--bind", str(folder), INSIDE, "--remount-ro", "/", "--chdir", "/", "--"]


def _bounded(bounds: Bounds, user: int | None, *, contain: bool) -> list[str]:
    """Return the part of the command line that bounds each process, and makes root nobody."""
    nobody = ["--reuid", str(user), "--regid", str(user), "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"]
    words = ["setpriv", *(nobody if user is not None else []), "--no-new-privs", "prlimit", f"--as={bounds.memory}"]
    words += [f"--fsize={bounds.files}", "--nofile=256", "--core=0", f"--cpu={round(bounds.seconds) + 1}"]
    # Without walls a user's own processes would count too; root's stand-in has none but the program's.
    words += [f"--nproc={bounds.processes}"] if user is not None or contain else []
    return [*words, "--"]


class _Watch:
    """Reads what a program says, looks at what it uses, and kills it at a bound."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path, bounds: Bounds, *, contained: bool) -> None:
        self._process = process
        self._folder = folder
        self._bounds = bounds
        self._contained = contained
        self._said: dict[str, bytearray] = {"out": bytearray(), "err": bytearray()}
        self._heard = 0

    def until_end(self, stdin: bytes, reports: Reports | None = None) -> Ended:
        """Return how it ended."""
        until = time.monotonic() + self._bounds.seconds
        reason: Reason = "ended"
        with selectors.DefaultSelector() as open_pipes, ExitStack() as ours:
            self._open(open_pipes, stdin)
            if reports is not None:
                open_pipes.register(ours.enter_context(reports.reader()), selectors.EVENT_READ, reports)
            while reason == "ended" and (_said_to(open_pipes) or self._process.poll() is None):
                if open_pipes.get_map():
                    self._serve(open_pipes)
                else:
                    with suppress(subprocess.TimeoutExpired):
                        self._process.wait(LOOK_S)
                reason = self._met(until)
            while reason == "ended" and any(isinstance(key.data, Reports) for key in open_pipes.get_map().values()):
                if not open_pipes.select(0):
                    break  # something that the program left behind holds it open
                self._serve(open_pipes)
                reason = self._met(until)
        if reason != "ended":
            _kill(self._process)
        status = self._process.wait()
        texts = {name: bytes(said).decode("utf-8", "replace") for name, said in self._said.items()}
        return Ended(status if reason == "ended" else None, texts["out"], texts["err"], reason, self._contained)

    def _open(self, pipes: selectors.BaseSelector, stdin: bytes) -> None:
        assert self._process.stdin is not None
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            assert pipe is not None
            os.set_blocking(pipe.fileno(), False)
        pipes.register(self._process.stdin, selectors.EVENT_WRITE, bytearray(stdin))
        pipes.register(self._process.stdout, selectors.EVENT_READ, self._said["out"])  # type: ignore[arg-type]
        pipes.register(self._process.stderr, selectors.EVENT_READ, self._said["err"])  # type: ignore[arg-type]

    def _serve(self, pipes: selectors.BaseSelector) -> None:
        for key, _ in pipes.select(LOOK_S):
            pipe: IO[bytes] = key.fileobj  # type: ignore[assignment]
            if isinstance(key.data, Reports):
                done = self._hear(pipe, key.data)
            else:
                done = _write(pipe, key.data) if key.events & selectors.EVENT_WRITE else self._read(pipe, key.data)
            if done:
                pipes.unregister(pipe)
                with suppress(BrokenPipeError):
                    pipe.close()

    def _read(self, pipe: IO[bytes], said: bytearray) -> bool:
        chunk = os.read(pipe.fileno(), _READ)
        said += chunk[: self._bounds.output + 1 - len(said)]
        return not chunk

    def _hear(self, pipe: IO[bytes], reports: Reports) -> bool:
        chunk = os.read(pipe.fileno(), _READ)
        self._heard += len(chunk)
        if self._heard <= self._bounds.output:
            reports.take(chunk)
        return not chunk

    def _met(self, until: float) -> Reason:
        """Return which bound was met, if any."""
        if time.monotonic() > until:
            return "time"
        if any(said > self._bounds.output for said in (self._heard, *map(len, self._said.values()))):
            return "output"
        if _memory_of(self._process.pid) > self._bounds.memory:
            return "memory"
        return "files" if _size_of(self._folder) > self._bounds.files else "ended"


def _said_to(pipes: selectors.BaseSelector) -> bool:
    """Whether the program still has its input and output."""
    return any(not isinstance(key.data, Reports) for key in pipes.get_map().values())


def _write(pipe: IO[bytes], left: bytearray) -> bool:
    try:
        del left[: os.write(pipe.fileno(), left[:_READ])]
    except BrokenPipeError:
        return True
    return not left


def _memory_of(pid: int) -> int:
    """Return the bytes that a process and its descendants hold; what they share counts for each."""
    used = 0
    with suppress(psutil.Error):
        root = psutil.Process(pid)
        for process in (root, *root.children(recursive=True)):
            with suppress(psutil.Error):
                used += process.memory_info().rss
    return used


def _size_of(folder: Path) -> int:
    """Return the bytes that files take on the disk; each file takes a block at least."""
    used = 0
    for where, folders, files in os.walk(folder, onerror=None):
        for name in (*files, *folders):
            with suppress(OSError):
                used += max(os.lstat(Path(where, name)).st_blocks * 512, 4096)
    return used


def _give(folder: Path, user: int) -> None:
    for path in (folder, *folder.rglob("*")):
        os.chown(path, user, user, follow_symlinks=False)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill the whole group; behind walls its first process takes all others with it."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _end(process: subprocess.Popen[bytes], user: int | None) -> None:
    """Leave nothing running, also what left its group; close the pipes."""
    _kill(process)
    process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            with suppress(BrokenPipeError):
                pipe.close()
    if user is None:
        return
    for other in psutil.process_iter(["uids"]):
        if other.info["uids"] is not None and other.info["uids"].real == user:
            with suppress(psutil.Error):
                other.kill()


_tried: list[bool] = []


def _works() -> bool:
    """Whether walls can be made here; the kernel may forbid it. Asked once."""
    if not _tried:
        line = [*_walls(Path("/usr"), None if os.geteuid() else 65_518), "/usr/bin/env", "true"]
        tried = subprocess.run(line, capture_output=True, check=False, timeout=10)  # noqa: S603 - fixed words
        _tried.append(tried.returncode == 0)
    return _tried[0]
