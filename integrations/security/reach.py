"""Which addresses may be called when people, pages or models name them: public ones, and what the operator allows.

Whatever a name looks like (`127.1`, `0x7f000001`, a domain of one's own), what counts is the address that it leads
to, looked at by whoever opens the connection: between a check and a call, a name may lead elsewhere.
"""

import ipaddress
import socket
from dataclasses import dataclass

from integrations.errors import Forbidden, Unavailable

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_NEVER = tuple(
    map(
        ipaddress.ip_network,
        # Python's own table calls some of these global, depending on its release (IANA special-purpose registries).
        (
            "0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.88.99.0/24", "198.18.0.0/15", "240.0.0.0/4",
            "::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2002::/16", "3fff::/20", "5f00::/16", "fec0::/10",
        ),
    )
)  # fmt: skip


def is_public(address: str) -> bool:
    """Tell whether an IP address belongs to somebody on the Internet; one with a zone never does."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.scope_id is not None:
            return False
        if ip.ipv4_mapped is not None:
            return is_public(str(ip.ipv4_mapped))
        if ip in _NAT64:
            return is_public(str(ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF)))
    special = any(ip in network for network in _NEVER if network.version == ip.version)
    return ip.is_global and not ip.is_multicast and not special


@dataclass(frozen=True)
class Reach:
    """What may be called. `hosts`, where given, are all; `private` may lead to addresses that are not public."""

    hosts: tuple[str, ...] = ()
    private: tuple[str, ...] = ()

    def check(self, host: str, port: int) -> None:
        """Raise `Forbidden` for a host that is not on the list of hosts."""
        if self.hosts and not any(_names(host, port, name) for name in self.hosts):
            raise Forbidden(f"{host} is not among the hosts that may be called (setting actions.http.hosts).")

    def foresee(self, host: str, port: int) -> None:
        """Raise `Forbidden` for a host that would be refused for sure: nothing is connected to, no name looked up.

        So a name that leads to a private address is found out only when it is called.
        """
        self.check(host, port)
        if not any(_names(host, port, name) for name in self.private):
            for address in _written_out(host):
                self._check_address(host, address)

    def resolve(self, host: str, port: int) -> list[str]:
        """Return the IP addresses of a host, all of which may be called.

        Raises `Forbidden` where one may not, whichever would be taken; `Unavailable` where the name leads nowhere.
        """
        self.check(host, port)
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise Unavailable(f"The host {host} is not known.") from error
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        if not any(_names(host, port, name) for name in self.private):
            for address in addresses:
                self._check_address(host, address)
        return addresses

    def _check_address(self, host: str, address: str) -> None:
        if is_public(address) or any(_inside(address, network) for network in self.private):
            return
        where = address if host == address else f"{host} leads to {address}, which"
        raise Forbidden(f"{where} is not a public address; the setting actions.http.private may allow it.")


def _written_out(host: str) -> list[str]:
    """Return the addresses that a host is without asking anybody: `127.1`, `0x7f000001`, `localhost` (RFC 6761)."""
    if host.lower().rstrip(".").rpartition(".")[2] == "localhost":
        return ["127.0.0.1"]
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return []
    return [str(entry[4][0]) for entry in found]


def _names(host: str, port: int, name: str) -> bool:
    """Whether a setting names this host: `example.com`, `example.com:8443`, `.example.com` for all below it."""
    host, name = host.lower().rstrip("."), name.lower()
    if name.startswith("."):
        return host.endswith(name) and len(host) > len(name)
    return name in (host, f"{host}:{port}", f"[{host}]:{port}")


def _inside(address: str, network: str) -> bool:
    try:
        return ipaddress.ip_address(address) in ipaddress.ip_network(network)
    except ValueError:
        return False
