"""Models at an address, pinned by their checksum: a GGUF file, or a list of checksums with the files beside it."""

import re
import shutil
from pathlib import Path
from urllib.parse import quote, unquote, urljoin, urlsplit, urlunsplit

import httpx

from integrations.errors import InvalidInput
from serving.shelf import InstalledModel, OnProgress, workshop
from serving.sources.download import Download
from serving.sources.shelving import check, choose, fresh, name_of, shelve

LIST = "SHA256SUMS"
LIST_BYTES = 1 << 20
CONNECT_S, SILENCE_S = 10.0, 30.0


def from_url(home: Path, reference: str, on_progress: OnProgress) -> InstalledModel:
    """Fetch `URL#sha256=HEX` of a .gguf file, or of a list SHA256SUMS, which names and pins the files beside it."""
    url, digest = _pinned(reference)
    last = unquote(urlsplit(url).path.rpartition("/")[2])
    many = last == LIST
    if not many and not last.lower().endswith(".gguf"):
        raise InvalidInput(f"The address must end in .gguf or in {LIST}, not in {last!r}.", field="reference")
    folder = unquote(urlsplit(url).path.rstrip("/").split("/")[-2]) if many else ""
    name = name_of(folder if many else Path(last).stem)
    with workshop(home, name) as shop, _client() as client:
        (shop / "web").mkdir(exist_ok=True)
        download = Download(client, name, on_progress)
        wanted = {last: (url, digest)}
        if many:
            listing = download.fetch(url, shop / "web" / LIST, digest, at_most=LIST_BYTES)
            wanted = _listed(url, listing.read_text(encoding="utf-8", errors="replace"))
        paths = [download.fetch(where, shop / "web" / file, its) for file, (where, its) in wanted.items()]
        files = {path.name: check(name, path, wanted[path.name][1], on_progress) for path in paths}
        staged = fresh(shop / "staged")
        for path in paths:
            path.rename(staged / path.name)
        model = shelve(home, name, _public(url), staged, files)
        shutil.rmtree(shop)
        return model


def _pinned(reference: str) -> tuple[str, str]:
    url, _, fragment = reference.partition("#")
    found = re.fullmatch(r"sha256[=:]([0-9a-fA-F]{64})", fragment)
    if found is None:
        raise InvalidInput(
            "An address needs its checksum, as in https://example.org/model.gguf#sha256=HEX: 64 hexadecimal digits,"
            " which whoever publishes the file tells.",
            field="reference",
        )
    return url, found[1].lower()


def _listed(url: str, text: str) -> dict[str, tuple[str, str]]:
    """Return address and digest of the files that make up the model of a list, in the form of `sha256sum`."""
    known: dict[str, str] = {}
    for line in text.splitlines():
        found = re.fullmatch(r"([0-9a-fA-F]{64}) [ *](?:\./)?([^/\\\0]{1,200})", line.strip())
        if found and found[2] not in {".", ".."}:
            known[found[2]] = found[1].lower()
    return {file: (urljoin(url, quote(file)), known[file]) for file in choose(list(known), "")}


def _public(url: str) -> str:
    """Return the address without a login and what else only its user may know."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _client() -> httpx.Client:
    return httpx.Client(
        timeout=httpx.Timeout(SILENCE_S, connect=CONNECT_S),
        follow_redirects=True,
        max_redirects=5,
        # A connection each: one that the server is about to close loses the next file's request.
        limits=httpx.Limits(max_keepalive_connections=0),
    )
