"""The way to Chroma's server: with time-outs, errors of ours, and back by itself after the server was away."""

import re
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar, cast

import httpx

from integrations.errors import Rejected, Unavailable

if TYPE_CHECKING:
    from chromadb.api.client import Client
    from chromadb.api.collection_configuration import CreateHNSWConfiguration
    from chromadb.api.models.Collection import Collection

CONNECT_S = 1.0
ANSWER_S = 5.0
"""Seconds to wait for a server that accepts connections but stalls."""
RETRY_S = 0.5
"""Seconds in which a server that was just found away is not tried again, so that many threads don't queue up."""
PREFIX = "recollections-"
SYNC_THRESHOLD = 50
"""Writes after which Chroma saves its index and purges its log; its default of 1,000 keeps forgotten texts for long."""
_INDEX: "CreateHNSWConfiguration" = {"space": "cosine", "sync_threshold": SYNC_THRESHOLD, "batch_size": SYNC_THRESHOLD}

T = TypeVar("T")


class Connection:
    """One Chroma server. Thread-safe; connects at first use, which takes 1.5 s for the SDK's import."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._lock = threading.Lock()
        self._client: Client | None = None
        self._collections = dict[str, "Collection"]()
        self._away_until = 0.0

    def run(self, work: Callable[["Connection"], T]) -> T:
        """Do something idempotent; it is tried twice where a pooled connection or a known collection was gone.

        Raises `Unavailable` within ANSWER_S of a request, and `Rejected` for what the server refuses.
        """
        from chromadb.errors import NotFoundError

        with self._translated():
            try:
                return work(self)
            except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError, NotFoundError):
                self._collections.clear()
                return work(self)

    def heartbeat(self) -> None:
        """Return when the server answers."""
        self._connected().heartbeat()

    def collection(self, name: str) -> "Collection":
        """Return the collection, made at its first use."""
        if (known := self._collections.get(name)) is not None:
            return known
        found = self._connected().get_or_create_collection(
            name, embedding_function=None, configuration={"hnsw": _INDEX}
        )
        self._collections[name] = found
        return found

    def collections(self) -> list["Collection"]:
        """Return all collections of recollections: one per embedder that was ever in use."""
        return [each for each in self._connected().list_collections() if each.name.startswith(PREFIX)]

    def _connected(self) -> "Client":
        if self._client is not None:
            return self._client
        with self._lock:
            if self._client is None:
                if time.monotonic() < self._away_until:
                    raise self._unavailable(None)
                try:
                    self._client = _connect(self._host, self._port)
                except (httpx.TransportError, ValueError) as error:
                    # The SDK turns a refused connection into a ValueError.
                    self._away_until = time.monotonic() + RETRY_S
                    raise self._unavailable(error) from error
            return self._client

    def close(self) -> None:
        """Close the pooled connections; a later call connects again."""
        with self._lock:
            client, self._client = self._client, None
            self._collections.clear()
        if client is not None:
            client.close()

    @contextmanager
    def _translated(self) -> Generator[None]:
        from chromadb import errors

        try:
            yield
        except httpx.TransportError as error:
            raise self._unavailable(error) from error
        except (errors.InvalidArgumentError, errors.InvalidDimensionException, errors.NotFoundError) as error:
            raise Rejected(f"Chroma refuses this: {error}") from error
        except errors.ChromaError as error:
            raise self._unavailable(error) from error

    def _unavailable(self, error: Exception | None) -> Unavailable:
        reason = f" ({type(error).__name__})" if error else ""
        return Unavailable(
            f"the memory server at {self._host}:{self._port} does not answer{reason}; "
            "`runbell status` shows whether Chroma runs",
            after=RETRY_S,
        )


def _connect(host: str, port: int) -> "Client":
    from chromadb.api.client import Client
    from chromadb.auth import UserIdentity
    from chromadb.config import Settings

    class Timely(Client):
        """The SDK's client waits forever; this one sets its session's time-outs before its first request."""

        session: httpx.Client

        def get_user_identity(self) -> UserIdentity:
            session = cast("httpx.Client", self._server._session)  # noqa: SLF001  # pyright: ignore[reportAttributeAccessIssue, reportPrivateUsage] - there is no public way
            session.timeout = httpx.Timeout(ANSWER_S, connect=CONNECT_S)
            session.event_hooks["response"].append(_refuse_strangers)
            self.session = session
            return super().get_user_identity()

        def _validate_tenant_database(self, tenant: str, database: str) -> None:  # noqa: ARG002 - the SDK's signature
            # The SDK would ask over a second session, without time-outs and never closed; we use the built-in ones.
            return

        def close(self) -> None:
            super().close()
            self.session.close()  # which the SDK leaves open

    return Timely(
        settings=Settings(
            chroma_api_impl="chromadb.api.fastapi.FastAPI",
            chroma_server_host=host,
            chroma_server_http_port=port,
            chroma_http_max_connections=32,
            anonymized_telemetry=False,
        )
    )


def _refuse_strangers(response: httpx.Response) -> None:
    """Raise for an error that is not Chroma's: the SDK would raise a bare `Exception`."""
    if response.status_code < 400:
        return
    if not re.match(rb'\s*\{.*"error"\s*:', response.read(), re.DOTALL):
        raise httpx.RemoteProtocolError(f"HTTP {response.status_code} from something that is not Chroma")
