"""Waking by LISTEN: one thread per process, which reconnects by itself and reports every reconnection."""

import logging
import random
import threading
from collections.abc import Callable, Collection

import psycopg
from psycopg import sql

from integrations.database.engine import driver_url

log = logging.getLogger(__name__)

Heard = Callable[[str, str], None]
"""Called with channel and payload in the listener's thread; with channel "" after each (re)connection, since
notifications may have been missed."""


class Listener:
    """Listens on channels until closed. `heard` must be quick and must not raise."""

    def __init__(self, url: str, channels: Collection[str], heard: Heard) -> None:
        self._url = driver_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
        self._channels = sorted(channels)
        self._heard = heard
        self._stop = threading.Event()
        self.connected = threading.Event()
        self._thread = threading.Thread(target=self._run, name="listener", daemon=True)

    def start(self) -> "Listener":
        """Begin to listen."""
        self._thread.start()
        return self

    def close(self) -> None:
        """Stop and wait for the thread."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10)

    def _run(self) -> None:
        pause = 0.1
        while not self._stop.is_set():
            try:
                self._listen()
                pause = 0.1
            except (psycopg.Error, OSError) as error:
                log.warning("listening broke off, will try again", extra={"error": str(error).strip()})
                pause = min(pause * 2, 5.0)
            self.connected.clear()
            self._stop.wait(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter

    def _listen(self) -> None:
        with psycopg.connect(
            self._url, autocommit=True, connect_timeout=5, application_name="runbell-listener"
        ) as connection:
            for channel in self._channels:
                connection.execute(sql.SQL("listen {}").format(sql.Identifier(channel)))
            self.connected.set()
            self._heard("", "")
            while not self._stop.is_set():
                for note in connection.notifies(timeout=0.5):
                    self._heard(note.channel, note.payload)
                    if self._stop.is_set():
                        return
