"""A small HTTP server in this process, for tests of what calls out."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answering = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """Passes every request to the site."""

    server: "Server"
    protocol_version = "HTTP/1.1"

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def handle_one(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.site.seen.append((self.command, self.path, dict(self.headers), body))
        self.server.site.pages[self.path.partition("?")[0]](self)

    do_GET = do_POST = do_DELETE = do_HEAD = handle_one  # noqa: N815 - the names are http.server's

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    site: "Site"

    def handle_error(self, *_: object) -> None:
        """Callers that break off are part of the tests."""


@dataclass
class Site:
    """What is served, and what was asked for: method, path, headers, body."""

    port: int
    pages: dict[str, Answering] = field(default_factory=dict)
    seen: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def url(self, path: str = "/", host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"


@contextmanager
def serving_pages(**pages: Answering) -> Iterator[Site]:
    """Serve pages by their names (`/name`) on a free port of loopback."""
    with Server(("127.0.0.1", 0), Handler) as server:
        server.site = Site(server.server_address[1], {f"/{name}": page for name, page in pages.items()})
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server.site
        server.shutdown()
        thread.join()
