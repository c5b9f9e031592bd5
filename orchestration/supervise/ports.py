"""Ports: free ones, and who holds a taken one."""

import errno
import socket
from dataclasses import dataclass

from integrations.errors import Misconfigured

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


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
    """Raise Misconfigured, which says who holds the port and which setting to change."""
    if is_free(setting.host, setting.port):
        return
    section, _, name = setting.key.partition(".")
    raise Misconfigured(
        f"Port {setting.port} is taken by {holder(setting.port)}. Stop that, or choose another port: "
        f"{setting.env}={setting.port + 1} in the environment, or {name} = {setting.port + 1} under [{section}] "
        "in runbell.toml."
    )


def holder(port: int) -> str:
    """Name the process that listens on a port, as far as this user may see it."""
    import psutil

    try:
        for connection in psutil.net_connections("tcp"):
            address = tuple(connection.laddr)
            if connection.status == psutil.CONN_LISTEN and address[1:2] == (port,) and connection.pid:
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
    except psutil.Error:
        pass
    return "another process"
