"""Addresses that come with messages: only a network's own hosts are called, and files are fetched with a limit.

Teams' serviceUrl, DingTalk's sessionWebhook, Slack's response_url and the addresses of files are said by whoever
sent the request; unless their host is the network's, they could make us call anybody, ourselves included.
"""

from collections.abc import Collection, Mapping
from urllib.parse import urlsplit

import httpx

from integrations.errors import InvalidInput, NotFound, RateLimited, Unauthorized, Unavailable
from integrations.files import MAX_BYTES

MAX_URL = 4096


def check(url: str, hosts: Collection[str]) -> str:
    """Return an address of one of the hosts; raise InvalidInput for any other.

    A host that begins with a dot stands for all below it. One with a scheme and perhaps a port, like
    `http://127.0.0.1:8081`, is meant exactly so: operators and tests name servers of their own this way. All others
    are reached by https on its own port.
    """
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError as error:
        raise InvalidInput("The message names a malformed address.") from error
    plain = len(url) <= MAX_URL and url.isascii() and url.isprintable() and "\\" not in url and "@" not in parts.netloc
    if plain and f"{parts.scheme}://{parts.netloc.lower()}" in {name.rstrip("/").lower() for name in hosts}:
        return url
    if plain and parts.scheme == "https" and port in (None, 443) and any(_is(host, name.lower()) for name in hosts):
        return url
    raise InvalidInput(f"The message names an address of {host or 'nobody'}, which is not the network's.")


async def fetch(
    http: httpx.AsyncClient,
    url: str,
    *,
    hosts: Collection[str],
    headers: Mapping[str, str] | None = None,
    limit: int = MAX_BYTES,
) -> bytes:
    """Return a file of at most `limit` bytes from one of the hosts, following nothing elsewhere.

    Raises InvalidInput for another host or a larger file, NotFound, Unauthorized, RateLimited or Unavailable. No
    error carries the address, since some have secrets in them.
    """
    check(url, hosts)
    try:
        async with http.stream("GET", url, headers=headers, follow_redirects=False) as response:
            _refuse(response)
            return await _read(response, limit)
    except httpx.HTTPError as error:
        raise Unavailable(f"The file could not be fetched ({type(error).__name__}).") from None


async def _read(response: httpx.Response, limit: int) -> bytes:
    content = bytearray()
    async for chunk in response.aiter_bytes(65_536):
        content += chunk
        if len(content) > limit:
            raise InvalidInput(f"The file has more than {limit} bytes, which is the most.", field="attachments")
    return bytes(content)


def _refuse(response: httpx.Response) -> None:
    status = response.status_code
    if status == 200:
        return
    if status in (401, 403):
        raise Unauthorized("The network does not let us read this file: the app lacks the permission for files.")
    if status == 429:
        asked = response.headers.get("Retry-After", "")
        raise RateLimited("The network asked for a pause.", after=float(asked) if asked.isdecimal() else 1.0)
    if status >= 500:
        raise Unavailable(f"The file could not be fetched (HTTP {status}).")
    raise NotFound(f"The file is not there (HTTP {status}).")


def _is(host: str, name: str) -> bool:
    return host.endswith(name) and len(host) > len(name) if name.startswith(".") else host == name
