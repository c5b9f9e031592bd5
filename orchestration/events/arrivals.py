"""Files that arrive in a folder or a bucket, through fsspec: `/srv/in/*.csv`, `s3://bucket/in/**/*.json`."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any, cast

from fsspec.core import url_to_fs
from fsspec.registry import get_filesystem_class

from integrations.database import Database
from integrations.errors import Misconfigured, Overloaded, Unavailable
from integrations.settings import Settings
from orchestration.events.seam import MOST, Batch, Event

MOST_FILES = 5_000
"""Files that may lie there at a time: each is remembered until it is gone."""


@dataclass(frozen=True)
class Arrivals:
    """A pattern of paths; `from_start` takes what is there already."""

    pattern: str
    from_start: bool = False

    @property
    def kind(self) -> str:
        """What it is called in the Dagster UI."""
        return f"files {self.pattern}"

    def problem(self, settings: Settings) -> str | None:
        """Return what fsspec has against the address; nothing is connected."""
        del settings
        try:
            get_filesystem_class(self.pattern.partition("://")[0] if "://" in self.pattern else "file")
        except (ImportError, ValueError) as error:
            return str(error)
        return None

    def look(self, cursor: str | None, database: Database, settings: Settings) -> Batch:
        """Return files that are new or another version, once they are the same in two looks: they are whole then."""
        del database, settings
        there = self._there()
        if cursor is None and not self.from_start:
            return Batch(_cursor(sorted(there), []))
        known, growing = _read(cursor)
        done = known & there.keys()
        fresh = [name for name in there if name not in done]
        whole = [name for name in fresh if name in growing][:MOST]
        rest = [name for name in fresh if name not in whole]
        return Batch(_cursor(sorted(done | set(whole)), rest), [there[name] for name in whole])

    def _there(self) -> dict[str, Event]:
        """Return the files by a short name of each version, oldest first."""
        try:
            system, path = url_to_fs(self.pattern)
            found = cast("dict[str, dict[str, Any]]", system.glob(path, detail=True))
        except (ImportError, ValueError) as error:
            raise Misconfigured(f"{self.pattern} can't be read: {error}") from error
        except OSError as error:
            raise Unavailable(f"{self.pattern} can't be listed: {error}") from error
        files = [(name, about) for name, about in found.items() if about.get("type") == "file"]
        if len(files) > MOST_FILES:
            raise Overloaded(f"{len(files)} files match {self.pattern}; {MOST_FILES} may. Move away what is done.")
        events = [_event(system.unstrip_protocol(name), name, about) for name, about in files]
        events.sort(key=lambda event: (str(event.fields["modified"]), event.id))
        return {event.id[-16:]: event for event in events}


def files(pattern: str, *, from_start: bool = False) -> Arrivals:
    """Return a source of the files that match a pattern: new ones, and known ones with other content.

    Any address that fsspec knows; for `s3://` and the like its package must be installed. An event has `url`, `path`,
    `name`, `size` and `modified`.
    """
    return Arrivals(pattern, from_start)


def _event(url: str, path: str, about: dict[str, Any]) -> Event:
    modified = str(
        about.get("mtime") or about.get("LastModified") or about.get("updated") or about.get("created") or ""
    )
    version = str(about.get("ETag") or about.get("etag") or about.get("md5Hash") or modified)
    size = int(about.get("size") or 0)
    digest = hashlib.sha256(json.dumps([url, version, size]).encode()).hexdigest()[:16]
    name = path.rpartition("/")[2]
    fields = {"url": url, "path": path, "name": name, "size": size, "modified": modified}
    return Event(f"{name[:80]}:{digest}", fields)


def _cursor(done: list[str], growing: list[str]) -> str:
    return json.dumps({"done": done, "growing": growing})


def _read(cursor: str | None) -> tuple[set[str], set[str]]:
    said = cast("dict[str, list[str]]", json.loads(cursor)) if cursor else {}
    return set(said.get("done", ())), set(said.get("growing", ()))
