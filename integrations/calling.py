"""HTTP calls to addresses that people, pages and models name: guarded, bounded, and over at a deadline.

Every connection, a redirect's too, goes to an address that `Reach` has looked at in that moment, so a name that
leads elsewhere a second later gains nothing. No proxy, cookie or credential of the environment takes part.
"""

import ssl
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

import httpcore

from integrations.errors import Forbidden, InvalidInput, RateLimited, Rejected, RunbellError, Unavailable
from integrations.security.reach import Reach

MAX_URL = 4096
MAX_REDIRECTS = 5
CONNECT_S = 10.0
_REDIRECTS = (301, 302, 303, 307, 308)
_QUERY = "/?%:@!$&'()*+,;=-._~[]{}|^`"
_SAFE = ("GET", "HEAD", "OPTIONS")
_NEVER_ARRIVED = (httpcore.ConnectError, httpcore.ConnectTimeout, httpcore.PoolTimeout)


@dataclass(frozen=True)
class Called:
    """What came back; `url` is where the last redirect led."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str


@dataclass(frozen=True)
class Address:
    """A URL that may be called, as far as its words tell."""

    url: str
    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> "Address":
        """Read a URL; raise `InvalidInput` for anything but plain http and https."""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
            host = host if host.isascii() else host.encode("idna").decode()
        except ValueError as error:
            raise InvalidInput(f"This is no address: {url[:200]!r}", field="url") from error
        odd = len(url) > MAX_URL or any(ord(c) < 33 or ord(c) == 127 for c in url) or "\\" in url
        if odd or not host or parts.scheme not in ("http", "https"):
            raise InvalidInput(f"An address begins with http:// or https://, not {url[:200]!r}", field="url")
        if "@" in parts.netloc:
            raise InvalidInput("An address must not hold a user or password; use a credential.", field="url")
        return cls(url, host, port or (443 if parts.scheme == "https" else 80))

    @property
    def target(self) -> httpcore.URL:
        """The address as it goes over the wire: without its fragment, in ASCII."""
        parts = urlsplit(self.url)
        path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=-._~")
        query = f"?{quote(parts.query, safe=_QUERY)}" if parts.query else ""
        return httpcore.URL(scheme=parts.scheme, host=self.host, port=parts.port, target=path + query)


def call(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    body: bytes = b"",
    reach: Reach,
    timeout_s: float,
    max_bytes: int,
) -> Called:
    """Call, follow redirects of safe methods, and return what came back, whatever its status but 429.

    Raises `InvalidInput`, `Forbidden` (address), `Unavailable` (nothing was done for sure), `RateLimited`, and
    `Rejected` where nobody can tell what was done, or where the answer is larger than `max_bytes`. Blocks for
    `timeout_s` seconds at the most.
    """
    deadline = time.monotonic() + timeout_s
    backend = _Guarded(reach, deadline)
    sent = dict(headers)
    with httpcore.ConnectionPool(ssl_context=_trust(), network_backend=backend) as pool:
        for _ in range(MAX_REDIRECTS + 1):
            address = Address.of(url)
            called = _once(pool, method, address, sent, body, max_bytes)
            target = called.headers.get("location", "")
            if method not in _SAFE or called.status not in _REDIRECTS or not target:
                return called
            url = urljoin(url, target)
            if Address.of(url).host != address.host or urlsplit(url).scheme != urlsplit(address.url).scheme:
                # What was meant for one host is no other's business.
                sent = {name: value for name, value in sent.items() if name.lower() in ("accept", "user-agent")}
    raise Rejected(f"The address redirects more than {MAX_REDIRECTS} times.")


@cache
def _trust() -> ssl.SSLContext:
    """Return the system's authorities: one for all calls, since reading them takes longer than a call nearby."""
    return ssl.create_default_context()


def _once(
    pool: httpcore.ConnectionPool, method: str, address: Address, headers: Mapping[str, str], body: bytes, most: int
) -> Called:
    # Without compression, so that the bytes that come are the bytes that are counted.
    sent = {**headers, "Accept-Encoding": "identity"}
    safe = method in _SAFE
    try:
        with pool.stream(method, address.target, headers=list(sent.items()), content=body) as answer:
            if answer.status == 429:
                raise RateLimited(f"{address.host} asked for a pause.", after=_pause(answer.headers))
            content = _read(answer.iter_stream(), address, most)
            return Called(answer.status, _texts(answer.headers), content, address.url)
    except RunbellError:
        raise
    except _NEVER_ARRIVED as error:
        raise Unavailable(f"{address.host} can't be reached ({type(error).__name__}).") from error
    except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError) as error:
        raise _broken(address, error, safe=safe) from error
    except (httpcore.UnsupportedProtocol, UnicodeEncodeError) as error:
        raise InvalidInput(f"This can't be called: {address.url[:200]!r}", field="url") from error


def _broken(address: Address, error: Exception, *, safe: bool) -> RunbellError:
    why = f"{address.host} did not answer ({type(error).__name__})"
    return Unavailable(f"{why}.") if safe else Rejected(f"{why}, so nobody can tell whether it was done.")


def _read(stream: Iterable[bytes], address: Address, most: int) -> bytes:
    content = bytearray()
    for chunk in stream:
        content += chunk
        if len(content) > most:
            raise Rejected(f"{address.host} answered with more than {most} bytes (setting actions.http.max_bytes).")
    return bytes(content)


def _texts(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in headers}


def _pause(headers: Iterable[tuple[bytes, bytes]]) -> float:
    asked = _texts(headers).get("retry-after", "")
    return min(float(asked), 3600.0) if asked.isascii() and asked.isdecimal() else 1.0


class _Guarded(httpcore.NetworkBackend):
    """Opens connections only to addresses that may be called, and lets none outlive the deadline."""

    def __init__(self, reach: Reach, deadline: float) -> None:
        self._reach = reach
        self._deadline = deadline
        self._plain = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002 - the deadline is what counts
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first address that answers."""
        failure: Exception | None = None
        for address in self._reach.resolve(host, port):
            try:
                left = min(CONNECT_S, remaining(self._deadline))
                stream = self._plain.connect_tcp(address, port, left, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
            else:
                return _Timed(stream, self._deadline)
        raise failure or httpcore.ConnectError(f"{host} has no address")

    def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ARG002 - the signature is httpcore's
        socket_options: Iterable[Any] | None = None,  # noqa: ARG002
    ) -> httpcore.NetworkStream:
        """Refuse."""
        raise Forbidden(f"{path} is no network address.")


class _Timed(httpcore.NetworkStream):
    """A connection whose every wait ends at the deadline: a drop every second keeps nobody waiting for ever."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: float) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002
        """Read, until the deadline."""
        return self._stream.read(max_bytes, remaining(self._deadline))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002
        """Write, until the deadline."""
        self._stream.write(buffer, remaining(self._deadline))

    def close(self) -> None:
        """Close."""
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002
    ) -> httpcore.NetworkStream:
        """Go on encrypted; the certificate is checked against the name, not the address."""
        return _Timed(self._stream.start_tls(ssl_context, server_hostname, remaining(self._deadline)), self._deadline)

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 - httpcore's
        """Pass on."""
        return self._stream.get_extra_info(info)


def remaining(deadline: float) -> float:
    """Return the seconds left; raise a read time-out where there are none."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise httpcore.ReadTimeout("the time is up")
    return left
