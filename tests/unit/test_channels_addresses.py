"""Addresses that come with messages: only the network's own hosts, files with a limit, no secrets in errors."""

import httpx
import pytest

from integrations.channels.addresses import check, fetch
from integrations.errors import InvalidInput, NotFound, RateLimited, RunbellError, Unauthorized, Unavailable

HOSTS = ("smba.trafficmanager.net", ".slack.com", "http://127.0.0.1:8081")


@pytest.mark.parametrize(
    "url",
    [
        "https://smba.trafficmanager.net/amer/",
        "https://SMBA.trafficmanager.net:443/amer/",
        "https://files.slack.com/x?y=z",
        "http://127.0.0.1:8081/file",
    ],
)
def test_the_networks_own_addresses_are_called(url: str) -> None:
    assert check(url, HOSTS) == url


@pytest.mark.parametrize(
    "url",
    [
        "http://smba.trafficmanager.net/", "https://smba.trafficmanager.net:8443/", "https://slack.com/",
        "https://evil.example/smba.trafficmanager.net", "https://smba.trafficmanager.net.evil.example/",
        "https://smba.trafficmanager.net@evil.example/", "https://evil.example#.slack.com", "https://evilslack.com/",
        "https://evil.example\\.slack.com/", "http://127.0.0.1:8080/", "http://127.0.0.1/", "http://localhost:8081/",
        "http://[::1]:8081/", "https://169.254.169.254/", "file:///etc/passwd", "//files.slack.com/", "", "https://",
        "https://files.slack.com:99999/", "https://[files.slack.com/", "https://fi\nles.slack.com/",
        "https://files.slаck.com/", "https://files.slack.com/" + "x" * 5000,
    ],
)  # fmt: skip
def test_any_other_address_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput):
        check(url, HOSTS)


async def fetched(response: httpx.Response | Exception, limit: int = 100) -> bytes:
    def answer(_: httpx.Request) -> httpx.Response:
        if isinstance(response, Exception):
            raise response
        return response

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        return await fetch(http, "https://files.slack.com/secret-token", hosts=HOSTS, limit=limit)


async def test_a_file_up_to_the_limit_is_fetched() -> None:
    assert await fetched(httpx.Response(200, content=b"x" * 100)) == b"x" * 100


@pytest.mark.parametrize(
    ("response", "error"),
    [
        (httpx.Response(200, content=b"x" * 101), InvalidInput),
        (httpx.Response(302, headers={"Location": "http://127.0.0.1/"}), NotFound),
        (httpx.Response(403), Unauthorized),
        (httpx.Response(404), NotFound),
        (httpx.Response(429, headers={"Retry-After": "7"}), RateLimited),
        (httpx.Response(429, headers={"Retry-After": "soon"}), RateLimited),
        (httpx.Response(502), Unavailable),
        (httpx.ConnectError("no route to secret-token"), Unavailable),
    ],
)
async def test_what_goes_wrong_is_told_without_the_address(
    response: httpx.Response | Exception, error: type[RunbellError]
) -> None:
    with pytest.raises(error) as caught:
        await fetched(response)

    assert "secret-token" not in str(caught.value)
