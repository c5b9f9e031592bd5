"""The page's way in, and what its files are sent with, through the real gateway."""

from collections.abc import Iterator

import httpx
import pytest

from integrations.database.disposable import fresh_database
from tests.gateways import Gateway, running_gateway


@pytest.fixture(scope="module")
def gateway(postgres: str, database_template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    home = tmp_path_factory.mktemp("home")
    with fresh_database(postgres, database_template) as url, running_gateway(url, home) as gateway:
        yield gateway


def test_a_link_opens_the_page_once_and_its_session_is_kept_from_scripts(gateway: Gateway) -> None:
    link = gateway.client.post("/v1/session-links").json()["url"]

    with httpx.Client(base_url=gateway.url) as browser:
        entered = browser.get(link)
        assert (entered.status_code, entered.headers["location"]) == (303, "/")
        cookie = entered.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "samesite=strict" in cookie.lower()
        assert browser.get("/v1/commands").status_code == 200
        assert browser.post("/v1/session-links", headers={"Origin": "http://evil.example"}).status_code == 403


@pytest.mark.parametrize("used", [True, False])
def test_a_link_that_opens_nothing_leads_to_the_page_without_a_session(gateway: Gateway, used: bool) -> None:
    link = gateway.client.post("/v1/session-links").json()["url"] if used else f"{gateway.url}/?key=unknown"
    if used:
        httpx.get(link)

    entered = httpx.get(link)

    assert (entered.status_code, entered.headers["location"]) == (303, "/")
    assert "set-cookie" not in entered.headers


def test_the_page_allows_nothing_from_elsewhere(gateway: Gateway) -> None:
    page = httpx.get(gateway.url)

    assert page.status_code == 200
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "http" not in page.headers["content-security-policy"]
    assert httpx.get(f"{gateway.url}/../__main__.py").status_code == 404


@pytest.mark.parametrize(
    ("path", "encoding"), [("/", "gzip"), ("/app/main.js", "gzip"), ("/app/early.js", None), ("/openapi.json", None)]
)
def test_large_files_of_the_page_are_compressed_and_nothing_else(
    gateway: Gateway, path: str, encoding: str | None
) -> None:
    answer = httpx.get(gateway.url + path, headers={"Accept-Encoding": "gzip"})

    assert answer.status_code == 200
    assert answer.headers.get("content-encoding") == encoding
    assert answer.text == httpx.get(gateway.url + path, headers={"Accept-Encoding": "identity"}).text
