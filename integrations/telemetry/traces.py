"""Spans, and the W3C traceparent that carries them between processes, threads and Ray actors.

A context does not cross a new thread, a Ray handle or a database row by itself: pass `current_traceparent()`
along and give it to `span`. While nothing is exported a span only hands out ids (some microseconds).
"""

import re
import secrets
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import Token
from typing import TYPE_CHECKING

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from integrations.errors import InvalidInput
from integrations.telemetry.redaction import is_private, redact

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_propagator = TraceContextTextMapPropagator()


class _State:
    """The provider in use; made on the first span where `configure` was not called."""

    provider: "TracerProvider | None" = None
    tracer: trace.Tracer | None = None

    def use(self, provider: "TracerProvider | None") -> None:
        self.provider = provider
        self.tracer = provider.get_tracer("runbell") if provider else None


_state = _State()


@contextmanager
def span(name: str, *, traceparent: str | None = None, **attributes: object) -> Generator[trace.Span]:
    """Time a block, as a child of `traceparent` or else of the current span; exceptions are recorded.

    A malformed `traceparent` counts as none. Attributes that are None, or whose name says that they hold
    message text, are left out.
    """
    current = _tracer().start_span(name, context=_parent(traceparent))
    if current.is_recording():
        current.set_attributes(_presentable(attributes))
    token = otel_context.attach(trace.set_span_in_context(current))
    try:
        yield current
    except Exception as error:
        _record(current, error)
        raise
    finally:
        _detach(token)
        current.end()


def current_traceparent() -> str | None:
    """Return the traceparent of the current span, or None outside of any."""
    here = trace.get_current_span().get_span_context()
    if not here.is_valid:
        return None
    return f"00-{here.trace_id:032x}-{here.span_id:016x}-{here.trace_flags:02x}"


def current_ids() -> tuple[str, str] | None:
    """Return trace id and span id of the current span in hex, or None outside of any."""
    here = trace.get_current_span().get_span_context()
    return (f"{here.trace_id:032x}", f"{here.span_id:016x}") if here.is_valid else None


def new_traceparent() -> str:
    """Return the traceparent of a new trace, for what begins outside of any span."""
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"


def trace_id_of(traceparent: str) -> str:
    """Return the 32 hex digits of the trace id; raises `InvalidInput` where it is no W3C traceparent."""
    match = _TRACEPARENT.fullmatch(traceparent)
    if match is None:
        raise InvalidInput("traceparent must look like 00-<32 hex digits>-<16 hex digits>-<2 hex digits>")
    return match[1]


@contextmanager
def capture() -> "Generator[InMemorySpanExporter]":
    """Collect the finished spans of this process in memory instead of exporting them: for tests."""
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    from opentelemetry.sdk.trace.sampling import ALWAYS_ON

    exporter, before = InMemorySpanExporter(), _state.provider
    provider = TracerProvider(sampler=ALWAYS_ON, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    _state.use(provider)
    try:
        yield exporter
    finally:
        _state.use(before)


def configure(service: str, otlp_endpoint: str | None) -> None:
    """Make the provider; `setup` calls it. Raises `Misconfigured` for an endpoint that is no HTTP URL."""
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import SpanLimits, TracerProvider
    from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON

    provider = TracerProvider(
        # What upstream sampled is not asked: an installation traces all of its messages or none.
        sampler=ALWAYS_ON if otlp_endpoint else ALWAYS_OFF,
        shutdown_on_exit=False,
        resource=Resource.create({"service.name": f"runbell-{service}", "service.namespace": "runbell"}),
        span_limits=SpanLimits(max_attribute_length=2000, max_attributes=64, max_events=64),
    )
    if otlp_endpoint:
        from integrations.telemetry.export import export_to

        export_to(provider, otlp_endpoint)
    _state.use(provider)


def flush(timeout_s: float) -> bool:
    """Export what waits."""
    return _state.provider.force_flush(int(timeout_s * 1000)) if _state.provider else True


def _tracer() -> trace.Tracer:
    if _state.tracer is None:
        configure("unnamed", None)
    assert _state.tracer is not None
    return _state.tracer


def _parent(traceparent: str | None) -> otel_context.Context | None:
    if traceparent is None:
        return None
    found = _propagator.extract({"traceparent": traceparent}, otel_context.Context())
    return found if trace.get_current_span(found).get_span_context().is_valid else None


def _detach(token: Token[otel_context.Context]) -> None:
    # A generator may be closed in another context than the one that began it; that context has nothing to
    # put back, and the library's own detach would log an error for it.
    try:
        token.var.reset(token)
    except ValueError:
        return


def _record(current: trace.Span, error: Exception) -> None:
    if not current.is_recording():
        return
    import traceback

    text = redact(str(error))
    stack = redact("".join(traceback.format_exception(error)))
    current.record_exception(error, {"exception.message": text, "exception.stacktrace": stack})
    current.set_status(trace.Status(trace.StatusCode.ERROR, f"{type(error).__name__}: {text}"))


def _presentable(attributes: Mapping[str, object]) -> dict[str, str | bool | int | float]:
    shown = {name: value for name, value in attributes.items() if value is not None and not is_private(name)}
    return {
        name: value if isinstance(value, bool | int | float) else redact(str(value)) for name, value in shown.items()
    }
