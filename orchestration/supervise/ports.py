"""Ports: free ones, who holds a taken one, and which settings want the same."""

import errno
import os
import socket
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

import psutil

from integrations.errors import Misconfigured


@dataclass(frozen=True)
class PortSetting:
    """A port that a setting fixes; `env` and `key` name the setting."""

    host: str
    port: int
    env: str
    key: str

    def change(self) -> str:
        """Say how the port after this one is set."""
        section, _, name = self.key.partition(".")
        return (
            f"{self.env}={self.port + 1} in the environment, or {name} = {self.port + 1} under [{section}] "
            "in runbell.toml."
        )


def free_port(preferred: int = 0) -> int:
    """Return `preferred` where it is free on loopback, else one that the system chooses."""
    if preferred and is_free("127.0.0.1", preferred):
        return preferred
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_free(host: str, port: int) -> bool:
    """Whether a server could bind there now. Raises Misconfigured where the host is not this machine's."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except PermissionError:
            raise Misconfigured(f"Port {port} needs more rights than this user has: choose one above 1023.") from None
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise Misconfigured(f"{host}:{port} is no address of this machine ({error.strerror}).") from error
        return True


def require_free(setting: PortSetting) -> None:
    """Raise Misconfigured, which says who holds the port and which setting to change.

    A descendant of this process may hold it: Ray keeps Serve's proxy alive while `serving` itself is restarted.
    """
    if is_free(setting.host, setting.port) or _is_descendant(listener(setting.port)):
        return
    raise Misconfigured(
        f"Port {setting.port} is taken by {holder(setting.port)}. Stop that, or choose another port: {setting.change()}"
    )


def clashes(settings: Iterable[PortSetting]) -> list[str]:
    """Say of each port that two settings name how one of them is changed; empty where all differ."""
    found: list[str] = []
    first: dict[int, PortSetting] = {}
    for setting in settings:
        other = first.setdefault(setting.port, setting)
        if other is not setting:
            found.append(
                f"{other.key} and {setting.key} are both {setting.port}. Choose another for one: {setting.change()}"
            )
    return found


def holder(port: int) -> str:
    """Name the process that listens on a port, as far as this user may see it."""
    process = listener(port)
    try:
        return f"{process.name()} (pid {process.pid})" if process else "another process"
    except psutil.Error:
        return "another process"


def listener(port: int) -> psutil.Process | None:
    """Return the process that listens on a port; None where there is none, or none that this user may see."""
    with suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            address = tuple(connection.laddr)
            if connection.status == psutil.CONN_LISTEN and address[1:2] == (port,) and connection.pid:
                return psutil.Process(connection.pid)
    return None


def _is_descendant(process: psutil.Process | None) -> bool:
    with suppress(psutil.Error):
        return process is not None and os.getpid() in {parent.pid for parent in process.parents()}
    return False
