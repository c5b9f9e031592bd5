"""Dagster's code servers as the pool sees them: noticing that one was reloaded, and reloading one.

"Reload" in the UI makes a code server load its code anew; then it has another id. What the UI shows and what the
workers execute shall be the same code, whoever noticed the change first.
"""

import logging
import threading
from collections.abc import Iterable

from integrations.settings import Settings
from orchestration.warm.internals import DagsterUserCodeUnreachableError, GrpcServerCodeLocationOrigin
from orchestration.warm.location import served_origin

log = logging.getLogger(__name__)

LOOK_S = 2.0
ANSWER_S = 5
RELOAD_S = 180


class CodeServers:
    """Watches in a thread of its own; all methods return at once."""

    def __init__(self, settings: Settings, locations: Iterable[str]) -> None:
        origins = {name: served_origin(settings, name) for name in locations}
        self._origins = {name: o for name, o in origins.items() if isinstance(o, GrpcServerCodeLocationOrigin)}
        self._ids: dict[str, str] = {}
        self._changed: set[str] = set()
        self._wanted: set[str] = set()
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._closed = False
        threading.Thread(target=self._watch, name="code servers", daemon=True).start()

    def reload(self, location: str) -> None:
        """Let a location's server load its code anew, if it has one."""
        with self._lock:
            self._wanted.add(location)
        self._wake.set()

    def was_reloaded(self, location: str) -> bool:
        """Tell once that somebody else has let the server load its code anew, or that it was started again."""
        with self._lock:
            changed = location in self._changed
            self._changed.discard(location)
        return changed

    def close(self) -> None:
        """End the watch."""
        self._closed = True
        self._wake.set()

    def _watch(self) -> None:
        while not self._closed:
            for location, origin in self._origins.items():
                try:
                    self._look(location, origin)
                except DagsterUserCodeUnreachableError as error:
                    log.debug("a code server does not answer", extra={"location": location, "error": str(error)})
                except Exception:  # outermost loop of this thread
                    log.exception("a code server could not be asked")
            self._wake.wait(LOOK_S)
            self._wake.clear()

    def _look(self, location: str, origin: GrpcServerCodeLocationOrigin) -> None:
        client = origin.create_client()
        with self._lock:
            wanted = location in self._wanted
        if wanted:
            client.reload_code(timeout=RELOAD_S)
            log.info("code server reloaded", extra={"location": location})
        found = client.get_server_id(timeout=ANSWER_S)
        with self._lock:
            if wanted:
                self._wanted.discard(location)
            elif self._ids.get(location, found) != found:
                self._changed.add(location)
            self._ids[location] = found
