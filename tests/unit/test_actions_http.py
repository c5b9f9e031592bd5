"""Calls to addresses that people, pages and models name: what is refused, what is bounded, what is kept secret."""

import socket
import ssl
import time
from collections.abc import Iterator

import pytest

from integrations.calling import Called, call
from integrations.errors import Forbidden, InvalidInput, NotFound, RateLimited, Rejected, Unavailable
from integrations.security.reach import Reach
from integrations.settings import Settings
from integrations.settings_actions import Actions, Credential, Http
from orchestration.actions import Outcome, prepare
from tests.acting import act
from tests.web import Handler, Site, serving_pages

REFUSED = [
    "http://127.0.0.1/", "http://127.1/", "http://127.255.255.254:8080/", "http://0.0.0.0/", "http://0/",
    "http://2130706433/", "http://0x7f000001/", "http://0x7f.1/", "http://0177.0.0.1/", "http://017700000001/",
    "http://localhost/", "http://LOCALHOST./", "http://localhost:3000/graphql", "http://[::1]/", "http://[::]/",
    "http://[::ffff:127.0.0.1]/", "http://[::ffff:7f00:1]/", "http://[::127.0.0.1]/", "http://[64:ff9b::7f00:1]/",
    "http://[64:ff9b:1::a00:1]/", "http://[2002:7f00:1::]/", "http://[2001:0:7f00:1::]/", "http://[fe80::1]/",
    "http://[fe80::1%25lo]/", "http://[fc00::1]/", "http://[fd12:3456::1]/", "http://[fec0::1]/", "http://[ff02::1]/",
    "http://[100::1]/", "http://[2001:db8::1]/", "http://[3fff::1]/", "http://10.0.0.1/", "http://10.255.255.255/",
    "http://172.16.0.1/", "http://172.31.255.1/", "http://192.168.1.1/", "http://169.254.169.254/latest/meta-data/",
    "http://169.254.170.2/", "http://100.64.0.1/", "http://100.100.100.200/", "http://192.0.0.1/",
    "http://192.0.0.192/", "http://192.0.2.1/", "http://198.18.0.1/", "http://198.51.100.1/", "http://203.0.113.1/",
    "http://224.0.0.1/", "http://239.255.255.250/", "http://240.0.0.1/", "http://255.255.255.255/",
    "https://127.0.0.1:8443/", "http://１２７.0.0.1/", "http://①②⑦.0.0.1/", "http://127。0。0。1/",
]  # fmt: skip
MALFORMED = [
    "", "example.com", "//example.com/", "file:///etc/passwd", "ftp://example.com/", "gopher://127.0.0.1:70/_x",
    "javascript:alert(1)", "http://", "http:///x", "http://user@example.com/", "http://a:b@127.0.0.1/",
    "http://example.com\\@127.0.0.1/", "http://exa mple.com/", "http://example.com/\r\nHost: x", "http://[::1/",
    "http://example.com:99999/", "http://example.com:x/", "http://" + "a" * 5000 + ".com/",
]  # fmt: skip


def get(url: str, reach: Reach | None = None, **more: object) -> Called:
    options = {"headers": {}, "timeout_s": 10.0, "max_bytes": 100_000, **more}
    return call("GET", url, reach=reach or Reach(), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("url", REFUSED)
def test_what_is_not_public_is_refused_however_it_is_written(url: str) -> None:
    # A system that can't even look such a name up reaches nobody either.
    with pytest.raises((Forbidden, Unavailable, InvalidInput)):
        get(url)


@pytest.mark.parametrize("url", [url for url in REFUSED if "[fe80::1%25lo]" not in url])
def test_a_preview_refuses_what_would_be_refused_without_looking_a_name_up(url: str) -> None:
    with pytest.raises((Forbidden, InvalidInput)):
        prepare("http_request", {"url": url}, Settings())


@pytest.mark.parametrize("allowed", ["127.0.0.1", "127.0.0.1:8080", "127.0.0.0/8"])
def test_a_preview_shows_a_private_address_that_is_allowed(allowed: str) -> None:
    settings = Settings(actions=Actions(http=Http(private=[allowed])))

    assert prepare("http_request", {"url": "http://127.0.0.1:8080/"}, settings).preview.startswith("would GET")


def test_most_of_them_are_refused_for_where_they_lead() -> None:
    reach = Reach()
    refused = 0
    for host in ("127.0.0.1", "127.1", "0x7f000001", "localhost", "::1", "::ffff:10.0.0.1", "169.254.169.254"):
        with pytest.raises(Forbidden, match="not a public address"):
            reach.resolve(host, 80)
        refused += 1
    assert refused == 7


@pytest.mark.parametrize("url", MALFORMED)
def test_what_is_no_plain_address_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput):
        get(url)


@pytest.fixture
def site() -> Iterator[Site]:
    with serving_pages(hello=lambda page: page.answer(200, b"hello", Content_Type="text/plain")) as site:
        yield site


@pytest.mark.parametrize("allowed", ["127.0.0.1", "127.0.0.1:{port}", "127.0.0.0/8"])
def test_a_private_address_is_called_where_a_setting_names_it(site: Site, allowed: str) -> None:
    reach = Reach(private=(allowed.format(port=site.port),))

    assert get(site.url("/hello"), reach).body == b"hello"


@pytest.mark.parametrize("allowed", ["127.0.0.1:1", "10.0.0.0/8", "example.com", "27.0.0.1", ""])
def test_a_setting_allows_nothing_beside_what_it_names(site: Site, allowed: str) -> None:
    with pytest.raises(Forbidden):
        get(site.url("/hello"), Reach(private=(allowed,)))

    assert site.seen == []


def test_where_hosts_are_listed_no_other_is_called(site: Site) -> None:
    reach = Reach(hosts=("api.example.com", ".example.org"), private=("127.0.0.0/8",))

    with pytest.raises(Forbidden, match="not among the hosts"):
        get(site.url("/hello"), reach)
    reach.check("a.example.org", 443)
    with pytest.raises(Forbidden):
        reach.check("badexample.org", 443)


@pytest.mark.parametrize(
    "target",
    [
        "http://169.254.169.254/latest", "http://[::1]:{other}/", "http://127.0.0.1:{other}/", "//127.0.0.1:{other}/",
        "http://localhost:{other}/", "file:///etc/passwd", "http://0x7f.1:{other}/", "http://2130706433:{other}/",
    ],
)  # fmt: skip
def test_a_redirect_leads_nowhere_that_may_not_be_called(target: str) -> None:
    with serving_pages() as inner, serving_pages() as outer:
        inner.pages["/"] = lambda page: page.answer(200, b"secret")
        outer.pages["/"] = lambda page: page.answer(302, Location=target.format(other=inner.port))

        with pytest.raises((Forbidden, InvalidInput)):
            get(outer.url(), Reach(private=(outer.host,)))

        assert inner.seen == []


def test_the_authorities_that_prove_servers_are_read_once_for_all(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    reach = Reach(private=(site.host,))
    get(site.url("/hello"), reach)
    read: list[object] = []
    monkeypatch.setattr(ssl, "create_default_context", lambda *_, **given: read.append(given))

    assert get(site.url("/hello"), reach).body == b"hello"
    assert read == []


def test_redirects_end(site: Site) -> None:
    site.pages["/loop"] = lambda page: page.answer(302, Location="/loop")

    with pytest.raises(Rejected, match="redirects more than"):
        get(site.url("/loop"), Reach(private=(site.host,)))


class Rebinding(Reach):
    """A name that leads to a public address first, and to loopback when asked again."""

    def resolve(self, host: str, port: int) -> list[str]:
        asked.append(host)
        if len(asked) > 1:
            self._check_address(host, "127.0.0.1")
        return ["127.0.0.1"]


asked: list[str] = []


def test_the_address_that_was_looked_at_is_the_one_that_is_called(site: Site) -> None:
    asked.clear()

    assert get(site.url("/hello", host="rebinding.example.com"), Rebinding()).body == b"hello"

    assert asked == ["rebinding.example.com"]


def test_a_name_that_leads_elsewhere_at_the_redirect_is_looked_at_again(site: Site) -> None:
    asked.clear()
    site.pages["/away"] = lambda page: page.answer(302, Location="http://rebinding.example.com:1/")

    with pytest.raises(Forbidden):
        get(site.url("/away", host="other.example.com"), Rebinding())


def test_an_answer_that_is_too_large_is_refused(site: Site) -> None:
    site.pages["/big"] = lambda page: page.answer(200, b"x" * 5000)

    with pytest.raises(Rejected, match="more than 4000 bytes"):
        get(site.url("/big"), Reach(private=(site.host,)), max_bytes=4000)


def test_an_answer_that_drips_ends_at_the_deadline(site: Site) -> None:
    def drip(page: Handler) -> None:
        page.send_response(200)
        page.send_header("Content-Length", "1000")
        page.end_headers()
        for _ in range(1000):
            page.wfile.write(b"x")
            page.wfile.flush()
            time.sleep(0.05)

    site.pages["/drip"] = drip
    began = time.monotonic()

    with pytest.raises(Unavailable, match="ReadTimeout"):
        get(site.url("/drip"), Reach(private=(site.host,)), timeout_s=0.5)

    assert time.monotonic() - began < 20


def test_what_was_sent_and_not_answered_is_not_called_undone(site: Site) -> None:
    site.pages["/cut"] = lambda page: page.connection.shutdown(socket.SHUT_RDWR)
    reach = Reach(private=(site.host,))

    with pytest.raises(Rejected, match="nobody can tell"):
        call("POST", site.url("/cut"), headers={}, body=b"x", reach=reach, timeout_s=5, max_bytes=100)


def test_a_pause_that_is_asked_for_is_passed_on(site: Site) -> None:
    site.pages["/slow"] = lambda page: page.answer(429, Retry_After="7")

    with pytest.raises(RateLimited) as caught:
        get(site.url("/slow"), Reach(private=(site.host,)))

    assert caught.value.after == 7


def settings(site: Site, **actions: object) -> Settings:
    given = {"http": Http(private=[site.host, f"localhost:{site.port}"]), **actions}
    return Settings(actions=Actions(**given))  # type: ignore[arg-type]


def done(settings: Settings, **arguments: object) -> Outcome:
    return act("http_request", settings, arguments, sleep=lambda _: None)


@pytest.fixture
def token(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("SITE_TOKEN", "tok-4711-secret")
    return "tok-4711-secret"


def test_a_request_is_told_before_it_is_made(site: Site) -> None:
    prepared = prepare("http_request", {"url": site.url("/x?key=1"), "method": "POST", "body": "abc"}, settings(site))

    assert prepared.effect == "write"
    assert prepared.preview == f"would POST {site.url('/x?…')} with 3 bytes"
    assert site.seen == []


def test_a_write_carries_its_idempotency_key(site: Site) -> None:
    site.pages["/orders"] = lambda page: page.answer(201, b"{}")

    done(settings(site), url=site.url("/orders?Zürich=北京"), method="POST", json_body={"订单": 1})

    method, path, headers, body = site.seen[0]
    assert (method, headers["Idempotency-Key"], headers["Content-Type"]) == ("POST", "run1.op", "application/json")
    assert body == '{"订单": 1}'.encode()
    assert path == "/orders?Z%C3%BCrich=%E5%8C%97%E4%BA%AC"


def test_a_credential_goes_to_its_own_hosts_and_never_comes_back(site: Site, token: str) -> None:
    site.pages["/echo"] = lambda page: page.answer(200, page.headers["Authorization"].encode())
    known = settings(site, credentials={"site": Credential(value="env:SITE_TOKEN", hosts=["127.0.0.1"])})

    outcome = done(known, url=site.url("/echo"), credential="site")

    assert site.seen[0][2]["Authorization"] == f"Bearer {token}"
    assert token not in outcome.model_dump_json()
    with pytest.raises(Forbidden, match="not for localhost"):
        done(known, url=site.url("/echo", host="localhost"), credential="site")
    with pytest.raises(NotFound):
        done(known, url=site.url("/echo"), credential="other")


def test_a_credential_does_not_follow_a_redirect_to_another_host(site: Site, token: str) -> None:
    site.pages["/away"] = lambda page: page.answer(302, Location=site.url("/hello", host="localhost"))
    known = settings(site, credentials={"site": Credential(value="env:SITE_TOKEN", hosts=["127.0.0.1"])})

    done(known, url=site.url("/away"), credential="site", headers={"X-Mine": "1"})

    assert site.seen[0][2]["Authorization"] == f"Bearer {token}"
    assert site.seen[1][2].keys().isdisjoint({"Authorization", "X-Mine"})


@pytest.mark.parametrize(
    "headers", [{"Host": "x"}, {"X\r\nY": "1"}, {"X": "a\r\nY: b"}, {"X": "é"}, {"": "x"}, {"Content-Length": "0"}]
)
def test_headers_can_not_become_others(site: Site, headers: dict[str, str]) -> None:
    with pytest.raises(InvalidInput):
        done(settings(site), url=site.url("/hello"), headers=headers)

    assert site.seen == []


def test_what_surely_did_not_happen_is_tried_again(site: Site) -> None:
    answers = iter([429, 429, 200])
    site.pages["/busy"] = lambda page: page.answer(next(answers), b"ok")

    outcome = done(settings(site), url=site.url("/busy"), method="POST")

    assert outcome.data["status"] == 200
    assert len(site.seen) == 3


def test_an_action_that_is_not_allowed_is_refused(site: Site) -> None:
    with pytest.raises(Forbidden, match=r"actions\.allow"):
        done(settings(site, allow=["wait"]), url=site.url("/hello"))
    with pytest.raises(NotFound, match="Did you mean http_request"):
        prepare("http_requst", {}, settings(site))
