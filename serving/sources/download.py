"""One file over HTTP: goes on where it broke off, with progress, and looks at the disk before it writes."""

from pathlib import Path

import httpx

from integrations.errors import Forbidden, InvalidInput, NotFound, RateLimited, RunbellError, Unavailable
from serving.shelf import OnProgress, Progress, need, sha256


class Download:
    """Downloads of one model."""

    def __init__(self, client: httpx.Client, name: str, on_progress: OnProgress) -> None:
        self._client = client
        self._name = name
        self._on_progress = on_progress

    def fetch(self, url: str, target: Path, digest: str, *, at_most: int | None = None) -> Path:
        """Return the file; what was begun goes on. Raises `Unavailable` where it broke off and nothing more came."""
        if target.is_file() and sha256(target) == digest:
            return target
        part = target.with_name(f"{target.name}.part")
        while True:
            had = part.stat().st_size if part.is_file() else 0
            try:
                self._go_on(url, part, had, at_most)
                return part.replace(target)
            except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
                raise InvalidInput(f"That is no address: {error}", field="reference") from error
            except httpx.TransportError as error:
                now = part.stat().st_size if part.is_file() else 0
                if now <= had:
                    raise _broke_off(target.name, now, error) from error
            except httpx.TooManyRedirects as error:
                raise Unavailable(f"{target.name}: too many redirects.", after=10) from error

    def _go_on(self, url: str, part: Path, had: int, at_most: int | None) -> None:
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={had}-"} if had else {})
        with self._client.stream("GET", url, headers=headers) as response:
            if response.status_code == 416:  # all of it is here; the checksum tells whether it is the right one
                return
            if response.status_code not in {200, 206}:
                raise _refused(response, part.name.removesuffix(".part"))
            if response.status_code == 200 or not response.headers.get("content-range", "").startswith(f"bytes {had}-"):
                had = 0
            length = response.headers.get("content-length", "")
            total = had + int(length) if length.isdecimal() else None
            if total:
                need(part.parent, total - had)
            with part.open("ab" if had else "wb") as file:
                for chunk in response.iter_raw():
                    had += file.write(chunk)
                    if at_most is not None and had > at_most:
                        raise InvalidInput(f"{part.name} is larger than {at_most} bytes.", field="reference")
                    self._on_progress(Progress(self._name, "download", had, total))


def _broke_off(name: str, size: int, error: httpx.TransportError) -> Unavailable:
    reason = "the other end was silent" if isinstance(error, httpx.TimeoutException) else str(error)
    what = f"broke off after {size / 1e6:.0f} MB" if size else "can't be fetched"
    return Unavailable(f"{name} {what}: {reason or type(error).__name__}. Pull again to go on.", after=10)


def _refused(response: httpx.Response, name: str) -> RunbellError:
    status, host = response.status_code, response.url.host
    if status in {401, 403}:
        return Forbidden(
            f"{host} gives {name} only to who may have it ({status}). Put a login into the address, as in"
            " https://NAME:PASSWORD@HOST/…, or fetch it yourself and pull the file."
        )
    if status in {404, 410}:
        return NotFound(f"{host} has no {name} at that address ({status}). Look at the address.")
    if status == 429:
        return RateLimited(f"{host} asks for a pause. Pull again later to go on.", after=60)
    return Unavailable(f"{host} answers {status} for {name}. Pull again later to go on.", after=10)
