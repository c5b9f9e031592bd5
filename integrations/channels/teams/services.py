"""Where each conversation is answered: the serviceUrl that its last authentic activity named.

Kept in RUNBELL_HOME/channels/teams.sqlite, so that a restart, or another gateway of the same home, can go on posting.
Only hosts of the settings count (SSRF); they are checked again before each use.
"""

import asyncio
import sqlite3
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

from integrations.errors import Forbidden

LOOPBACK = ("127.0.0.1", "localhost", "::1")
REMEMBERED = 5000
_TABLE = "create table if not exists service (conversation text primary key, url text not null, at real not null)"


class Services:
    """Addresses by conversation; `get` blocks for a moment."""

    def __init__(self, path: Path, hosts: Sequence[str], file_hosts: Sequence[str] = ()) -> None:
        self._path = path
        self._file_hosts = tuple(host.lower() for host in file_hosts)
        self._hosts = tuple(host.lower() for host in hosts)
        self._known: OrderedDict[str, str] = OrderedDict()
        self._new: dict[str, str] = {}
        self._writing = asyncio.Lock()

    def checked(self, url: object) -> str:
        """Return an address that may be called; raise Forbidden for all others."""
        try:
            parts = urlsplit(url if isinstance(url, str) else "")
            host = (parts.hostname or "").lower()
            fine = host in self._hosts and (parts.scheme == "https" or (parts.scheme == "http" and host in LOOPBACK))
            fine = fine and not (parts.username or parts.password or parts.query or parts.fragment)
            fine = fine and (parts.port in (None, 443) or host in LOOPBACK)
        except ValueError:
            fine = False
        if not fine:
            raise Forbidden("This serviceUrl is none of channels.teams.service_hosts.")
        return str(url).rstrip("/")

    def holds_files(self, url: str) -> bool:
        """Tell whether files may be fetched there; a host that begins with a dot stands for all below it."""
        try:
            parts = urlsplit(url)
            host = (parts.hostname or "").lower()
        except ValueError:
            return False
        listed = any(host == name or (name.startswith(".") and host.endswith(name)) for name in self._file_hosts)
        return listed and (parts.scheme == "https" or host in LOOPBACK)

    async def put(self, conversation: str, url: str) -> None:
        """Remember an address that was checked; those of many activities at once are one commit."""
        if self._known.get(conversation) == url:
            return
        self._new[conversation] = url
        async with self._writing:
            new, self._new = self._new, {}
            if new:
                await asyncio.to_thread(self._store, new)
                for one in new.items():
                    self._remember(*one)

    def _store(self, new: Mapping[str, str]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with closing(sqlite3.connect(self._path, timeout=5)) as connection, connection:
            connection.execute(_TABLE)
            connection.executemany(
                "insert into service values (?, ?, ?) on conflict (conversation) do update set url = excluded.url",
                [(conversation, url, time.time()) for conversation, url in new.items()],
            )

    def get(self, conversation: str) -> str:
        """Return where to answer; Microsoft's global address where the conversation has never spoken to us."""
        if conversation not in self._known and self._path.exists():
            with closing(sqlite3.connect(self._path, timeout=5)) as connection:
                connection.execute(_TABLE)
                found = connection.execute("select url from service where conversation = ?", (conversation,)).fetchone()
            if found:
                self._remember(conversation, str(found[0]))
        return self.checked(self._known.get(conversation) or f"https://{self._hosts[0]}/teams")

    def _remember(self, conversation: str, url: str) -> None:
        self._known[conversation] = url
        self._known.move_to_end(conversation)
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
