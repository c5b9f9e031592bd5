"""Asking one web address, carefully: whoever writes in the chat chooses it.

Only http and https, no credentials, no redirects followed (they are shown), at most 64 KiB read, one deadline
for everything. The name is resolved once and that very address is connected to, so a name can't change in
between. Link-local addresses (cloud metadata), multicast and the unspecified address are refused. This machine
and private networks are allowed, since an operator checks those; `EXAMPLES_HEALTH_PUBLIC_ONLY=1` refuses them.
Nothing of a page's content is shown: only its status, how long it took and its certificate.
"""

import asyncio
import ipaddress
import os
import socket
import ssl
import time
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx

MAX_BYTES = 65_536
MAX_URL = 2_000
SOON_DAYS = 21


class Refused(ValueError):
    """This address is not asked; the text says why."""


@dataclass(frozen=True)
class Finding:
    """What one address answered. `expires_at` is its certificate's end."""

    url: str
    up: bool
    answer: str
    milliseconds: float | None = None
    expires_at: datetime | None = None

    def as_row(self, now: datetime | None = None) -> str:
        """Return a row of a Markdown table."""
        mark = "✅" if self.up else "❌"
        took = f"{self.milliseconds:.0f} ms" if self.milliseconds is not None else ""
        cells = (mark, f"`{_cell(self.url)}`", _cell(self.answer), took, self._certificate(now or datetime.now(UTC)))
        return f"| {' | '.join(cells)} |"

    def _certificate(self, now: datetime) -> str:
        if self.expires_at is None:
            return ""
        days = (self.expires_at - now).days
        return f"{'⚠️ ' if days < SOON_DAYS else ''}{days} days left"


async def probe(url: str, *, timeout_s: float = 5.0) -> Finding:
    """Ask one address, all in all within the time limit. Never raises: what goes wrong is the finding."""
    started_at = time.perf_counter()
    shown = url[:200]
    try:
        target = parse(url)
        shown = str(target)[:200]
        async with asyncio.timeout(timeout_s):
            status, answer, expires_at = await _first_answer(target)
    except Refused as error:
        return Finding(shown, up=False, answer=f"not asked: {error}")
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:  # TimeoutError is an OSError
        return Finding(shown, up=False, answer=_reason(error), milliseconds=_since(started_at))
    return Finding(shown, status < 500, answer, _since(started_at), expires_at)


def parse(text: str) -> httpx.URL:
    """Return a web address, `https://` put before a bare host. Raises `Refused`."""
    text = text.strip().strip("<>")
    if not text or len(text) > MAX_URL:
        raise Refused("it is empty or too long")
    try:
        url = httpx.URL(text if "://" in text else f"https://{text}")
    except httpx.InvalidURL as error:
        raise Refused(str(error)) from error
    if url.scheme not in {"http", "https"}:
        raise Refused(f"only http and https are asked, not {url.scheme}")
    if not url.host or url.userinfo:
        raise Refused("it needs a host and no user name or password")
    return url


async def addresses_of(url: httpx.URL) -> list[str]:
    """Resolve the host, IPv4 first. Raises `Refused` where any of its addresses may not be asked, `OSError`."""
    port = url.port or (443 if url.scheme == "https" else 80)
    found = await asyncio.get_running_loop().getaddrinfo(url.host, port, type=socket.SOCK_STREAM)
    addresses = sorted({str(entry[4][0]) for entry in found}, key=lambda address: (":" in address, address))
    for address in addresses:
        _check(address)
    return addresses


def expiry_of(response: httpx.Response) -> datetime | None:
    """Return when the certificate of the connection ends, or None where there is none."""
    stream = response.extensions.get("network_stream")
    secured = stream.get_extra_info("ssl_object") if stream is not None else None
    certificate = secured.getpeercert() if secured is not None else None
    if not certificate or "notAfter" not in certificate:
        return None
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(certificate["notAfter"]), UTC)


def _check(text: str) -> None:
    address = ipaddress.ip_address(text.split("%", maxsplit=1)[0])
    if isinstance(address, ipaddress.IPv6Address):
        address = address.ipv4_mapped or address.sixtofour or address
    if address.is_link_local or address.is_multicast or address.is_unspecified:
        raise Refused(f"{address} is not a host that may be asked")
    if not address.is_global and os.environ.get("EXAMPLES_HEALTH_PUBLIC_ONLY", "") not in {"", "0"}:
        raise Refused(f"{address} is not public")


async def _first_answer(url: httpx.URL) -> tuple[int, str, datetime | None]:
    """Try the host's addresses in turn until one can be connected to."""
    addresses = await addresses_of(url)
    for address in addresses[:-1]:
        try:
            return await _ask(url, address)
        except httpx.ConnectError:
            continue
    return await _ask(url, addresses[-1])


async def _ask(url: httpx.URL, address: str) -> tuple[int, str, datetime | None]:
    async with (
        # One deadline stands around everything (`probe`); a limit per read would not stop a slow drip.
        httpx.AsyncClient(timeout=None, trust_env=False, follow_redirects=False) as client,  # noqa: S113
        client.stream(
            "GET",
            url.copy_with(host=address),
            headers={"Host": url.netloc.decode(), "User-Agent": "runbell-health"},
            extensions={"sni_hostname": url.host},
        ) as response,
    ):
        await _read_some(response)
        answer = f"{response.status_code} {response.reason_phrase}"
        if response.is_redirect:
            answer += f" → {response.headers.get('location', '')[:200]}"
        return response.status_code, answer, expiry_of(response)


async def _read_some(response: httpx.Response) -> None:
    """Read up to the limit: a server that stalls in the middle of its answer is not up."""
    size = 0
    async for chunk in response.aiter_raw():
        size += len(chunk)
        if size >= MAX_BYTES:
            return


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError | httpx.TimeoutException):
        return "no answer in time"
    if isinstance(error, socket.gaierror):
        return "no such host"
    return (str(error) or type(error).__name__)[:200]


def _since(started_at: float) -> float:
    return (time.perf_counter() - started_at) * 1000


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("`", "'").replace("\n", " ")
