"""Ports: free ones, and who holds a taken one."""

import errno
import os
import socket
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
    if is_free(setting.host, setting.port) or _is_descendant(_holder(setting.port)):
        return
    section, _, name = setting.key.partition(".")
    raise Misconfigured(
        f"Port {setting.port} is taken by {holder(setting.port)}. Stop that, or choose another port: "
        f"{setting.env}={setting.port + 1} in the environment, or {name} = {setting.port + 1} under [{section}] "
        "in runbell.toml."
    )


def holder(port: int) -> str:
    """Name the process that listens on a port, as far as this user may see it."""
    process = _holder(port)
    try:
        return f"{process.name()} (pid {process.pid})" if process else "another process"
    except psutil.Error:
        return "another process"


def _holder(port: int) -> psutil.Process | None:
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
