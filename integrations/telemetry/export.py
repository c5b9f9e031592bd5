"""Spans on their way to a collector: in batches, delaying nobody, and giving up quietly at the end."""

import atexit
import logging
import threading
import time
from collections.abc import Callable, Sequence

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from integrations.errors import Misconfigured

EXIT_S = 2.0
"""Seconds that the end of a process waits for a collector."""
COMPLAIN_EVERY_S = 60.0
_log = logging.getLogger(__name__)


class Reporting(SpanExporter):
    """Passes spans on, and complains once a minute while the collector does not take them."""

    def __init__(self, inner: SpanExporter, endpoint: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._inner, self._endpoint, self._clock = inner, endpoint, clock
        self._lost, self._quiet_until = 0, 0.0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export; lost spans are counted, never kept."""
        result = self._inner.export(spans)
        if result is SpanExportResult.SUCCESS:
            return result
        self._lost += len(spans)
        if self._clock() >= self._quiet_until:
            _log.warning("%d spans could not be sent to %s so far", self._lost, self._endpoint)
            self._quiet_until = self._clock() + COMPLAIN_EVERY_S
        return result

    def shutdown(self) -> None:
        """Close the connection, and end a retry that waits."""
        self._inner.shutdown()


def export_to(provider: TracerProvider, endpoint: str) -> None:
    """Send the provider's spans to the collector whose base URL this is, over OTLP/HTTP."""
    if not endpoint.startswith(("http://", "https://")):
        raise Misconfigured(f"telemetry.otlp_endpoint must begin with http:// or https://, not {endpoint!r}")
    url = endpoint.rstrip("/")
    url = url if url.endswith("/v1/traces") else f"{url}/v1/traces"
    # The library logs every failed attempt; `Reporting` says it once.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    exporter = Reporting(OTLPSpanExporter(endpoint=url, timeout=5), url)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    atexit.register(_finish, provider, exporter)


def _finish(provider: TracerProvider, exporter: SpanExporter) -> None:
    # The library's own exit waits 30 s for a collector that is away.
    sending = threading.Thread(target=provider.force_flush, daemon=True)
    sending.start()
    sending.join(EXIT_S)
    exporter.shutdown()
    provider.shutdown()
