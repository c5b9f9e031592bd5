"""Calls to a network's API: what failed before it arrived is told apart from what may have been done."""

import ssl
from functools import cache
from typing import Any, cast

import httpx

from integrations.errors import RateLimited, RunbellError, Unavailable

TIMEOUT = httpx.Timeout(15.0, connect=5.0)
LONGEST_RETRY_AFTER_SECONDS = 3600.0
NEVER_ARRIVED = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)


class Lost(RunbellError):
    """The call went out and nobody can tell whether it was done."""


def client() -> httpx.AsyncClient:
    """Return a client that follows no redirects and asks no proxy of the environment."""
    return httpx.AsyncClient(timeout=TIMEOUT, follow_redirects=False, verify=trust())


@cache
def trust() -> ssl.SSLContext:
    """Return the authorities that prove a network's server: one for all clients, since reading them takes 20 ms."""
    return httpx.create_ssl_context()


async def call(
    http: httpx.AsyncClient,
    method: str,
    url: str,
    *,
    repeatable: bool,
    **request: Any,  # noqa: ANN401 - as httpx takes them
) -> httpx.Response:
    """Return the answer, whatever its status below 500 but 429.

    Raises Unavailable where nothing was done or doing it again harms nobody, RateLimited for a 429, Lost otherwise.
    No error carries the address: some networks have secrets in it.
    """
    try:
        response = await http.request(method, url, **request)
    except NEVER_ARRIVED as error:
        raise Unavailable(f"The network can't be reached ({type(error).__name__}).") from None
    except httpx.HTTPError as error:
        raise _lost(type(error).__name__, repeatable=repeatable) from None
    if response.status_code == 429:
        raise RateLimited("The network asked for a pause.", after=retry_after(response))
    if response.status_code >= 500:
        raise _lost(f"HTTP {response.status_code}", repeatable=repeatable)
    return response


def retry_after(response: httpx.Response, default: float = 1.0) -> float:
    """Return the seconds of a Retry-After header, within reason."""
    try:
        return min(max(float(response.headers["Retry-After"]), 0.05), LONGEST_RETRY_AFTER_SECONDS)
    except (KeyError, ValueError):
        return default


def json_of(response: httpx.Response) -> dict[str, Any]:
    """Return the object that an answer holds; an empty one where it holds none."""
    try:
        found = response.json()
    except ValueError:
        return {}
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def _lost(why: str, *, repeatable: bool) -> RunbellError:
    if repeatable:
        return Unavailable(f"The network did not answer ({why}).")
    return Lost(f"The network did not answer ({why}), so nobody can tell whether it was done.")
