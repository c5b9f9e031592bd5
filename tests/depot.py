"""A server of files that speaks the Hugging Face hub's protocol, and misbehaves as it is told to."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

COMMIT = "c0ffee" + "0" * 34


class Depot:
    """Files by their path; `/api/models/OWNER/NAME` and `/OWNER/NAME/resolve/…` are the hub's."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.lies: dict[str, str] = {}
        """What the hub says of files in place of their SHA-256."""
        self.breaks_after: list[int] = []
        """The next bodies end, or fall silent, after so many bytes."""
        self.silent = threading.Event()
        self.freed = threading.Event()
        self.refusal: tuple[int, dict[str, str]] | None = None
        self.redirects: dict[str, str] = {}
        self.asked: list[tuple[str, str, str]] = []
        """Method, path, Range."""
        self.logins: list[str | None] = []
        self.url = ""

    def sums(self, folder: str) -> bytes:
        found = {name.rpartition("/")[2]: body for name, body in self.files.items() if name.startswith(folder)}
        return "".join(f"{sha(body)}  {name}\n" for name, body in found.items()).encode()

    def about(self, repository: str) -> bytes:
        prefix = f"/{repository}/"
        siblings = [
            {"rfilename": name.removeprefix(prefix), "size": len(body), "blobId": "b",
             "lfs": {"sha256": self.lies.get(name, sha(body)), "size": len(body), "pointerSize": 1}}
            for name, body in self.files.items() if name.startswith(prefix)
        ]  # fmt: skip
        return json.dumps({"id": repository, "modelId": repository, "sha": COMMIT, "siblings": siblings}).encode()


def sha(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    depot: Depot

    def log_message(self, *_: object) -> None: ...

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path, depot = unquote(urlsplit(self.path).path), self.depot
        depot.asked.append((self.command, path, self.headers.get("Range", "")))
        depot.logins.append(self.headers.get("Authorization"))
        if depot.refusal:
            self._say(*depot.refusal, b"{}")
        elif path in depot.redirects:
            self._say(302, {"Location": depot.redirects[path]}, b"")
        elif path.startswith("/api/models/"):
            self._say(200, {}, depot.about(path.removeprefix("/api/models/").partition("/revision/")[0]))
        elif (body := depot.files.get(path.replace(f"/resolve/{COMMIT}", ""))) is not None:
            self._give(body)
        else:
            self._say(404, {"X-Error-Code": "EntryNotFound"}, b"")

    def _give(self, body: bytes) -> None:
        begin = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").partition("-")[0])
        told = {"ETag": f'"{sha(body)}"', "X-Repo-Commit": COMMIT}
        if begin:
            told["Content-Range"] = f"bytes {begin}-{len(body) - 1}/{len(body)}"
        breaks = self.command == "GET" and self.depot.breaks_after
        self._say(206 if begin else 200, told, body[begin:], self.depot.breaks_after.pop(0) if breaks else None)

    def _say(self, status: int, headers: dict[str, str], body: bytes, only: int | None = None) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        self.wfile.write(body[:only])
        if only is not None:
            self.wfile.flush()
            if self.depot.silent.is_set():
                self.depot.freed.wait(30)
            self.close_connection = True


@contextmanager
def open_depot() -> Iterator[Depot]:
    depot = Depot()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"depot": depot}))
    server.daemon_threads = True
    depot.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=[0.05], daemon=True)
    thread.start()
    try:
        yield depot
    finally:
        depot.freed.set()
        server.shutdown()
        server.server_close()
        thread.join()
