"""Who listens on a port of this machine: what is sent to loopback must not reach another user's process.

While Runbell is down anybody may take its port, and whoever calls would hand him the bearer token.
"""

import os
import pwd
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from integrations.settings import LOOPBACK

TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
"""The kernel's tables of sockets (proc_pid_net(5)): a head, then a line each with address, state, user id, and more."""
_LISTEN = "0A"
_OURS = frozenset({"0100007F", "0" * 24 + "01000000", "0" * 16 + "FFFF00000100007F"})
"""127.0.0.1, ::1 and ::ffff:127.0.0.1, as the kernel writes them."""
_ANY = frozenset({"0" * 8, "0" * 32})


def stranger_at(url: str, token: Path) -> str | None:
    """Return who listens at a loopback address and is neither root, the caller nor the token's owner.

    None where there is no such user, where the address is no loopback one, and where the kernel does not tell.
    """
    parts = urlsplit(url)
    if parts.hostname not in LOOPBACK or parts.port is None:
        return None
    trusted = {0, os.getuid(), token.stat().st_uid}
    strangers = sorted(uid for uid in listening(parts.port) if uid not in trusted)
    return _name(strangers[0]) if strangers else None


def listening(port: int, tables: tuple[Path, ...] = TABLES) -> set[int]:
    """Return the ids of the users who get the connections to a port of loopback; empty where nobody does."""
    found: dict[str, int] = {}
    for table in tables:
        with suppress(OSError):
            for line in table.read_text(encoding="ascii").splitlines()[1:]:
                _, local, _, state, *more = line.split()
                address, _, its_port = local.rpartition(":")
                if state == _LISTEN and int(its_port, 16) == port:
                    found[address] = int(more[3])
    return _among(found, _OURS) or _among(found, _ANY)  # who listens on one address goes before who does on all


def _among(found: Mapping[str, int], addresses: frozenset[str]) -> set[int]:
    return {uid for address, uid in found.items() if address in addresses}


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
