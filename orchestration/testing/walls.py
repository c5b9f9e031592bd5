"""Keep a replay from reaching out: connections to other machines are refused while the walls stand."""

import sys
from collections.abc import Generator
from contextlib import contextmanager
from ipaddress import ip_address

from integrations.errors import Forbidden

_standing: list[bool] = []
_hooked: list[bool] = []


@contextmanager
def walls() -> Generator[None]:
    """Refuse every connection of this process that leaves the machine, in this block."""
    if not _hooked:
        sys.addaudithook(_look)  # for ever: Python has no way to take one away
        _hooked.append(True)
    _standing.append(True)
    try:
        yield
    finally:
        _standing.pop()


def _look(event: str, args: tuple[object, ...]) -> None:
    if event not in ("socket.connect", "socket.sendto") or not _standing:
        return
    address = args[1]
    if not isinstance(address, tuple) or not address:
        return  # a Unix socket
    host = str(address[0])
    if host == "localhost" or _is_own(host):
        return
    raise Forbidden(f"In a replay nothing leaves this machine: {host} was not called. Use --online to allow it.")


def _is_own(host: str) -> bool:
    try:
        return ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False
